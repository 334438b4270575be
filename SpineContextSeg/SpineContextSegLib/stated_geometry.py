"""Does the text header of an NRRD or MetaImage file say how large the voxels are, and how the patient lies? Where it
doesn't, ITK takes 1 mm and the axes of the patient, and says nothing; nor does it ask for the unit of sizes."""

import re
from pathlib import Path

from .errors import InputRefused
from .text_header import META_IMAGE_ENDINGS, NRRD_ENDINGS, read_fields

UNSTATED_ORIENTATION = "The file does not state how the patient lies in it: left and right may be exchanged."
_SIZES = {NRRD_ENDINGS: (b"spacings", b"space directions"), META_IMAGE_ENDINGS: (b"elementspacing", b"elementsize")}
_MILLIMETERS = re.compile(rb"(mm|millimet(er|re)s?)?", re.IGNORECASE)
_ORIENTATIONS = (b"transformmatrix", b"rotation", b"orientation")
# Other spaces of NRRD, such as scanner-xyz, don't say which way is left.
_SPACE_OF_PATIENT = re.compile(rb"(left|right)-(anterior|posterior)-superior|[lr][ap]s")


def check_stated_geometry(path: Path) -> list[str]:
    """A sentence where the orientation isn't stated.

    Args:
        path: a file that SimpleITK can read; of other kinds than NRRD and MetaImage nothing is asked.

    Raises:
        InputRefused: the voxel size isn't stated, or not in mm.
    """
    kind = next((endings for endings in _SIZES if path.name.lower().endswith(endings)), None)
    if kind is None:
        return []
    fields, _ = read_fields(path)
    sizes = [fields[name] for name in _SIZES[kind] if name in fields]
    # NRRD's word for a size that isn't known.
    if not sizes or any(b"nan" in size.lower() for size in sizes):
        raise InputRefused(f"'{path.name}' does not state how large its voxels are: export the scan again.")
    if kind is NRRD_ENDINGS:
        _refuse_other_units(path, fields)
        stated = _SPACE_OF_PATIENT.match(fields.get(b"space", b"").lower())
    else:
        stated = any(name in fields for name in _ORIENTATIONS)
    return [] if stated else [UNSTATED_ORIENTATION]


def _refuse_other_units(path: Path, fields: dict[bytes, bytes]) -> None:
    """Of NRRD, whose sizes may be in any unit."""
    name = b"space units" if b"space directions" in fields else b"units"
    # A fourth one may be of time.
    for unit in re.findall(rb'"([^"]*)"', fields.get(name, b""))[:3]:
        if not _MILLIMETERS.fullmatch(unit.strip()):
            stated = unit.decode("utf-8", "replace")
            raise InputRefused(f"'{path.name}' states its voxel size in {stated}: export the scan again in mm.")
