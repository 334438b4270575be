"""`spinecontextseg batch`: every scan of a cohort, whatever becomes of the others, and a report on all of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..batch_records import FORMATS
from ..cohort import PAGE, TABLE
from ..errors import Cancelled, Incomplete, InputRefused
from ..interruption import Interruption
from ..outputs import check_target, make_folder, print_if_possible
from ..shipped import DEFAULT_MODEL
from ..threads import positive_number
from .arguments import named_path
from .progress import Bar

if TYPE_CHECKING:
    from distributed import Client

    from ..cohort.job import Job

DESCRIPTION = f"""\
Segment all scans of a folder, a BIDS dataset or a tree of DICOM series (one scan for each series in each folder):
CT, or MR with --model spinecontext-mr.
The tree of results is that of the input: for each scan a segmentation, a picture and a record (.json); {TABLE}
and {PAGE} sum up. Run it again to go on: what is done, and still fits scan, model and options, stays, and so do
segmentations that you have corrected. A scan that is refused or fails stops no other.
Research use only: not for diagnosis or treatment."""

EPILOG = f"""\
Exit code 0: every scan is segmented, or keeps what you have corrected, also where other options were asked for; 1: some
were refused or failed, {TABLE} says which and why; 2: nothing was begun; 130: interrupted, what was done stays.

On many machines that share the file system (pip install 'spinecontextseg[cohort]' on each; in a network that you
trust, as Dask asks for no password):
  dask scheduler                                        on one of them
  dask worker tcp://HOST:8786 --nthreads 1              on each, once for every 3 GB of memory and core to use
  spinecontextseg batch IN OUT --scheduler tcp://HOST:8786

examples:
  spinecontextseg batch scans results
  spinecontextseg batch bids_dataset results --structures all --format nii.gz
  spinecontextseg batch lumbar_mrs results --model spinecontext-mr"""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "batch", help="segment many scans, with a report", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.add_argument("input", metavar="IN", type=named_path, help="a folder of scans, or one scan")
    parser.add_argument("output", metavar="OUT", type=named_path, help="folder for the results")
    parser.add_argument("--structures", choices=("spine", "all"), default="spine",
                        help="spine: vertebrae and sacrum (default); all: also spinal canal and discs")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0],
                        help=f"of the segmentations (default {FORMATS[0]})")  # fmt: skip
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="MODEL",
                        help="a name that 'spinecontextseg models' lists, or a model's folder"
                        f" (default {DEFAULT_MODEL})")  # fmt: skip
    parser.add_argument("--threads", metavar="N", type=positive_number, help="CPU threads for each scan")
    parser.add_argument("--jobs", metavar="N", type=positive_number,
                        help="scans at a time (default: as cores and 3 GB of free memory for each allow)")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS", help="spread the scans over the workers of a Dask scheduler")
    parser.add_argument("--preview", action=argparse.BooleanOptionalAction, default=True,
                        help="a picture of each result (default: yes)")  # fmt: skip
    parser.add_argument("--report", metavar="FOLDER", type=named_path,
                        help=f"where {TABLE} and {PAGE} go, made where it isn't there (default OUT)")  # fmt: skip
    parser.add_argument("--force", action="store_true",
                        help="segment although the values don't look like what the model was made for, as those of a"
                        " cone-beam CT or a rescaled MR")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before any work, Incomplete when some scans weren't segmented, Cancelled when interrupted."""
    from ..account import RESEARCH_ONLY
    from ..cohort.places import notes_on, place_scans
    from ..cohort.plan import Options, make_plan, result_stays
    from ..cohort.records import model_digest
    from ..cohort.results_folder import check_folders, only_batch
    from ..cohort.scans import find_scans
    from ..cohort.spread import connect
    from ..cohort.summary import Summary, check_reports
    from ..model import list_models, load_model

    if arguments.scheduler and arguments.jobs:
        raise InputRefused("--jobs is for this computer: with --scheduler, start as many workers as you want.")
    source, output = Path(os.path.abspath(arguments.input)), Path(os.path.abspath(arguments.output))
    report = Path(os.path.abspath(arguments.report)) if arguments.report else output
    check_folders(source, output)
    check_reports(report)
    model = load_model(arguments.model)
    name = arguments.model if arguments.model in list_models() else os.path.abspath(arguments.model)
    options = Options(name, model_digest(model), arguments.structures, arguments.force, arguments.preview)
    with ExitStack() as stack:
        client = stack.enter_context(closing(connect(arguments.scheduler))) if arguments.scheduler else None
        cohort = find_scans(source, output, model.card.modality)
        staging = stack.enter_context(only_batch(output))
        make_folder(report)
        check_target(report / PAGE)
        places = place_scans(cohort.scans, output, f".{arguments.format}", partial(result_stays, options=options))
        plan = make_plan(cohort.scans, places, options, staging)
        summary = Summary(cohort, places, plan, {
            "Scans": str(source), "Results": str(output), "Model": f"{model.card.name} {model.card.version}",
            "Structures": arguments.structures, "Program": f"SpineContextSeg {__version__}",
        })  # fmt: skip
        count = len(summary.rows())
        cohort.notes += notes_on(cohort.scans, places, output)
        for note in cohort.notes:
            print_if_possible(note)
        interrupted = False
        try:
            with Bar("scans") as bar, closing(_results(plan.jobs, client, arguments, bar.say)) as results:
                if len(plan.jobs) < count:
                    bar.say(f"{_scans(count)}: {summary.known_before()}.")
                for number, (job, record) in enumerate(results, 1):
                    summary.add(job.key, record)
                    bar.say(f"{number}/{len(plan.jobs)} {_line(job, record)}")
                    bar.update(number, len(plan.jobs))
                    interruption.check()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            summary.add_unheard()
            summary.write(output, report)
    missing = summary.not_done()
    if interrupted:
        raise Cancelled(f"interrupted ({missing}): what was done stays; run the same command again to go on.")
    print_if_possible(f"Report: {report / PAGE}\n{RESEARCH_ONLY}")
    if missing:
        raise Incomplete(f"Of {count} scans, some were not segmented ({missing}): see {report / TABLE}.")


def _results(
    jobs: Sequence[Job], client: Client | None, arguments: argparse.Namespace, say: Callable[[str], None]
) -> Iterator[tuple[Job, dict]]:
    """Jobs with their records, from this computer's processes or from Dask's."""
    from ..cohort.here import choose_jobs, run_here, usable_cores
    from ..cohort.spread import run_spread
    from ..memory import free_memory_bytes

    if client is not None:
        return run_spread(jobs, client, arguments.threads, say)
    if not jobs:
        return run_here(jobs, 0, 1)
    at_once = min(arguments.jobs or choose_jobs(len(jobs), arguments.threads), len(jobs))
    threads = arguments.threads or max(1, usable_cores() // at_once)
    free = free_memory_bytes()
    memory = "" if free is None else f", free memory: {free / 1e9:.0f} GB"
    say(f"{_scans(len(jobs))} to segment, {at_once} at a time, CPU threads for each: {threads} (cores: "
        f"{usable_cores()}{memory}).")  # fmt: skip
    return run_here(jobs, at_once, threads)


def _scans(count: int) -> str:
    return f"{count} scan{'s' * (count != 1)}"


def _line(job: Job, record: Mapping) -> str:
    from ..checks import NO_SPINE

    if record["state"] == "done":
        found = "" if record["structures"] else f": {NO_SPINE}"
        return f"done     {job.name}, {record['seconds_total']:.1f} s{found}"
    return f"{record['state']:<8} {job.name}: {record['message']}"
