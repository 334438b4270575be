"""`spinecontextseg measure`: place, volume, heights and density of every vertebra of a segmentation."""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch_records import check_no_record, is_earlier, is_ours
from ..cohort import TABLE
from ..errors import Incomplete, InputRefused
from ..faults import describe
from ..interruption import Interruption
from ..outputs import Outputs, check_distinct, check_replaceable, check_target, print_if_possible
from ..pairing import record_beside
from .arguments import add_numbering, named_path
from .progress import Bar

if TYPE_CHECKING:
    from ..cohort.segmented import Found, Segmented
    from ..measure import VertebraRow
    from ..numbering import Numbering
    from ..volume import Grid, Volume

ANOTHER_SCAN = "{name} isn't the scan any more that was segmented: run `batch` again, or give the right scan."
REMARK_ANOTHER_SCAN = "another scan than was segmented"
NO_VERTEBRA = "The batch found no vertebra in it, so that nothing is measured: look at its picture."

DESCRIPTION = """\
Measure every vertebra of a segmentation, also a corrected one: middle, volume, mean HU of the trabecular interior of
the body, and the heights of the body at the front, in the middle and at the back. Of a folder of scans and one of
segmentations, all vertebrae go into one table.
Research use only: not for diagnosis or treatment."""

EPILOG = f"""\
CT is NIfTI, NRRD, MetaImage or a folder of DICOM files; of several series in it the one is taken that LABELS lies on.
LABELS is a label map in VerSe's numbering (or --numbering) on the grid of the CT: .nii.gz, .nii, .nrrd, .mha, .seg.nrrd
or a DICOM SEG.
The spinal canal (61) helps where it is labeled. Heights and HU of C1, C2 and of a body that the border of the scan, of
LABELS or of the region that a run was limited to cuts are left empty, and so is the HU of a body with metal in it. The
remark says where levels aren't certain, as a .seg.nrrd tells until they are put right, or the record of a batch until
the file is changed. Centroids are voxel indices of LABELS, as in VerSe's files; where LABELS are cropped, of the CT.

Where CT and LABELS are two folders, such as IN and OUT of `batch`, each segmentation is measured with its scan: the one
that the record (.json) beside it tells of, by what it holds, else the one of its name in the same tree (VerSe's layout
included). The first column of the table is the name of the scan, as in {TABLE}, the last one the file of the
segmentation. Where a scan isn't any more what the batch segmented, a warning and the remark say so. Of an MR there is
no HU. What can't be measured stops no other: a line says why, and the exit code is 1.

examples:
  spinecontextseg measure chest.nii.gz spine.seg.nrrd --table spine.csv --centroids spine.json
  spinecontextseg measure scans results --table vertebrae.csv"""

_COLUMNS = (("ml", 6), ("HU", 5), ("front", 5), ("middle", 6), ("back", 5), ("front/back", 10), ("middle/back", 11))


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "measure", help="measure the vertebrae of a segmentation", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.add_argument("ct", metavar="CT", type=named_path,
                        help="the scan: a file or a DICOM folder; or a folder of scans")  # fmt: skip
    parser.add_argument("labels", metavar="LABELS", type=named_path,
                        help="its segmentation; or a folder of them, as `batch` wrote it")  # fmt: skip
    add_outputs(parser)
    add_numbering(parser)
    parser.set_defaults(run=run)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The options that say where measurements go."""
    parser.add_argument("--table", metavar="T.csv", type=named_path,
                        help="also write volume, density, heights as a table")  # fmt: skip
    parser.add_argument("--centroids", metavar="C.json", type=named_path,
                        help="also write the middles of the vertebrae, in VerSe's format")  # fmt: skip


def check_outputs(arguments: argparse.Namespace) -> dict[str, Path]:
    """What it is -> where, for the wanted ones of the two files; refused where one can't be written."""
    wanted = {"table": arguments.table, "centroids": arguments.centroids}
    paths = {name: path for name, path in wanted.items() if path is not None}
    for name, ending in (("table", ".csv"), ("centroids", ".json")):
        if name in paths:
            check_target(paths[name], (ending,))
            check_replaceable(paths[name])
            check_no_record(paths[name])
    return paths


def write_measurements(rows: list[VertebraRow], grid: Grid, arguments: argparse.Namespace, outputs: Outputs) -> None:
    """Stages the files that are wanted; `grid` is that of the segmentation."""
    from ..centroids import write_centroids
    from ..measure import write_table

    if arguments.table:
        write_table(rows, outputs.stage(arguments.table))
    if arguments.centroids:
        write_centroids(rows, grid, outputs.stage(arguments.centroids))


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before anything is written, and Incomplete when some of many scans weren't measured."""
    # As a folder, the first may also be one scan.
    (_run_cohort if os.path.isdir(arguments.labels) else _run_scan)(arguments, interruption)


