"""Whether reversed slices are noticed: the pieces that are looked at, and the table."""

from types import SimpleNamespace

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Training.evaluate_orientation import CERTAIN, NOTICED, PIECES, UNNAMED, UNSURE, pieces, table, verdict

AFFINE = np.diag([1.0, 1, 2, 1])


def test_pieces_lie_where_they_lay_and_their_slices_are_reversed():
    image = Volume(np.arange(20 * 4 * 4, dtype=np.int16).reshape(20, 4, 4), AFFINE)
    found = list(pieces(image))
    assert len(found) == 2 * len(PIECES) and [reversed_ for reversed_, _ in found] == [False, True] * len(PIECES)
    for (_, upright), (_, turned) in zip(found[::2], found[1::2]):
        assert np.array_equal(upright.array[::-1], turned.array)
        assert np.array_equal(upright.affine, turned.affine)
        # Each voxel still lies where the scan has it.
        height = upright.affine[2, 3] / 2
        assert np.array_equal(upright.array, image.array[int(height) : int(height) + len(upright.array)])


@pytest.mark.parametrize(
    ("column", "said"),
    [(None, UNNAMED), ((True, False), NOTICED), ((False, True), CERTAIN), ((False, False), UNSURE)],
)
def test_verdicts(column, said):
    levels = column and SimpleNamespace(upside_down=column[0], certain=column[1])
    assert verdict(SimpleNamespace(column=column and SimpleNamespace(levels=levels))) == said


def test_table():
    lines = table([(False, CERTAIN), (False, CERTAIN), (True, NOTICED), (True, UNNAMED)]).splitlines()
    assert lines[2:] == ["| as they are | 0 | 2 | 0 | 0 |", "| reversed | 1 | 0 | 0 | 1 |"]
