"""`spinecontextseg evaluate`: predictions against references."""

from __future__ import annotations

import argparse
import sys

from ..batch_records import check_no_record
from ..errors import Incomplete
from ..interruption import Interruption
from ..outputs import Outputs, check_distinct, check_replaceable, check_target, print_if_possible
from .arguments import add_numbering, named_path
from .progress import Bar

DESCRIPTION = """\
Compare segmentations with references: Dice, average surface distance, 95 % Hausdorff distance, volume difference,
recall and precision, for the binary spine and every structure that the reference can judge. Where both sides tell
vertebrae apart, also how many of them have the right level (identification rate, as in VerSe)."""

EPILOG = """\
PREDICTION and REFERENCE are two files on the same grid, or two folders whose files are paired by their names (VerSe's
derivatives included); one folder may lie in the other. A reference bears the name of its scan, with _labels, _seg or
_mask added where the scan itself lies there, too. What a batch wrote goes by its record (.json): only the last result
counts, and none of another scan than the one beside the reference. For folders, mean, SD, median, minimum and the
number of scans with a Dice below 0.8 are shown, and pairs that are unclear or can't be compared are told (exit code 1).
The binary spine is every vertebra and the sacrum. A value of 255 in a reference is not scored, nor are segments of your
own (300 and up); where a reference has no sacrum, a predicted one is not scored. Where a reference then holds nothing
and nothing was found, there is no Dice, and the means leave that scan out.

A vertebra of the reference is identified when, of all predicted centers, the one closest to its own bears its level and
lies within 20 mm. "Whole only" leaves out vertebrae in which the scan ends, as VerSe's references do. A prediction that
doesn't tell vertebrae apart, as where none could be named, has missed all of them, if others in the folder do.

examples:
  spinecontextseg evaluate spine.seg.nrrd truth.nii.gz
  spinecontextseg evaluate predictions derivatives --csv scores.csv --json scores.json
  spinecontextseg evaluate spine.nii.gz total.nii.gz --reference-numbering totalsegmentator"""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "evaluate", help="compare segmentations with references", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.add_argument("prediction", metavar="PREDICTION", type=named_path, help="a segmentation, or a folder of them")
    parser.add_argument("reference", metavar="REFERENCE", type=named_path, help="the truth, or a folder of it")
    add_numbering(parser, "--reference-numbering", "the reference")
    parser.add_argument("--csv", metavar="F.csv", type=named_path, help="also write all figures as a table")
    parser.add_argument("--json", metavar="F.json", type=named_path, help="also write all figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before any work and where no pair can be compared, Incomplete where some can't."""
    from ..evaluate import evaluate

    named = {"prediction": arguments.prediction, "reference": arguments.reference,
             "table": arguments.csv, "JSON file": arguments.json}  # fmt: skip
    check_distinct({name: path for name, path in named.items() if path is not None})
    for path, ending in ((arguments.csv, ".csv"), (arguments.json, ".json")):
        if path is not None:
            check_target(path, (ending,))
            check_replaceable(path)
            check_no_record(path)
    with Bar("scans") as bar:

        def count(done: int, total: int) -> None:
            interruption.check()
            bar.update(done, total)

        evaluation = evaluate(
            arguments.prediction, arguments.reference,
            reference_numbering=arguments.reference_numbering, on_case=count,
        )  # fmt: skip
    with Outputs(interruption) as outputs:
        if arguments.csv:
            evaluation.write_csv(outputs.stage(arguments.csv))
        if arguments.json:
            evaluation.write_json(outputs.stage(arguments.json))
    print_if_possible(evaluation.table().removesuffix("\n"))
    if left := evaluation.not_compared:
        for name, why in left:
            print_if_possible(f"Not compared: {name}: {why}", sys.stderr)
        raise Incomplete(f"Of {len(left) + len(evaluation.cases)} pairs, {len(left)} could not be compared.")