def _run_scan(arguments: argparse.Namespace, interruption: Interruption) -> None:
    from ..account import RESEARCH_ONLY
    from ..cohort.segmented import is_of_another_scan
    from ..reading import read_volume_on

    check_distinct({"CT": arguments.ct, "labels": arguments.labels} | check_outputs(arguments))
    measured = _measured(
        arguments.labels, arguments.ct, lambda grid: read_volume_on(grid, arguments.ct), arguments.numbering,
        _doubt_beside(arguments.labels),
    )  # fmt: skip
    # The record tells of the scan that its result was made, or corrected, from.
    if is_of_another_scan(Path(os.path.abspath(arguments.ct)), record_beside(arguments.labels)):
        measured = _of_another_scan(measured, arguments.ct.name)
    interruption.check()
    with Outputs(interruption) as outputs:
        write_measurements(measured.rows, measured.grid, arguments, outputs)
    on_centroids = measured.on_centroids if arguments.centroids else []
    _say([f"Warning: {sentence}" for sentence in measured.remarks + measured.doubtful + on_centroids])
    written = [f"Written to {path}" for path in (arguments.table, arguments.centroids) if path]
    print_if_possible("\n".join([*_lines(measured.rows), *written, RESEARCH_ONLY]))


def _doubt_beside(labels: Path) -> str:
    """Why levels aren't certain, by the record of the batch whose result this is, until it is changed."""
    from ..levels import doubt_of

    record = record_beside(labels)
    try:
        told = record is not None and is_ours(labels, record["written"]) and not is_earlier(labels, record)
    except OSError:  # a file that can't be read is refused when it is
        told = False
    return doubt_of(record) if told else ""


def _of_another_scan(measured: _Measured, name: str) -> _Measured:
    """With a warning, and a remark in each row, that what was measured isn't what was segmented."""
    rows = [row.with_remark(REMARK_ANOTHER_SCAN) for row in measured.rows]
    return replace(measured, rows=rows, remarks=[ANOTHER_SCAN.format(name=f"'{name}'"), *measured.remarks])


def _run_cohort(arguments: argparse.Namespace, interruption: Interruption) -> None:
    from ..account import RESEARCH_ONLY

    found = _find(arguments)
    rows: dict[tuple[str, str], list[VertebraRow]] = {}
    problems, warnings, count = list(found.problems), list(found.notes), len(found.segmented)
    with Bar("scans") as bar:
        for number, segmented in enumerate(found.segmented, 1):
            name = segmented.scan.name
            try:
                labels, measured, remarks = _measured_with_doubt(segmented, arguments.numbering)
                rows[name, os.path.relpath(labels, arguments.labels)] = measured
                warnings += [f"{name}: {sentence}" for sentence in remarks]
            except InputRefused as refusal:
                problems.append(f"{name}: {refusal}")
            except Exception as error:  # noqa: BLE001, one scan's fault must not stop the others
                problems.append(f"{name}: {describe(error)}")
            bar.update(number, count)
            interruption.check()
    with Outputs(interruption) as outputs:
        _write_cohort(rows, outputs.stage(arguments.table))
    _say([f"Warning: {sentence}" for sentence in warnings] + [f"Not measured: {sentence}" for sentence in problems])
    facts = f"Scans: {len(rows)}, vertebrae: {sum(map(len, rows.values()))}"
    print_if_possible("\n".join([facts, f"Written to {arguments.table}", RESEARCH_ONLY]))
    if problems:
        raise Incomplete(f"Some scans were not measured ({len(problems)}): the lines above say which and why.")


def _find(arguments: argparse.Namespace) -> Found:
    """What the two folders hold; refused where that can't become a table."""
    from ..checks import check_path
    from ..cohort.segmented import find_segmented

    scans, results = (Path(os.path.abspath(path)) for path in (arguments.ct, arguments.labels))
    if not scans.exists():
        raise InputRefused(f"'{arguments.ct}' does not exist: check the path.")
    if not scans.is_dir():
        raise InputRefused(f"'{arguments.ct}' is a file and '{arguments.labels}' a folder: give two of a kind.")
    if arguments.centroids:
        raise InputRefused("--centroids is for one scan: leave it out, or measure the scans one by one.")
    if not arguments.table:
        raise InputRefused("What is measured of many scans goes into one table: say where with --table.")
    check_outputs(arguments)
    if arguments.table.name.lower() == TABLE:
        raise InputRefused(f"'{TABLE}' is the report of a batch: choose another name for the table.")
    check_path(scans)
    check_path(results)
    found = find_segmented(scans, results)
    if arguments.table.exists():
        for path in found.files():
            check_distinct({"input": path, "table": arguments.table})
    return found


def _measured_with_doubt(segmented: Segmented, numbering: Numbering) -> tuple[Path, list[VertebraRow], list[str]]:
    """The file of labels, and rows and remarks as in `_Measured`; a row says where its level isn't certain, and where
    the scan is another one."""
    from ..cohort.segmented import is_of_another_content, read_scan, segmentation_of
    from ..labels import VERTEBRAE
    from ..levels import doubt_of

    labels, record = segmentation_of(segmented)
    if record and VERTEBRAE.isdisjoint(item["value"] for item in record["structures"]):
        return labels, [], [NO_VERTEBRA]
    doubt = doubt_of(record) if record else ""
    measured = _measured(labels, segmented.scan.source, lambda _: read_scan(segmented.scan), numbering, doubt)
    # Also of one that was corrected since.
    if is_of_another_content(segmented.scan, segmented.segmentations[labels]):
        measured = _of_another_scan(measured, segmented.scan.source.name)
    return labels, measured.rows, measured.remarks


