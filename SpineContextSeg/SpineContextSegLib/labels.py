"""The one table of what a label value means: name, color, SNOMED CT code and place along the spine.

Values are those of the VerSe challenge (Sekuboyina et al., Medical Image Analysis 2021, 10.1016/j.media.2021.102166,
numbers in osf.io/4skx2): C1-C7 = 1-7, T1-T12 = 8-19, L1-L5 = 20-24, L6 = 25, sacrum = 26, T13 = 28. Discs (100 + the
vertebra above) and the spinal canal (61) follow TPTBox (github.com/Hendrik-code/TPTBox, `core/vert_constants.py`).
200 is our own: a disc whose level is unknown. VerSe reserves 27 for the coccyx; it counts as binary spine and is never
written here.

A file in which single vertebrae have not been told apart holds 1 for every vertebra: `levels_known` recognizes such a
file, and `structure(1, levels_known=False)` names that segment "Vertebrae".
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Kind = Literal["vertebra", "sacrum", "disc", "canal"]

SACRUM = 26
COCCYX = 27
CANAL = 61
DISC_OFFSET = 100
DISC_LEVEL_UNKNOWN = 200
VERTEBRA_LEVEL_UNKNOWN = 1
C1, C2 = 1, 2
# A person's own segments have values from here on, far from VerSe's (1 to 28), the canal's (61), the discs' (101 to 128
# and 200) and "ignored" (255).
FIRST_OWN_VALUE = 300
# Marks voxels of a reference that nobody could assign; they count neither for nor against a prediction.
IGNORED = 255

LEVEL_ORDER: tuple[int, ...] = (*range(1, 20), 28, *range(20, 26), SACRUM)
"""Vertebrae and sacrum from top to bottom: T13 (28) lies below T12 (19), L6 (25) below L5 (24)."""

VERTEBRAE: frozenset[int] = frozenset(LEVEL_ORDER) - {SACRUM}
DISCS: frozenset[int] = frozenset(DISC_OFFSET + value for value in VERTEBRAE) | {DISC_LEVEL_UNKNOWN}
BINARY_SPINE: frozenset[int] = frozenset(range(1, 29))
"""What counts as spine in a binary mask: every vertebra, sacrum and coccyx; neither discs nor canal."""

# Class map "total" of TotalSegmentator v2 (github.com/wasserth/TotalSegmentator, `totalsegmentator/map_to_binary.py`):
# 25 sacrum and 26 S1 are both sacrum here; 27-31 are L5-L1, 32-43 T12-T1 and 44-50 C7-C1.
TOTALSEGMENTATOR_TO_VERSE: Mapping[int, int] = MappingProxyType(
    {25: SACRUM, 26: SACRUM, **{27 + step: 24 - step for step in range(24)}}
)
TOTALSEGMENTATOR_VALUES: frozenset[int] = frozenset(range(1, 118))
TOTALSEGMENTATOR_SACRUM = 25
TOTALSEGMENTATOR_S1 = 26

# What a `.seg.nrrd` says of a segment of ours, whatever a person has called it: the ID it was first written under, and
# the tag that the module adds, which also follows a repair of levels.
SEGMENT_ID_PREFIX = "SpineContextSeg_"
_OUR_TAGS = "SpineContextSeg."
VALUE_TAG = f"{_OUR_TAGS}Value"
# Of a vertebra whose level isn't certain: why, in short. It goes with the segment wherever that goes.
DOUBT_TAG = f"{_OUR_TAGS}Doubt"
# Of the voxels that a run wrote; a repair of levels in the module takes it away.
FINGERPRINT_TAG = f"{_OUR_TAGS}Voxels"
# Of a vertebra: the boxes that the runs which wrote it were limited to (`roi.boxes_of`).
REGION_TAG = f"{_OUR_TAGS}Region"
TERMINOLOGY_TAG = "TerminologyEntry"
# What Slicer and DICOM SEG say of who made a segment; the name is all that tells ours where no other tag is left.
ALGORITHM_TYPE_TAG = "DICOM.SegmentAlgorithmType"
ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmName"
_ALGORITHM = "SpineContextSeg"
# DICOM SEG keeps colors as CIELab, which brings them back up to a 255th off.
_COLOR_TOLERANCE = 6e-3
# Once underscores and hyphens are spaces and capitals are small: "l4", "vertebrae l4", "th 1", "t01 vertebra".
_LEVEL_CALLED = re.compile(r"(?:vertebrae? ?)?(c|th?|l) ?0?(\d{1,2})(?: ?vertebrae?)?")
TERMINOLOGY_CONTEXT = "Segmentation category and type - SpineContextSeg"
_CATEGORY = "SCT^123037004^Anatomical Structure"
# Slicer's default list of regions; no region is set, since the type itself says where the structure lies.
_REGION_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Structure:
    """One label value and everything that a file or a screen says about it; `color` is red, green, blue in 0..1."""

    value: int
    name: str
    abbreviation: str
    color: tuple[float, float, float]
    snomed_code: str
    snomed_meaning: str
    kind: Kind

    @property
    def terminology_entry(self) -> str:
        """Value of the segment tag `TerminologyEntry`.

        Seven parts joined by "~" (context, category, type, type modifier, region context, region, region modifier),
        each code a triplet scheme^value^meaning: `vtkSlicerTerminologiesModuleLogic::SerializeTerminologyEntry`.
        """
        type_code = f"SCT^{self.snomed_code}^{self.snomed_meaning}"
        return "~".join((TERMINOLOGY_CONTEXT, _CATEGORY, type_code, "^^", _REGION_CONTEXT, "^^", "^^"))


@dataclass(frozen=True)
class Segment:
    """What a `.seg.nrrd` says of one segment.

    value: None where it isn't stated. color: red, green, blue in 0..1. tags: name -> text.
    """

    value: int | None
    segment_id: str
    name: str
    color: tuple[float, float, float]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, item: Structure) -> Segment:
        """As we write it."""
        tags = {TERMINOLOGY_TAG: item.terminology_entry}
        return cls(item.value, f"{SEGMENT_ID_PREFIX}{item.value}", item.name, item.color, tags)

    def with_doubt(self, doubt: str) -> Segment:
        """As it is, with this doubt about its level; "" for none."""
        others = {name: text for name, text in self.tags.items() if name != DOUBT_TAG}
        return replace(self, tags=others | {DOUBT_TAG: doubt} if doubt else others)

    def as_structure(self, item: Structure) -> Segment:
        """This segment once its level is put right: a name, color or code that isn't of the table is a person's."""
        new, code = Segment.of(item), self.tags.get(TERMINOLOGY_TAG)
        # What else the module remembers of a segment is of its old value and voxels.
        kept = (name for name in self.tags if name == REGION_TAG or not name.startswith(_OUR_TAGS))
        tags = {name: self.tags[name] for name in kept}
        if code is None or has_code_of(code, EVERY_STRUCTURE):
            tags |= new.tags
        return Segment(
            new.value,
            new.segment_id,
            new.name if self.name in {"", _VERTEBRAE_AS_ONE.name} or value_called(self.name) else self.name,
            new.color if has_color_of(self.color, EVERY_STRUCTURE) else self.color,
            tags,
        )


def has_color_of(color: Sequence[float], items: Iterable[Structure]) -> bool:
    """Whether a color (red, green, blue in 0..1) is that of one of `items`, but for the rounding of files."""
    return any(
        max(abs(a - b) for a, b in zip(color, item.color, strict=True)) <= _COLOR_TOLERANCE for item in items
    )


def has_code_of(entry: str, items: Iterable[Structure]) -> bool:
    """Whether a `TerminologyEntry` has the codes of one of `items`, whatever list it was chosen from: what comes from
    DICOM names a list of its own."""
    return any(_codes(entry) == _codes(item.terminology_entry) for item in items)


def _codes(entry: str) -> list[str]:
    """Scheme and value of every code; the names of lists, and the meanings, are only for people."""
    return [triplet.rpartition("^")[0] for triplet in entry.split("~") if "^" in triplet]


def algorithm_name(model: str) -> str:
    """What a segment says of its algorithm, so that it is known as ours again."""
    return f"{_ALGORITHM}, {model}"


def is_our_algorithm(name: str) -> bool:
    """Whether `algorithm_name` has made this name, or it is that of a DICOM SEG that tells of no model."""
    return name.partition(",")[0] == _ALGORITHM


# DICOM PS3.16 CID 7603 "Vertebra", C1 to L5.
_VERTEBRA_CODES = (
    "14806007", "39976000", "113205007", "5329002", "36978003", "36054005", "87391001",
    "64864005", "53733008", "1626008", "73071006", "56401006", "45296009",
    "62487009", "11068009", "82687006", "7610001", "12989004", "23215003",
    "66794005", "14293000", "36470004", "11994002", "49668003",
)  # fmt: skip
_ANY_VERTEBRA = ("51282000", "Vertebra")  # DICOM PS3.16 CID 6102
_SACRUM_CODE = ("54735007", "Sacrum")  # DICOM PS3.16 CID 7602
_DISC_CODE = ("360499006", "Intervertebral disc")
_CANAL_CODE = ("61853006", "Vertebral canal")  # DICOM PS3.16 CID 6115


def _vertebra_name(value: int) -> str:
    if value == 28:
        return "T13"
    for letter, above in (("L", 19), ("T", 7), ("C", 0)):
        if value > above:
            return f"{letter}{value - above}"
    raise ValueError(f"{value} is no vertebra")


def _color(hue: float, saturation: float, brightness: float) -> tuple[float, float, float]:
    # Multiples of 1/255, so that a color survives files that keep it in eight bits.
    red, green, blue = (round(255 * part) / 255 for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, brightness))
    return red, green, blue


def _level_hue(value: int) -> float:
    # Steps of the golden ratio keep a level far in hue from the two above and the two below it.
    return 0.92 + 0.618034 * LEVEL_ORDER.index(value)


def _vertebra(value: int) -> Structure:
    level = _vertebra_name(value)
    # SNOMED CT has no code for the supernumerary levels: their type is any vertebra, the level stands in the name.
    code, meaning = _ANY_VERTEBRA if value in (25, 28) else (_VERTEBRA_CODES[value - 1], f"{level} vertebra")
    color = _color(_level_hue(value), 0.75, 0.95)
    return Structure(value, f"{level} vertebra", level, color, code, meaning, "vertebra")


def _disc(vertebra: int) -> Structure:
    # "Disc below L5" stays true with an L6, which "L5/S1" would not.
    level = _vertebra_name(vertebra)
    color = _color(_level_hue(vertebra), 0.80, 0.55)
    return Structure(DISC_OFFSET + vertebra, f"Disc below {level}", f"{level} disc", color, *_DISC_CODE, "disc")


_VERTEBRAE_AS_ONE = Structure(
    VERTEBRA_LEVEL_UNKNOWN, "Vertebrae", "Vertebrae", _color(0.12, 0.70, 0.95), *_ANY_VERTEBRA, "vertebra"
)

STRUCTURES: Mapping[int, Structure] = MappingProxyType(
    {
        item.value: item
        for item in (
            *(_vertebra(value) for value in LEVEL_ORDER if value != SACRUM),
            Structure(SACRUM, "Sacrum", "Sacrum", _color(0.02, 0.75, 0.90), *_SACRUM_CODE, "sacrum"),
            *(_disc(value) for value in LEVEL_ORDER if value != SACRUM),
            Structure(CANAL, "Spinal canal", "Canal", _color(0.84, 0.40, 1.00), *_CANAL_CODE, "canal"),
            Structure(
                DISC_LEVEL_UNKNOWN, "Intervertebral discs", "Discs", _color(0.50, 0.75, 0.80), *_DISC_CODE, "disc"
            ),
        )
    }
)
"""Every value that a file of ours may hold, top to bottom: vertebrae, sacrum, discs, canal, disc of unknown level."""

EVERY_STRUCTURE: tuple[Structure, ...] = (_VERTEBRAE_AS_ONE, *STRUCTURES.values())
"""All that we write of segments: any other name, color or code is what a person has chosen."""


def structure(value: int, *, levels_known: bool = True) -> Structure:
    """What `value` stands for; with `levels_known=False`, 1 is any vertebra and not C1.

    Raises:
        KeyError: no structure has this value.
    """
    if value == VERTEBRA_LEVEL_UNKNOWN and not levels_known:
        return _VERTEBRAE_AS_ONE
    return STRUCTURES[value]


def level_name(value: int) -> str:
    """In short, such as "T12"; the number itself where no structure has it."""
    return STRUCTURES[value].abbreviation if value in STRUCTURES else str(value)


def value_called(name: str) -> int | None:
    """The value of the structure that people and programs call so, such as "L4", "vertebrae_L4", "Sacrum" or "canal".

    Not of "S1", which may be the whole sacrum or its uppermost part.
    """
    called = " ".join(re.split(r"[\s_-]+", name.strip().lower()))
    if level := _LEVEL_CALLED.fullmatch(called):
        called = f"{level[1][0]}{level[2]}"
    return next((v for v, w in STRUCTURES.items() if called in (w.name.lower(), w.abbreviation.lower())), None)


def levels_known(values: Iterable[int]) -> bool:
    """Whether a file that holds `values` tells single vertebrae (or discs) apart.

    A file whose only vertebra is 1 counts as not telling them apart: C1 is not seen without C2 but in a narrow crop.
    """
    unknown = {VERTEBRA_LEVEL_UNKNOWN, DISC_LEVEL_UNKNOWN}
    return any(value in VERTEBRAE | DISCS and value not in unknown for value in values)


def structures_of(values: Iterable[int]) -> list[Structure]:
    """What the values of one file stand for, top to bottom; 0 is left out.

    Raises:
        KeyError: no structure has one of these values.
    """
    present = set(values) - {0}
    known = levels_known(present)
    order = {value: place for place, value in enumerate(STRUCTURES)}
    return [structure(value, levels_known=known) for value in sorted(present, key=lambda value: order[value])]
