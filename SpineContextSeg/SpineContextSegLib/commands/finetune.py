"""`spinecontextseg finetune`: a model that learns from corrected scans."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ..errors import Cancelled, InputRefused
from ..interruption import Interruption
from ..outputs import print_if_possible
from .arguments import named_path

DESCRIPTION = """\
Train a model on, on scans whose segmentation was corrected, and keep it where it is better on others. DATASET is a
folder that the workbench exported, one in VerSe's layout, or scans (name.nii.gz) with name_labels.nii.gz beside them.

Some of the scans are held out: nothing is learnt from them, both models are judged on them, and a model that isn't
better is not kept. Scans of one patient are held out together where their names begin with the same sub-..., as in
BIDS; under two names one may be learnt from and the other judged on. Takes a night on an ordinary PC; run the same
command again to go on after an interruption."""

EPILOG = """\
Needs the source of the project (a checkout) with its training part: make setup.

examples:
  spinecontextseg finetune dataset --from spinecontext-ct --name our-scanner
  spinecontextseg segment chest.nii.gz -o chest.seg.nrrd --model our-scanner"""

_NEEDED = "torch", "scipy", "nncf"


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "finetune", help="learn from corrected scans", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    add = parser.add_argument
    add("dataset", metavar="DATASET", type=named_path, help="folder of labelled scans")
    add("--from", dest="base", metavar="MODEL", required=True, help="name or folder of the model to start from")
    add("--name", required=True, help="of the new model, which the panel and the workbench will list")
    add("--hold-out", metavar="N", type=int, help="scans to judge by (default: a fifth, at least one)")
    add("--steps", metavar="N", type=int, default=2000, help="how long to train (default 2000: hours on a CPU)")
    add("--work", metavar="FOLDER", type=named_path,
        help="where the training keeps its state (default: NAME.finetune in the current folder)")  # fmt: skip
    add("--threads", metavar="N", type=int, help="for judging (default: all cores)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before any work, and Incomplete where the new model isn't better."""
    checkout = Path(__file__).parents[3]
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing or not (checkout / "Training").is_dir():
        lack = f"lacks {', '.join(missing)}" if missing else "is without its training part"
        raise InputRefused(f"This installation {lack}: get the project's source and run 'make setup' in it.")
    sys.path.insert(0, str(checkout))
    work = arguments.work or Path(f"{arguments.name}.finetune")
    try:
        print_if_possible(import_module("Training.finetune").finetune(
            arguments.dataset, arguments.base, arguments.name, work=work, hold_out=arguments.hold_out,
            steps=arguments.steps, threads=arguments.threads,
        ))  # fmt: skip
    except KeyboardInterrupt as interrupted:
        begun = f"the same command goes on from what '{work}' holds." if work.exists() else "nothing was begun."
        raise Cancelled(f"interrupted; {begun}") from interrupted
