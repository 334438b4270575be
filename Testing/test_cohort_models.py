"""CT and MR in one folder, segmented by a batch for each: what one model refuses, the other has done."""

import json
import shutil

import numpy as np
import pytest
from cohorts import batch, change, fill, record, stamps, states, table

from SpineContextSegLib.cli import main
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.store_use import *  # noqa: F403
from Workbench.store.batch_results import take_over
from Workbench.store.worklist import Worklist


@pytest.fixture
def for_mr(tiny_model, tmp_path):
    """The model for CT, said to be one for MR."""
    folder = shutil.copytree(tiny_model, tmp_path / "tiny mr")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"name": "tiny-mr", "modality": ["MR"]}))
    return folder


@pytest.fixture
def mixed(tmp_path, sample_scan):
    """A folder with `ct.nii.gz` and `mr.nii.gz`."""
    folder = fill(tmp_path / "in", sample_scan.path, "ct.nii.gz")
    signal = Volume(np.clip(sample_scan.volume.array, 0, None), sample_scan.volume.affine)
    write_volume(signal, folder / "mr.nii.gz")
    return folder


def test_each_model_leaves_what_the_other_has_done(mixed, tiny_model, for_mr, tmp_path, data, capsys):
    output = tmp_path / "out"
    assert batch(mixed, output, tiny_model) == 1
    assert states(output) == {"ct.nii.gz": "done", "mr.nii.gz": "refused"}
    of_ct = {name: stamp for name, stamp in stamps(output).items() if name.startswith("ct.")}
    assert batch(mixed, output, for_mr) == 1
    assert states(output) == {"ct.nii.gz": "refused", "mr.nii.gz": "done"}
    message = table(output)["ct.nii.gz"]["message"]
    assert "model made for CT" in message and "--force" in message and "What tiny 0 made of it stays." in message
    both = stamps(output)
    assert of_ct.items() <= both.items()
    # Once more: the CT needs no work, and the MR is refused as the CT was.
    assert batch(mixed, output, tiny_model) == 1
    assert states(output) == {"ct.nii.gz": "done", "mr.nii.gz": "refused"} and stamps(output) == both
    assert "What tiny-mr 0 made of it stays." in table(output)["mr.nii.gz"]["message"]
    assert take_over(Worklist.open(data, "tester"), output, pytest.fail) == 2
    capsys.readouterr()
    main(["measure", str(mixed), str(output), "--table", str(tmp_path / "vertebrae.csv")])
    # This network tells no vertebrae apart; for its record, neither scan is left out.
    assert capsys.readouterr().err.count("made by a model that doesn't") == 2


@pytest.mark.parametrize("lost", ["scan", "result"])
def test_a_refusal_is_written_where_there_is_no_result_of_this_scan(mixed, tiny_model, for_mr, tmp_path, lost):
    output = tmp_path / "out"
    batch(mixed, output, tiny_model)
    if lost == "scan":
        change(mixed / "ct.nii.gz")
    else:
        (output / "ct.seg.nrrd").unlink()
    assert batch(mixed, output, for_mr) == 1
    assert record(output / "ct.json")["state"] == "refused" and "stays" not in table(output)["ct.nii.gz"]["message"]


def test_force_replaces_what_the_other_model_has_done(mixed, tiny_model, for_mr, tmp_path):
    output = tmp_path / "out"
    batch(mixed, output, tiny_model)
    assert batch(mixed, output, for_mr, "--force") == 0
    assert record(output / "ct.json")["model"] == "tiny-mr 0"
