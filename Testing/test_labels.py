"""The table of labels against the published ones."""

import itertools

import pytest
from pydicom.sr.codedict import codes
from slicerio.segmentation import terminology_entry_from_string

from SpineContextSegLib import labels

# totalsegmentator/map_to_binary.py, class_map["total"], beside VerSe's number for the same bone.
TOTALSEGMENTATOR_AND_VERSE = [
    (25, 26), (26, 26),
    (27, 24), (28, 23), (29, 22), (30, 21), (31, 20),
    (32, 19), (33, 18), (34, 17), (35, 16), (36, 15), (37, 14),
    (38, 13), (39, 12), (40, 11), (41, 10), (42, 9), (43, 8),
    (44, 7), (45, 6), (46, 5), (47, 4), (48, 3), (49, 2), (50, 1),
]  # fmt: skip


def test_values_are_those_of_verse():
    names = {item.abbreviation: item.value for item in labels.STRUCTURES.values() if item.kind == "vertebra"}
    assert names == {
        **{f"C{n}": n for n in range(1, 8)},
        **{f"T{n}": 7 + n for n in range(1, 13)},
        **{f"L{n}": 19 + n for n in range(1, 7)},
        "T13": 28,
    }
    assert set(labels.STRUCTURES) == {*range(1, 27), 28, 61, *range(101, 126), 128, 200}
    assert all(value == item.value for value, item in labels.STRUCTURES.items())
    assert labels.BINARY_SPINE == set(range(1, 29))


def test_discs_carry_the_level_of_the_vertebra_above():
    assert labels.structure(107).name == "Disc below C7"
    assert labels.structure(112).name == "Disc below T5"
    assert labels.structure(124).name == "Disc below L5"
    assert labels.structure(128).name == "Disc below T13"


def test_order_runs_top_to_bottom_through_supernumerary_levels():
    order = [labels.structure(value).abbreviation for value in labels.LEVEL_ORDER]
    assert order[:2] == ["C1", "C2"]
    assert order[17:22] == ["T11", "T12", "T13", "L1", "L2"]
    assert order[-3:] == ["L5", "L6", "Sacrum"]
    assert len(set(order)) == 27


def test_totalsegmentator_numbers():
    assert sorted(labels.TOTALSEGMENTATOR_TO_VERSE.items()) == TOTALSEGMENTATOR_AND_VERSE
    assert labels.structure(labels.TOTALSEGMENTATOR_TO_VERSE[32]).abbreviation == "T12"
    assert labels.structure(labels.TOTALSEGMENTATOR_TO_VERSE[44]).abbreviation == "C7"


@pytest.mark.parametrize("value", sorted(labels.VERTEBRAE - {25, 28}))
def test_vertebra_codes_are_dicom_s(value):
    item = labels.structure(value)
    published = getattr(codes.SCT, f"{item.abbreviation}Vertebra")
    assert (item.snomed_code, item.snomed_meaning) == (published.value, published.meaning)


def test_other_codes_are_dicom_s():
    for item, published in (
        (labels.structure(26), codes.SCT.Sacrum),
        (labels.structure(61), codes.SCT.VertebralCanal),
        (labels.structure(28), codes.SCT.Vertebra),
        (labels.structure(25), codes.SCT.Vertebra),
        (labels.structure(1, levels_known=False), codes.SCT.Vertebra),
    ):
        assert (item.snomed_code, item.snomed_meaning) == (published.value, published.meaning)


def test_terminology_entry_is_read_back():
    entry = labels.structure(20).terminology_entry
    assert entry == (
        "Segmentation category and type - SpineContextSeg~SCT^123037004^Anatomical Structure"
        "~SCT^66794005^L1 vertebra~^^~Anatomic codes - DICOM master list~^^~^^"
    )
    assert terminology_entry_from_string(entry)["type"] == ["SCT", "66794005", "L1 vertebra"]
    every = [*labels.STRUCTURES.values(), labels.structure(1, levels_known=False)]
    assert {item.terminology_entry.count("~") for item in every} == {6}
    assert {item.terminology_entry.count("^") for item in every} == {10}


def test_level_unknown():
    assert labels.structure(1).name == "C1 vertebra"
    assert labels.structure(1, levels_known=False).name == "Vertebrae"
    assert labels.structure(26, levels_known=False).name == "Sacrum"
    assert not labels.levels_known([])
    assert not labels.levels_known([1, 26, 61, 200])
    assert labels.levels_known([1, 2])
    assert labels.levels_known([28, 26])
    with pytest.raises(KeyError):
        labels.structure(27)


def test_neighbors_differ_in_color_and_stand_out_from_gray():
    def distance(one, other):
        return sum((a - b) ** 2 for a, b in zip(one.color, other.color, strict=True)) ** 0.5

    order = [labels.structure(value) for value in labels.LEVEL_ORDER]
    pairs = list(itertools.pairwise(order)) + list(zip(order, order[2:], strict=False))
    pairs += [(labels.structure(100 + v), labels.structure(v)) for v in labels.VERTEBRAE]
    pairs += [(labels.structure(100 + v.value), below) for v, below in itertools.pairwise(order)]
    pairs += itertools.combinations([labels.structure(v, levels_known=False) for v in (1, 26, 61, 200)], 2)
    pairs += [(labels.structure(61), labels.structure(v)) for v in labels.DISCS]
    assert min(distance(*pair) for pair in pairs) > 0.3
    for item in labels.STRUCTURES.values():
        assert all(0 <= part <= 1 for part in item.color)
        assert max(item.color) - min(item.color) > 0.35
