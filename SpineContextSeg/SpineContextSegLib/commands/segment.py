"""`spinecontextseg segment`: one scan in, one segmentation out, and what is to be said about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch_records import check_no_record
from ..errors import InputRefused, UnlikelyValues
from ..interruption import Interruption
from ..outputs import Outputs, check_distinct, check_replaceable, check_target, print_if_possible
from ..shipped import DEFAULT_MODEL
from ..threads import limit_threads, positive_number
from .arguments import named_path
from .measure import add_outputs, check_outputs, write_measurements
from .progress import Bar

if TYPE_CHECKING:
    from ..card import ModelCard
    from ..measure import VertebraRow
    from ..pipeline import Result
    from ..volume import Grid, Volume

DESCRIPTION = """\
Segment the spine in a CT, or in an MR with --model spinecontext-mr. The labels come back on the scan's own grid,
whatever its orientation and spacing.
Research use only: not for diagnosis or treatment."""

EPILOG = """\
INPUT is NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder of DICOM files, of which
the largest series of the model's modality (CT or MR) is taken.
OUTPUT is, by its ending, .seg.nrrd (a segmentation with names and colors, for 3D Slicer), .nii.gz, .nii, .nrrd or .mha;
of a DICOM series also .dcm (DICOM SEG). Files of these names that are there are replaced.
Label values are VerSe's: 1 to 25 and 28 vertebrae, 26 sacrum; with --structures all also 61 spinal canal, and 100 more
than the vertebra above for discs. Where no vertebra could be named, 1 stands for every vertebra and 200 for every disc,
and the report says so.

examples:
  spinecontextseg segment chest.nii.gz -o chest.seg.nrrd
  spinecontextseg segment dicom_folder -o spine.nii.gz --structures all --report report.json --preview preview.png
  spinecontextseg segment dicom_folder -o spine.dcm
  spinecontextseg segment lumbar_t2.nii.gz -o lumbar.seg.nrrd --model spinecontext-mr
  spinecontextseg segment conebeam.nrrd -o spine.seg.nrrd --force"""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "segment", help="segment the spine in a scan", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter
    )
    parser.add_argument("input", metavar="INPUT", type=named_path, help="the scan: a file or a DICOM folder")
    parser.add_argument("-o", "--output", metavar="OUTPUT", type=named_path, required=True,
                        help="the segmentation to write")  # fmt: skip
    parser.add_argument("--structures", choices=("spine", "all"), default="spine",
                        help="spine: vertebrae and sacrum (default); all: also spinal canal and discs")  # fmt: skip
    parser.add_argument("--preview", metavar="P.png", type=named_path, help="also write a picture of the result")
    parser.add_argument("--report", metavar="R.json", type=named_path,
                        help="also write volumes, warnings, times and versions")  # fmt: skip
    add_outputs(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="MODEL",
                        help="a name that 'spinecontextseg models' lists, or a model's folder"
                        f" (default {DEFAULT_MODEL})")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto",
                        help="auto (default) takes a GPU where torch finds one")  # fmt: skip
    parser.add_argument("--runtime", choices=("auto", "torch", "openvino"), default="auto",
                        help="auto (default) takes torch on a GPU, else OpenVINO, else torch")  # fmt: skip
    parser.add_argument("--precision", choices=("auto", "fp32", "int8"), default="auto",
                        help="auto (default) takes 8 bits where model and processor have them")  # fmt: skip
    parser.add_argument("--everywhere", action="store_true",
                        help="look closely at the whole body, not only where the spine is; slow")  # fmt: skip
    parser.add_argument("--threads", metavar="N", type=positive_number, help="CPU threads to use (default: all)")
    parser.add_argument("--force", action="store_true",
                        help="segment although the values don't look like what the model was made for, as those of a"
                        " cone-beam CT or a rescaled MR")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before any work, KeyboardInterrupt or Cancelled when interrupted."""
    limit_threads(arguments.threads)
    from ..account import Account
    from ..checks import force_hint
    from ..memory import peak_memory_mb
    from ..model import load_model
    from ..pipeline import segment
    from ..runtime import choose_helpers, choose_runtime
    from ..stopwatch import Stopwatch

    _check_paths(arguments)
    if arguments.preview:
        from ..preview import write_preview
    before, after = Stopwatch(), Stopwatch()
    model = load_model(arguments.model)
    _check_measurable(arguments, model.card)
    modality = model.card.modality[0]
    with before.stage("read"):
        volume, notes = _read(arguments, modality)
    write = _writer(arguments, volume.grid, modality)
    with before.stage("load model"):
        choices = arguments.runtime, arguments.device, arguments.threads, arguments.precision
        runtime = choose_runtime(model, *choices)
        helpers = choose_helpers(model, *choices)
    try:
        with Bar("windows") as bar:
            result = segment(
                volume, model, runtime, **helpers, everywhere=arguments.everywhere, structures=arguments.structures,
                force=arguments.force, progress=bar.update, cancelled=interruption.is_requested,
            )  # fmt: skip
    except UnlikelyValues as doubt:
        raise InputRefused(f"{doubt} {force_hint(modality)}") from doubt
    rows: list[VertebraRow] = []
    with Outputs(interruption) as outputs:
        with after.stage("write"):
            write(result, outputs.stage(arguments.output))
        if arguments.preview:
            with after.stage("preview"):
                picture = outputs.stage(arguments.preview)
                write_preview(volume, result.labels, picture, arguments.input.name, result.doubt)
        if arguments.table or arguments.centroids:
            from ..measure import vertebra_rows
            from ..mr import segmented_in_hounsfield_units

            with after.stage("measure"):
                why = "No vertebra was found."
                try:
                    in_hu = segmented_in_hounsfield_units(modality, forced=arguments.force)
                    rows = vertebra_rows(volume, result.labels, hounsfield=in_hu)
                except InputRefused as refusal:  # what was segmented isn't lost for that
                    why = str(refusal)
                if not rows:
                    result.warnings.append(f"Nothing was measured. {why}")
                rows = [row.with_remark(result.doubt) for row in rows]
                # Empty ones, too: those of an earlier run are another result's.
                write_measurements(rows, volume.grid, arguments, outputs)
        seconds = before.seconds | result.seconds | after.seconds
        named = arguments.output, arguments.preview, arguments.table, arguments.centroids, arguments.report
        files = [path for path in named if path]
        account = Account(arguments.input, volume.grid, notes, result, seconds, peak_memory_mb(), files)
        if arguments.report:
            text = json.dumps(account.report(), indent=2, ensure_ascii=False)
            outputs.stage(arguments.report).write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")
    for sentence in notes + result.warnings:
        print_if_possible(f"Warning: {sentence}", sys.stderr)
    if result.column and not result.column.levels.certain:
        print_if_possible("What puts wrong levels right: spinecontextseg levels --help", sys.stderr)
    print_if_possible(account.summary())


