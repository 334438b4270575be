"""Learning from corrected scans: the whole way in miniature, on parts of the sample, and who is called better."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load, save_file

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import FOLDER_VARIABLE, load_model
from SpineContextSegLib.network import SpineContextResUNet
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training import finetune
from Training.classes import CANAL, DISC, SACRUM
from Training.export import export
from Training.labelled_scans import find_labelled, labels_of
from Training.loop import start_from
from Training.real_patches import load_real_scan
from Training.verdict import Judged, judge

SAMPLE = Path(finetune.__file__).parents[1] / "SpineContextSeg" / "SpineContextSegLib" / "sample"
SPACING_MM = 4.0
SHYNESS = 7.0
GOOD = Judged(0.90, 12, 12)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three pieces of the sample, in the layout that the workbench exports."""
    folder = tmp_path_factory.mktemp("dataset")
    ct, labels = read_volume(SAMPLE / "phantom_ct.nii.gz")[0], read_labels(SAMPLE / "phantom_labels.nii.gz")
    for number, start in enumerate((0, 40, 80), start=1):
        part = slice(start, start + 96), slice(None), slice(None)
        subject = f"sub-{number:04d}"
        for place in ("rawdata", "derivatives"):
            (folder / place / subject).mkdir(parents=True)
        affine = ct.grid.crop(part).affine
        write_volume(Volume(ct.array[part], affine), folder / "rawdata" / subject / f"{subject}_ct.nii.gz")
        masks = {"vert": np.where(labels.array[part] < 61, labels.array[part], 0), "spine": labels.array[part]}
        for kind, mask in masks.items():
            target = folder / "derivatives" / subject / f"{subject}_seg-{kind}_msk.nii.gz"
            write_volume(Volume(mask.astype(np.uint8), affine), target)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The shipped locator, at 4 mm, that was made shy: it calls much of the spine background."""
    locator = load_model("spinecontext-ct").locator
    state = load(locator.read("safetensors"))
    state["final.bias"][0] += SHYNESS
    folder = tmp_path_factory.mktemp("models") / "shy"
    export(state, locator.card.to_dict() | {"name": "shy"}, folder)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "users models"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finetune, "_BODIES", 1)
    monkeypatch.setattr(finetune, "_PATCH", 32)
    monkeypatch.setattr(finetune, "_LEARNING_RATE", 3e-3)
    monkeypatch.setattr(finetune, "generated_scan", sample)


def sample(*_) -> SimpleNamespace:
    """Quicker than a scan that is generated twice in each run."""
    ct, labels = read_volume(SAMPLE / "phantom_ct.nii.gz")[0], read_labels(SAMPLE / "phantom_labels.nii.gz")
    return SimpleNamespace(image=ct, labels=labels)


def each_its_own(scans) -> dict[Path, str]:
    """Scans of which none is a copy."""
    return {path: path.name for path in scans}


def run(dataset, base, *more) -> int:
    return main(["finetune", str(dataset), "--from", str(base), "--name", "ours", "--hold-out", "1", *more])


def test_a_network_that_learns_is_added_with_what_it_did_on_scans_it_never_saw(dataset, base, tmp_path, capfd):
    assert run(dataset, base, "--steps", "12") == 0
    printed = capfd.readouterr().out
    assert "under two names one may be learnt from" in printed
    model = load_model("ours")
    assert model.folder == tmp_path / "users models" / "ours" and str(model.folder) in printed
    results = model.card.results["held_out"]
    assert results["after"][0] > results["before"][0] + 0.02 and results["verdict"].startswith("Better")
    assert model.card.training["scans"] == 2 and model.card.training["held_out"] == 1
    # What is said of it is what it does.
    held_out = finetune.split(each_its_own(find_labelled(dataset)), 1)[0]
    (judged,) = finetune._judged("after", model, held_out, None)[0].values()
    assert judged.dice == pytest.approx(results["after"][0], abs=1e-4)
    assert "sub-" not in (model.folder / "card.json").read_text()


def test_weights_are_the_mean_of_those_before_and_after(base, tmp_path):
    model = load_model(base)
    before = SpineContextResUNet(1, model.card.out_channels, model.card.base_filters)
    start_from(before, load(model.read("safetensors")))
    after = {name: value + 2 if value.is_floating_point() else value for name, value in before.state_dict().items()}
    save_file(after, tmp_path / "learnt.safetensors")
    mean = finetune._halfway(model, tmp_path / "learnt.safetensors")
    for name, value in before.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(mean[name], value + 1)


def test_a_network_that_learnt_nothing_is_not_added(dataset, base, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(finetune, "_LEARNING_RATE", 1e-12)
    assert run(dataset, base, "--steps", "1") == 1
    said = capfd.readouterr()
    assert "Not better" in said.err and "shy" in said.err and "Held out" in said.out
    assert not (tmp_path / "users models" / "ours").exists()


def test_who_interrupts_is_told_that_it_goes_on(dataset, base, capfd, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "train", interrupted)
    assert run(dataset, base, "--steps", "1") == 130
    said = capfd.readouterr()
    assert "goes on from what 'ours.finetune' holds" in said.err and "log.jsonl" in said.out
    assert "generated bodies first" in said.out


def test_a_run_goes_on_only_with_the_scans_it_began_with(dataset, base, tmp_path):
    model, scans = load_model(base), find_labelled(dataset)
    for _ in range(2):
        finetune._remember(tmp_path / "work", model, scans[:1], scans[1:], 5)
    for taught, steps in ((scans[1:2], 5), (scans[1:], 6)):
        with pytest.raises(InputRefused, match="other scans, labels, --steps"):
            finetune._remember(tmp_path / "work", model, scans[:1], taught, steps)


def test_a_run_does_not_go_on_with_labels_that_were_corrected(dataset, base, tmp_path):
    """Nor with another scan of the same name; voxels that a header lists count, too."""
    copy, model = shutil.copytree(dataset, tmp_path / "corrected"), load_model(base)
    scans = find_labelled(copy)
    detached = copy / "rawdata" / "sub-0003" / "sub-0003_ct.mhd"
    write_volume(read_volume(scans[2])[0], scans[2].with_name("scan.mha"))
    sitk.WriteImage(sitk.ReadImage(str(scans[2].with_name("scan.mha"))), str(detached))
    detached.write_text(detached.read_text().replace("ElementDataFile = ", "ElementDataFile = LIST\n"))
    raw = detached.with_suffix(".raw")
    for number, file in enumerate((labels_of(scans[0]), labels_of(scans[1]), scans[1], raw)):
        work = tmp_path / f"work{number}"
        finetune._remember(work, model, scans[:1], [scans[1], detached], 5)
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputRefused, match="labels"):
            finetune._remember(work, model, scans[:1], [scans[1], detached], 5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--hold-out", "3"], "can't be held out"),
        (["--hold-out", "0"], "can't be held out"),
        (["--steps", "0"], "at least 1"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--name", "spinecontext-ct"], "is there already"),
        (["--name", "../ours"], "name"),
        (["--from", "nobody"], "no model nobody"),
        (["--from", "spinecontext-ct/../x"], "no model"),
        (["--from", "spinecontext-mr"], "sub-0001_ct.nii.gz': The values look like the Hounsfield units of a CT"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(dataset, base, tmp_path, capfd, change, sentence):
    assert run(dataset, base, *change) == 2
    said = capfd.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda labels: Volume(labels.array, np.eye(4)), "don't lie on the same grid"),
        (lambda labels: Volume(np.where(labels.array, labels.array + 900.0, 0), labels.affine), "holds 9"),
        (lambda labels: Volume(labels.array - 1.0, labels.affine), "holds -1"),
        (lambda labels: Volume(labels.array * 0, labels.affine), "holds no vertebra"),
        (lambda labels: Volume(labels.array * (labels.array > 60), labels.affine), "holds no vertebra"),
    ],
    ids=["origin lost", "other numbering", "below zero", "nothing", "only discs and canal"],
)
def test_labels_that_cannot_be_right_are_refused_before_any_work(dataset, base, tmp_path, capfd, spoil, sentence):
    copy = shutil.copytree(dataset, tmp_path / "spoilt")
    file = labels_of(find_labelled(copy)[-1])
    write_volume(spoil(read_labels(file)), file)
    assert run(copy, base) == 2
    said = capfd.readouterr().err
    assert file.name in said and sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [copy]


def test_labels_may_be_stored_in_another_order_of_axes(dataset, base, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "turned")
    file = labels_of(find_labelled(copy)[-1])
    labels = read_labels(file)
    write_volume(Volume(labels.array.transpose(2, 1, 0).copy(), labels.affine[:, [2, 1, 0, 3]]), file)
    held_out, taught = finetune._checked(load_model(base), "ours", find_labelled(copy), 1, 1, None)
    assert sorted(held_out + taught) == find_labelled(copy)


def test_scans_of_another_modality_are_left_out_and_named(dataset, base, tmp_path, capfd):
    """The workbench exports CT and MR as one data set."""
    copy = shutil.copytree(dataset, tmp_path / "mixed")
    other = find_labelled(copy)[1]
    ct, _ = read_volume(other)
    write_volume(Volume(np.clip(ct.array, 0, None), ct.affine), other)
    held_out, taught = finetune._checked(load_model(base), "ours", find_labelled(copy), 1, 1, None)
    assert sorted(held_out + taught) == [path for path in find_labelled(copy) if path != other]
    said = capfd.readouterr().out
    assert said.startswith("Left out 1 of 3 scans") and "made for (CT): sub-0002_ct\n" in said
    # One is left: it can't be held out and learnt from.
    shutil.rmtree(copy / "rawdata" / "sub-0001")
    assert run(copy, base) == 2
    said = capfd.readouterr()
    assert "Left out 1 of 2 scans" in said.out and "can't be held out" in said.err


def test_folders_without_labelled_scans_are_refused(tmp_path, base, capfd):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", base) == 2 and run(tmp_path / "missing", base) == 2
    assert capfd.readouterr().err.count("spinecontextseg: ") == 2


def test_labels_are_found_beside_their_scan_and_in_verses_layout(tmp_path, dataset):
    scans = find_labelled(dataset)
    assert [path.name for path in scans] == [f"sub-000{n}_ct.nii.gz" for n in (1, 2, 3)]
    # The mask that holds discs and canal, too.
    assert labels_of(scans[0]).name == "sub-0001_seg-spine_msk.nii.gz"
    for name in ("a.nii.gz", "a_labels.nii.gz", "b_ct.nrrd", "b_seg.nrrd", "c.nii.gz"):
        (tmp_path / name).touch()
    assert {path.name: labels_of(path).name for path in find_labelled(tmp_path)} == {
        "a.nii.gz": "a_labels.nii.gz", "b_ct.nrrd": "b_seg.nrrd",
    }  # fmt: skip


def test_what_nobody_labelled_is_not_taught_as_background(tmp_path, dataset):
    scan = find_labelled(dataset)[0]
    full = load_real_scan(scan, SPACING_MM)
    labels_of(scan).rename(labels_of(scan).with_suffix(".hidden"))
    try:
        bones = load_real_scan(scan, SPACING_MM)
    finally:
        hidden = next((dataset / "derivatives" / "sub-0001").glob("*.hidden"))
        hidden.rename(hidden.with_suffix(".gz"))
    assert full.lacking == frozenset()
    assert bones.lacking >= {DISC, CANAL} and SACRUM not in bones.lacking


def test_a_scan_is_kept_around_its_spine(dataset):
    scan = find_labelled(dataset)[0]
    whole, around = load_real_scan(scan, 2.0), load_real_scan(scan, 2.0, 20.0)
    assert around.hu.numel() < whole.hu.numel()
    assert (around.label > 0).sum() == (whole.label > 0).sum()


@pytest.mark.parametrize(
    ("after", "guard", "better", "reason"),
    [
        ([0.92, 0.91], 0.93, True, "rose by 0.0150"),
        ([0.9005, 0.9005], 0.93, False, "chance"),
        ([0.96, 0.885], 0.93, False, "b lost 0.015"),
        ([0.92, 0.91], 0.91, False, "another kind"),
    ],
)
def test_only_the_better_one_is_called_better(after, guard, better, reason):
    before = {"a": GOOD, "b": GOOD}
    verdict = judge(before, {n: Judged(dice, 12, 12) for n, dice in zip("ab", after)}, Judged(0.93, 0, 0),
                    Judged(guard, 0, 0))  # fmt: skip
    assert verdict.better is better and reason in verdict.reason


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_scan_of_another_kind_is_one_that_no_shipped_model_learnt_from(monkeypatch, modality):
    monkeypatch.setattr(finetune, "generated_scan", lambda *asked: SimpleNamespace(image=asked, labels="exact"))
    assert finetune._guard_scan(modality) == ((8_900_001, modality), "exact")


def test_a_lost_level_is_not_better():
    verdict = judge({"a": GOOD}, {"a": Judged(0.95, 11, 12)}, GOOD, GOOD)
    assert not verdict.better and "11 vertebrae" in verdict.reason


def test_a_level_gained_on_one_scan_does_not_make_up_for_one_lost_on_another():
    verdict = judge({"a": GOOD, "b": GOOD}, {"a": Judged(0.95, 14, 14), "b": Judged(0.95, 11, 12)}, GOOD, GOOD)
    assert not verdict.better and "on b, 11 vertebrae got their level instead of 12" in verdict.reason


def test_a_level_lost_on_a_scan_of_another_kind_is_not_better():
    verdict = judge({"a": GOOD}, {"a": Judged(0.95, 12, 12)}, GOOD, Judged(0.90, 8, 12))
    assert not verdict.better and "another kind, 8 vertebrae" in verdict.reason


def test_the_same_scans_are_held_out_in_any_order():
    scans = [Path(f"/x/scan{n}.nii.gz") for n in range(10)]
    held, taught = finetune.split(each_its_own(scans), None)
    assert len(held) == 2 and sorted(held + taught) == scans
    moved = [Path("/elsewhere") / path.name for path in reversed(scans)]
    assert [path.name for path in finetune.split(each_its_own(moved), None)[0]] == [path.name for path in held]
    with pytest.raises(InputRefused):
        finetune.split(each_its_own(scans[:1]), None)


def test_scans_of_one_subject_are_on_one_side():
    scans = [Path(f"/x/sub-{n:04d}_split-{split:02d}_ct.nii.gz") for n in range(6) for split in (1, 2)]
    for count in range(1, 11):
        held, taught = finetune.split(each_its_own(scans), count)
        assert sorted(held + taught) == scans and len(held) == count + count % 2
        assert not {path.name[:8] for path in held} & {path.name[:8] for path in taught}
    for nobody_left, count in ((scans, 11), (scans[:2], 1)):
        with pytest.raises(InputRefused, match="of another subject"):
            finetune.split(each_its_own(nobody_left), count)


def test_copies_of_a_scan_are_on_one_side():
    """Of which one may be another subject's second scan by its name."""
    scans = each_its_own(Path(f"/x/sub-{n:04d}_split-{split}_ct.nii.gz") for n in range(6) for split in (1, 2))
    first, second, third = list(scans)[0], list(scans)[3], Path("/x/copy.nii.gz")
    scans[second] = scans[third] = scans[first]
    alike = {path for path in scans if path.name[:8] in ("sub-0000", "sub-0001", "copy.nii")}
    assert len(alike) == 5
    for count in range(1, 9):
        held, taught = finetune.split(scans, count)
        assert sorted(held + taught) == sorted(scans) and (alike <= set(held) or alike <= set(taught))
    with pytest.raises(InputRefused, match="no copy of it"):
        finetune.split({path: scans[path] for path in alike}, 1)


