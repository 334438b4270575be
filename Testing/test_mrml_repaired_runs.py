"""A run that fills a part of a segmentation whose levels a person has put right: what it finds follows these."""

import numpy as np
import pytest

from SpineContextSegLib.labels import BINARY_SPINE, DISCS
from SpineContextSegLib.repair import level_sequence

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.composition import NothingToWrite  # noqa: E402
from SpineContextSegLib.mrml.edits import edited_values  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from Testing.scene_nodes import add_volume  # noqa: E402
from Testing.scene_results import NO_LEVELS, SMALL, add_result, blocks, labels_in  # noqa: E402

L5, L4 = 24, 23
# L5 with its disc above the sacrum, as the network calls it in every run.
LUMBAR = blocks(26, 124, L5, 123, L4)


@pytest.fixture
def volume(scene):
    return add_volume(SMALL)


@pytest.fixture
def repaired(volume):
    """A segmentation without discs, in which what the network calls L5 is L4."""
    node = add_result(volume, np.where(LUMBAR < 100, LUMBAR, 0))
    Levels(node).shift(-1, level_sequence())
    return node


def test_discs_of_a_later_run_follow_repaired_levels(repaired, volume):
    add_result(volume, LUMBAR, segmentation_node=repaired, only=DISCS)
    np.testing.assert_array_equal(labels_in(repaired, volume), blocks(26, 123, 23, 122, 22))
    assert list(our_values(repaired)) == [22, 23, 26, 122, 123]
    # And again, with the discs that are there.
    add_result(volume, LUMBAR, segmentation_node=repaired, only=DISCS)
    np.testing.assert_array_equal(labels_in(repaired, volume), blocks(26, 123, 23, 122, 22))


def test_vertebrae_done_anew_agree_with_the_discs_that_stay(repaired, volume):
    add_result(volume, LUMBAR, segmentation_node=repaired, only=DISCS)
    add_result(volume, LUMBAR, segmentation_node=repaired, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(repaired, volume), blocks(26, 123, 23, 122, 22))


def test_where_all_is_done_anew_the_run_names_them(repaired, volume):
    add_result(volume, LUMBAR, segmentation_node=repaired)
    np.testing.assert_array_equal(labels_in(repaired, volume), LUMBAR)


def test_vertebrae_alone_done_anew_keep_their_repaired_levels(repaired, volume):
    """And so in every further run, which asks first: they are the work of a person still."""
    for _ in range(2):
        assert edited_values(repaired) >= {22, 23}
        add_result(volume, LUMBAR, segmentation_node=repaired, only=BINARY_SPINE)
        np.testing.assert_array_equal(labels_in(repaired, volume), blocks(26, 0, 23, 0, 22))
        assert list(our_values(repaired)) == [22, 23, 26]


def test_vertebrae_of_a_run_that_agrees_with_the_repair_are_those_of_the_run(repaired, volume):
    add_result(volume, blocks(26, 0, 23, 0, 22), segmentation_node=repaired, only=BINARY_SPINE)
    assert edited_values(repaired) == set()


def test_levels_that_nobody_told_apart_name_nothing(volume):
    node = add_result(volume, np.where(LUMBAR == L5, 1, 0), NO_LEVELS)
    add_result(volume, LUMBAR, segmentation_node=node, only=DISCS)
    assert list(our_values(node)) == [1, 123, 124]


def test_only_a_level_that_is_there_by_the_known_names(repaired, volume):
    before = labels_in(repaired, volume)
    with pytest.raises(NothingToWrite):
        add_result(volume, LUMBAR, segmentation_node=repaired, only={124})
    np.testing.assert_array_equal(labels_in(repaired, volume), before)
    add_result(volume, LUMBAR, segmentation_node=repaired, only={122})
    np.testing.assert_array_equal(labels_in(repaired, volume) == 122, LUMBAR == 123)
