"""What of the last vertebra is sacrum: loose pieces of it below, in slices of either order."""

import numpy as np
import pytest

from SpineContextSegLib.labels import SACRUM
from SpineContextSegLib.sacral_pieces import give_to_sacrum
from SpineContextSegLib.volume import Volume

L5 = 24
# Blocks along (k, j, i), k upward.
BODY = (slice(60, 80), slice(20, 40), slice(20, 40))
LOOSE_PROCESS = (slice(56, 66), slice(5, 14), slice(28, 32))
BONE = (slice(20, 58), slice(14, 34), slice(10, 50))
IN_BONE = (slice(24, 30), slice(12, 16), slice(28, 32))
ELSEWHERE = (slice(5, 10), slice(45, 50), slice(50, 55))


def labels() -> np.ndarray:
    array = np.zeros((90, 60, 60), np.uint8)
    array[BONE] = SACRUM
    for block in (BODY, LOOSE_PROCESS, IN_BONE, ELSEWHERE):
        array[block] = L5
    return array


@pytest.mark.parametrize("upward", [1, -1])
def test_only_what_lies_below_and_touches_the_sacrum_becomes_sacrum(upward):
    volume = Volume(np.ascontiguousarray(labels()[::upward]), np.diag([1.0, 1.0, 2.0 * upward, 1.0]))
    expected = labels()
    expected[IN_BONE] = SACRUM
    give_to_sacrum(volume, L5)
    assert np.array_equal(volume.array[::upward], expected)


@pytest.mark.parametrize("missing", [L5, SACRUM])
def test_without_one_of_them_nothing_changes(missing):
    volume = Volume(np.where(labels() == missing, 0, labels()), np.eye(4))
    before = volume.array.copy()
    give_to_sacrum(volume, L5)
    assert np.array_equal(volume.array, before)