def test_a_scan_that_was_stored_anew_is_a_copy(dataset, base, tmp_path, capfd):
    """As another type, with other axes, under another name: nothing is judged by what was learnt."""
    copy = shutil.copytree(dataset, tmp_path / "copies")
    scans = find_labelled(copy)
    for path in scans[:2]:
        ct, labels = read_volume(path)[0], read_labels(labels_of(path))
        turned = ct.affine[:, [2, 1, 0, 3]] @ np.diag([-1.0, 1, 1, 1])
        turned[:3, 3] = ct.grid.world(np.array([0, 0, len(ct.array) - 1]))
        for volume, name in ((ct, "again"), (labels, "again_labels")):
            array = volume.array.transpose(2, 1, 0)[..., ::-1].astype(np.float32 if volume is ct else np.uint8)
            write_volume(Volume(array.copy(), turned), copy / f"{path.parent.name[-1]}_{name}.nii.gz")
    held_out, taught = finetune._checked(load_model(base), "ours", find_labelled(copy), 1, 1, None)
    sides = [{path.name[0] if "again" in path.name else path.name[7] for path in side} for side in (held_out, taught)]
    assert len(held_out + taught) == 5 and sides[0].isdisjoint(sides[1])
    assert "Copies of one scan, all held out or all learnt from: 1_again, sub-0001_ct\n" in capfd.readouterr().out