@dataclass(frozen=True)
class _Measured:
    """What was measured of one scan.

    rows: each with a remark where its level isn't certain. grid: on whose voxels the centroids lie. remarks, and
    doubtful (on doubt about levels that the file states), on_centroids: sentences for the user.
    """

    rows: list[VertebraRow]
    grid: Grid
    remarks: list[str]
    doubtful: list[str]
    on_centroids: list[str]


def _measured(
    labels_path: Path, ct_path: Path, read: Callable[[Grid], tuple[Volume, list[str]]], numbering: Numbering, doubt: str
) -> _Measured:
    """Measures one scan, which `read` returns for the grid of its labels. Whether a level is certain is told by the
    file of labels, else by `doubt`.

    Raises:
        InputRefused: scan or labels can't be read, or can't be measured together.
    """
    from ..checks import clipped_warnings
    from ..labels import REGION_TAG, SACRUM, VERTEBRAE
    from ..level_remarks import remarks_on_levels
    from ..measure import NO_HOUNSFIELD_UNITS, vertebra_rows
    from ..mr import has_hounsfield_units
    from ..on_grid import labels_on_grid_of, on_grid_of
    from ..repair import sequence_of
    from ..roi import boxes_of
    from ..segment_list import doubts, remarks_on_doubt, remarks_on_segments
    from ..volume import Volume
    from .label_input import read_vertebrae

    labels, counts, segments, remarks = read_vertebrae(labels_path, numbering)
    remarks += remarks_on_segments(labels_path.name, segments)
    try:
        ct, notes = read(labels.grid)
    except OSError as error:
        raise InputRefused(f"'{ct_path}' can't be read ({error.strerror or error}): check the file.") from error
    names = f"'{ct_path.name}'", f"'{labels_path.name}'"
    covered, on_centroids = None, []
    if labels.array.size < ct.array.size:
        covered = ct.grid.box_of(labels.grid)
        on_centroids = [f"{names[1]} covers a part of {names[0]}: centroids are voxel indices of the latter."]
        labels = Volume(labels_on_grid_of(labels, ct.grid, names[::-1]), ct.affine)
    values = on_grid_of(ct, labels.grid, names)
    in_hu = has_hounsfield_units(values)
    notes = [*notes, *(clipped_warnings(ct) if in_hu else [NO_HOUNSFIELD_UNITS.format(name=names[0])])]
    doubtful = doubts(segments)
    regions = boxes_of(segment.tags.get(REGION_TAG, "") for segment in segments if segment.value in VERTEBRAE)
    seen = Volume(values, labels.affine)
    rows = [
        row.with_remark(doubtful.get(row.value, doubt))
        for row in vertebra_rows(seen, labels, hounsfield=in_hu, regions=regions, covered=covered)
    ]
    order = [*(row.value for row in rows), *([SACRUM] if SACRUM in counts else [])]
    remarks = [*notes, *remarks, *remarks_on_levels(order, sequence_of(counts))]
    return _Measured(rows, labels.grid, remarks, remarks_on_doubt(segments), on_centroids)


def _write_cohort(rows: Mapping[tuple[str, str], list[VertebraRow]], path: Path) -> None:
    """The table of one scan with its name and the file of its segmentation, in the encoding of the batch's report."""
    from ..measure import TABLE_TITLES, table_cells

    with open(path, "w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("scan", *TABLE_TITLES, "segmentation"))
        for (name, labels), of_scan in rows.items():
            writer.writerows((name, *table_cells(row), Path(labels).as_posix()) for row in of_scan)


def _say(sentences: list[str]) -> None:
    for sentence in sentences:
        print_if_possible(sentence, sys.stderr)


def _lines(rows: list[VertebraRow]) -> list[str]:
    """One aligned line per vertebra for a terminal."""
    names = max((len(row.name) for row in rows), default=0)
    lines = [f"{'':<{names}}" + "".join(f"  {head:>{width}}" for head, width in _COLUMNS)]
    for row in rows:
        figures = (
            (row.volume_ml, ".1f"), (row.body_hu, ".0f"), (row.height_front_mm, ".1f"), (row.height_middle_mm, ".1f"),
            (row.height_back_mm, ".1f"), (row.front_to_back, ".2f"), (row.middle_to_back, ".2f"),
        )  # fmt: skip
        cells = [
            f"  {'-' if math.isnan(value) else format(value, form):>{width}}"
            for (value, form), (_, width) in zip(figures, _COLUMNS, strict=True)
        ]
        words = ("partial" if row.partial else "", "metal" if row.metal else "", row.remark)
        lines.append("".join([f"{row.name:<{names}}", *cells, *(f"  {word}" for word in words if word)]))
    return [*lines, "Heights of the body (front, middle, back) in mm."]
