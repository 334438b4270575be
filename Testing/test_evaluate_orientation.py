"""Whether reversed slices are noticed: the pieces that are looked at, and the table."""

from types import SimpleNamespace

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Training import evaluate_orientation
from Training.evaluate_orientation import CERTAIN, NOTICED, PIECES, UNNAMED, UNSURE, pieces, table, verdict

IMAGE = Volume(np.arange(20 * 4 * 4, dtype=np.int16).reshape(20, 4, 4), np.diag([1.0, 1, 2, 1]))


def test_pieces_lie_where_they_lay_and_their_slices_are_reversed():
    found = list(pieces(IMAGE))
    assert len(found) == 2 * len(PIECES) and [reversed_ for reversed_, _ in found] == [False, True] * len(PIECES)
    for (_, upright), (_, turned) in zip(found[::2], found[1::2]):
        assert np.array_equal(upright.array[::-1], turned.array)
        assert np.array_equal(upright.affine, turned.affine)
        # Each voxel still lies where the scan has it.
        height = upright.affine[2, 3] / 2
        assert np.array_equal(upright.array, IMAGE.array[int(height) : int(height) + len(upright.array)])


@pytest.mark.parametrize(
    ("column", "said"),
    [(None, UNNAMED), ((True, False), NOTICED), ((False, True), CERTAIN), ((False, False), UNSURE)],
)
def test_verdicts(column, said):
    levels = column and SimpleNamespace(upside_down=column[0], certain=column[1])
    assert verdict(SimpleNamespace(column=column and SimpleNamespace(levels=levels))) == said


def test_generated_scans_are_of_the_kind_that_the_model_was_made_for(monkeypatch, capsys):
    made = []

    def generated(seed, modality="CT"):
        made.append((seed, modality))
        return SimpleNamespace(image=IMAGE, labels=IMAGE)

    model = SimpleNamespace(card=SimpleNamespace(modality=("MR",)))
    stubs = {
        "load_model": lambda _: model, "choose_runtime": lambda *_, **__: None, "choose_helpers": lambda *_, **__: {},
        "generated_scan": generated, "segment": lambda *_, **__: SimpleNamespace(column=None),
    }  # fmt: skip
    for name, stub in stubs.items():
        monkeypatch.setattr(evaluate_orientation, name, stub)
    monkeypatch.setattr("sys.argv", ["evaluate", "--model", "mine", "--generated", "7", "8"])
    evaluate_orientation.main()
    assert made == [(7, "MR"), (8, "MR")] and "seed 8, 20 slices, reversed: unnamed" in capsys.readouterr().out


def test_table():
    lines = table([(False, CERTAIN), (False, CERTAIN), (True, NOTICED), (True, UNNAMED)]).splitlines()
    assert lines[2:] == ["| as they are | 0 | 2 | 0 | 0 |", "| reversed | 1 | 0 | 0 | 1 |"]
