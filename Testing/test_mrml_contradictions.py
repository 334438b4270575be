"""Levels put right with Slicer's own tools: files go on holding the old ones, which must be told."""

import pytest

from SpineContextSegLib.labels import structure
from SpineContextSegLib.measure import NO_HOUNSFIELD_UNITS
from SpineContextSegLib.repair import level_sequence

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.contradictions import contradictions  # noqa: E402
from SpineContextSegLib.mrml.export import export_segmentation  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.measurements import show_measurements  # noqa: E402
from Testing.scene_nodes import add_volume  # noqa: E402
from Testing.scene_results import NO_LEVELS, SMALL, add_result, blocks, segments  # noqa: E402

L3 = "SpineContextSeg_22"


@pytest.fixture
def volume(scene):
    return add_volume(SMALL)


@pytest.fixture
def node(volume):
    return add_result(volume, blocks(26, 124, 24, 123, 23, 122, 22))


def call(node, segment_id: str, value: int) -> None:
    """As Slicer's terminology selector does."""
    item = structure(value)
    segment = segments(node)[segment_id]
    segment.SetName(item.name)
    segment.SetColor(item.color)
    segment.SetTerminology(item.terminology_entry)


def test_another_level_by_hand(node):
    segment, item = segments(node)[L3], structure(21)
    segment.SetTerminology(item.terminology_entry)
    assert contradictions(node.GetSegmentation()) == [
        "'L3 vertebra' has the value of L3 but the code of another level: put it right under Levels."
    ]
    segment.SetName(item.name)
    told = ["'L2 vertebra' has the value of L3: put it right under Levels."]
    assert contradictions(node.GetSegmentation()) == told
    segment.RemoveTag("TerminologyEntry")
    assert contradictions(node.GetSegmentation()) == told


def test_it_is_told_with_the_files_and_the_measurements(node, volume, tmp_path):
    call(node, L3, 21)
    told = ["'L2 vertebra' has the value of L3: put it right under Levels."]
    assert export_segmentation(node, volume, tmp_path, formats=["nii.gz"]).remarks == told
    # The volume is black: no density of it, which is told, too.
    assert show_measurements(node)[2] == [NO_HOUNSFIELD_UNITS.format(name="'CT'"), *told]


def test_a_repair_ends_it(node):
    call(node, L3, 21)
    Levels(node).rename(22, 21, level_sequence())
    assert contradictions(node.GetSegmentation()) == []


def test_many_are_one_sentence(node):
    for value in (24, 23, 22, 124, 123):
        call(node, f"SpineContextSeg_{value}", value - 1)
    (told,) = contradictions(node.GetSegmentation())
    assert told.count("has the value") == 3 and "and 2 others" in told


@pytest.mark.parametrize("own", ["by hand", "unusual", "unknown"])
def test_what_contradicts_nothing(node, volume, own):
    if own == "by hand":
        segments(node)[L3].SetName("Fracture")
        segments(node)[L3].SetTerminology(structure(21).terminology_entry.replace("SCT^", "99LOCAL^X"))
    elif own == "unusual":
        node = add_result(volume, blocks(26, 125, 25, 124, 24, 128, 28))
    else:
        node = add_result(volume, blocks(26, 200, 1, 61), NO_LEVELS)
    assert contradictions(node.GetSegmentation()) == []
