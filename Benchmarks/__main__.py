"""Measure speed and memory on this computer: a table, a picture and a JSON file.

    python -m Benchmarks
    python -m Benchmarks abdomen.nii.gz chest.nii.gz --totalsegmentator abdomen

Generated scans and finished runs are kept in the cache folder, so the command can be stopped and run again; remove the
folder to have the scans made anew, as after a change of the generator.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import SpineContextSegLib
from SpineContextSegLib.cohort.here import usable_cores
from SpineContextSegLib.model import load_model
from SpineContextSegLib.shipped import DEFAULT_MODEL

from . import bodies
from .bench import Bench
from .journal import Journal, fingerprint
from .plot import plot
from .processor import machine
from .results import Results
from .scans import real_scan
from .table import table

ROUNDS, ROUNDS_SHORT = 3, 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="*",
                        help="also these CTs; truth beside them as NAME_labels.nii.gz, or as VerSe has it")  # fmt: skip
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    parser.add_argument("--short", action="store_true", help="one small scan, one round: does it work?")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder")
    parser.add_argument("--threads", type=int, default=min(2, usable_cores()), help="default: 2")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}, with --short {ROUNDS_SHORT}")
    parser.add_argument("--output", type=Path, default=Path("Resources/Benchmarks"), help="folder for the results")
    parser.add_argument("--cache", type=Path, default=Path(".bench"), help="folder for scans, 2 GB")
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.scans if not path.is_file()]
    if missing:
        parser.error(f"there is no file {missing[0]}: check the path")
    if len({path.name for path in arguments.scans}) < len(arguments.scans):
        parser.error("two scans have the same name: rename one")
    for folder in (arguments.output, arguments.cache):
        folder.mkdir(parents=True, exist_ok=True)
    results = all_runs(arguments)
    (arguments.output / "speed.md").write_text(table(results), encoding="utf-8")
    (arguments.output / "speed.json").write_text(json.dumps(asdict(results), indent=2) + "\n", encoding="utf-8")
    plot(results, arguments.output / "speed.png")
    print(table(results))


def all_runs(arguments: argparse.Namespace) -> Results:
    """Everything that the command line asks for."""
    # First of all: making the bodies is a load of its own.
    facts = machine()
    started, short, cache = f"{datetime.now():%Y-%m-%d %H:%M}", arguments.short, arguments.cache
    rounds = arguments.rounds or (ROUNDS_SHORT if short else ROUNDS)
    body_mm = bodies.BODY_MM_SHORT if short else bodies.BODY_MM
    real = [real_scan(path, frozenset(arguments.totalsegmentator)) for path in arguments.scans]
    if short:
        made = [bodies.lumbar(cache, body_mm)]
    else:
        made = [bodies.sample(cache), bodies.abdomen(cache, body_mm), *bodies.regions(cache)]
        made.append(bodies.trunk(cache, body_mm))
    slices = bodies.GROWTH_SLICES_SHORT if short else bodies.GROWTH_SLICES
    grown = [bodies.growing(cache, body_mm, count) for count in slices]
    model = load_model(arguments.model)
    programs = [Path(SpineContextSegLib.__file__).parent, Path(__file__).parent, Path(str(model.folder))]
    journal = Journal(cache / "journal.jsonl", f"{fingerprint(programs)} {model.folder}")
    bench = Bench(arguments.model, rounds, cache, journal)
    compared = [bench.compare(scan, arguments.threads) for scan in [*made, *real]]
    grown = [point for body in grown for point in bench.grow(body, sorted({1, min(2, usable_cores())}))]
    journal.close()
    name = f"{model.card.name} {model.card.version}"
    # Where the scans lie on this computer is nobody's business.
    words = [Path(word).name if Path(word) in arguments.scans else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", "Benchmarks", *words])
    return Results(started, command, name, arguments.threads, rounds, facts, compared, grown)


if __name__ == "__main__":
    main()
