"""`spinecontextseg measure`: place, volume, heights and density of every vertebra of a segmentation."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputRefused
from ..interruption import Interruption
from ..outputs import Outputs, check_distinct, check_replaceable, check_target, print_if_possible
from .arguments import named_path

if TYPE_CHECKING:
    from ..measure import VertebraRow
    from ..volume import Grid

DESCRIPTION = """\
Measure every vertebra of a segmentation, also a corrected one: middle, volume, mean HU of the trabecular interior of
the body, and the heights of the body at the front, in the middle and at the back.
Research use only: not for diagnosis or treatment."""

EPILOG = """\
CT is NIfTI, NRRD, MetaImage or a folder of DICOM files. LABELS is a label map in VerSe's numbering on the grid of the
CT: .nii.gz, .nii, .nrrd, .mha or .seg.nrrd. The spinal canal (61) helps where it is labeled. Heights of C1 and C2, and
of a body that the border of the scan cuts, are left empty, and so is the HU of a body with metal in it. Centroids are
voxel indices, as in VerSe's files.

example:
  spinecontextseg measure chest.nii.gz spine.seg.nrrd --table spine.csv --centroids spine.json"""

_COLUMNS = (("ml", 6), ("HU", 5), ("front", 5), ("middle", 6), ("back", 5), ("front/back", 10), ("middle/back", 11))


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "measure", help="measure the vertebrae of a segmentation", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.add_argument("ct", metavar="CT", type=named_path, help="the scan: a file or a DICOM folder")
    parser.add_argument("labels", metavar="LABELS", type=named_path, help="its segmentation")
    add_outputs(parser)
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
    """Raises InputRefused before anything is written."""
    from ..account import RESEARCH_ONLY
    from ..evaluate import on_grid_of
    from ..labels import SACRUM
    from ..level_remarks import remarks_on_levels
    from ..measure import NO_HOUNSFIELD_UNITS, vertebra_rows
    from ..mr import has_hounsfield_units
    from ..reading import read_volume
    from ..repair import sequence_of
    from ..volume import Volume
    from .label_input import read_vertebrae

    check_distinct({"CT": arguments.ct, "labels": arguments.labels} | check_outputs(arguments))
    labels, counts = read_vertebrae(arguments.labels)
    try:
        ct, notes = read_volume(arguments.ct)
    except OSError as error:
        raise InputRefused(f"'{arguments.ct}' can't be read ({error.strerror or error}): check the file.") from error
    names = f"'{arguments.ct.name}'", f"'{arguments.labels.name}'"
    values = on_grid_of(ct, labels.grid, names)
    in_hu = has_hounsfield_units(values)
    if not in_hu:
        notes = [*notes, NO_HOUNSFIELD_UNITS.format(name=names[0])]
    rows = vertebra_rows(Volume(values, labels.affine), labels, hounsfield=in_hu)
    interruption.check()
    with Outputs(interruption) as outputs:
        write_measurements(rows, labels.grid, arguments, outputs)
    order = [*(row.value for row in rows), *([SACRUM] if SACRUM in counts else [])]
    for sentence in [*notes, *remarks_on_levels(order, sequence_of(counts))]:
        print_if_possible(f"Warning: {sentence}", sys.stderr)
    written = [f"Written to {path}" for path in (arguments.table, arguments.centroids) if path]
    print_if_possible("\n".join([*_lines(rows), *written, RESEARCH_ONLY]))


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
        remarks = [f"  {word}" for word, is_so in (("partial", row.partial), ("metal", row.metal)) if is_so]
        lines.append("".join([f"{row.name:<{names}}", *cells, *remarks]))
    return [*lines, "Heights of the body (front, middle, back) in mm."]