def _check_paths(arguments: argparse.Namespace) -> None:
    """Everything that can be said about the paths before the scan is read."""
    from ..dicom_seg import ENDING
    from ..writing import WRITABLE_ENDINGS

    named = {"input": arguments.input, "output": arguments.output,
             "report": arguments.report, "preview": arguments.preview}  # fmt: skip
    paths = {name: path for name, path in named.items() if path is not None} | check_outputs(arguments)
    if not arguments.input.exists():
        raise InputRefused(f"'{arguments.input}' does not exist: check the path.")
    if not arguments.input.is_file() and not arguments.input.is_dir():
        raise InputRefused(f"'{arguments.input}' is neither a file nor a folder: give the file of a scan.")
    for name, endings in (("output", (*WRITABLE_ENDINGS, ENDING)), ("report", (".json",)), ("preview", (".png",))):
        if name in paths:
            check_target(paths[name], endings)
            check_replaceable(paths[name])
            check_no_record(paths[name])
    check_distinct(paths)


def _writer(arguments: argparse.Namespace, grid: Grid, modality: str) -> Callable[[Result, Path], None]:
    """What writes the result in the form that was asked for, once it is known that it can."""
    from ..dicom_seg import ENDING, check_headers, find_images, network_segments, write_dicom_seg
    from ..writing import check_output, write_segmentation

    if not arguments.output.name.lower().endswith(ENDING):
        check_output(arguments.output, grid)
        return lambda result, path: write_segmentation(result.labels, path, doubt=result.doubt)
    images = find_images(arguments.input, grid, modality)
    check_headers(images)
    return lambda result, path: write_dicom_seg(
        result.labels, images, network_segments(result.labels.array), result.model, path
    )


def _check_measurable(arguments: argparse.Namespace, card: ModelCard) -> None:
    if (arguments.table or arguments.centroids) and card.offset_unit_mm is None:
        raise InputRefused(
            f"The model '{card.name}' doesn't tell single vertebrae apart, so that there is nothing to measure: leave "
            "--table and --centroids out."
        )


def _read(arguments: argparse.Namespace, modality: str) -> tuple[Volume, list[str]]:
    from ..dicom_folder import is_dicom_file
    from ..reading import read_volume

    if arguments.input.is_dir() and arguments.output.exists() and is_dicom_file(arguments.output):
        raise InputRefused(f"The output '{arguments.output}' is a DICOM file: choose another name.")
    try:
        return read_volume(arguments.input, modality)
    except OSError as error:
        raise InputRefused(f"'{arguments.input}' can't be read ({error.strerror or error}): check the file.") from error
