"""A lumbar column as a segmentation in a scene, every repair of its levels, and all that a person sees of it."""

import numpy as np
import pytest

from SpineContextSegLib.labels import STRUCTURES, structure
from SpineContextSegLib.mrml.levels import Levels
from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.repair import level_sequence
from Testing.scene_nodes import add_volume, mask_of, remove_views
from Testing.scene_results import SMALL, add_result, blocks, segments, tag

# The fixtures, for `from Testing.level_repairs import *`.
__all__ = ["levels", "node", "repair", "volume"]

USUAL = level_sequence()
# L3 to L5 with their discs, and the sacrum.
LUMBAR = (121, 22, 122, 23, 123, 24, 124, 26)


def column(*values) -> np.ndarray:
    """A block of each value on the small grid, from top to bottom."""
    return blocks(*reversed(values))


@pytest.fixture
def volume(scene):
    yield add_volume(SMALL)
    remove_views()


@pytest.fixture
def node(volume):
    return add_result(volume, column(*LUMBAR))


@pytest.fixture
def levels(node):
    return Levels(node)


def now(node, volume) -> dict:
    """All that a person sees of a segmentation: the list, and of every segment its voxels and what it says."""
    names = ("TerminologyEntry", "SpineContextSeg.Value")
    return {
        segment_id: (
            segment.GetName(), segment.GetColor(), segment.GetLabelValue(), *(tag(segment, name) for name in names),
            mask_of(node, segment_id, volume).tobytes(),
        )
        for segment_id, segment in segments(node).items()
    }  # fmt: skip


def assert_consistent(node) -> None:
    """Every segment of ours says the same in all ways, and is in its place in the list."""
    values = our_values(node)
    for value, segment_id in values.items():
        segment, item = segments(node)[segment_id], structure(value)
        assert segment.GetName() == item.name and segment.GetLabelValue() == value
        np.testing.assert_allclose(segment.GetColor(), item.color, atol=1e-6)
        assert tag(segment, "TerminologyEntry") == item.terminology_entry
    assert list(values) == [value for value in STRUCTURES if value in values]


def middle_of(node, segment_id, volume) -> np.ndarray:
    """(R, A, S) in the volume's own coordinates."""
    k, j, i = np.argwhere(mask_of(node, segment_id, volume)).mean(axis=0)
    return SMALL.world(np.array([i, j, k]))


REPAIRS = {
    "rename": lambda levels, middle: levels.rename(22, 19, USUAL),
    "shift": lambda levels, middle: levels.shift(-2, USUAL),
    "swap": lambda levels, middle: levels.swap(22, 24),
    "merge": lambda levels, middle: levels.merge(22),
    "merge with the sacrum": lambda levels, middle: levels.merge(24),
    "split": lambda levels, middle: levels.split(23, middle, None, level_sequence(lumbar=6)),
}


@pytest.fixture(params=list(REPAIRS))
def repair(request, node, volume, levels):
    middle = middle_of(node, "SpineContextSeg_23", volume)
    return lambda: REPAIRS[request.param](levels, middle)
