"""The command line in everyday use, with a network whose answer is known."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import bone_threshold_state, model_card

from SpineContextSegLib.cli import main
from SpineContextSegLib.commands.progress import Bar
from SpineContextSegLib.labels import VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.metrics import dice
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import write_volume
from Testing.cli_use import contents, refused

PACKAGE = Path(sys.modules["SpineContextSegLib"].__file__).parent
EMBEDDED = PACKAGE / "models" / "spinecontext-ct"
SAMPLE = PACKAGE / "sample" / "phantom_ct.nii.gz"


def segment(scan, output, model, *options):
    return main(["segment", str(scan), "-o", str(output), "--model", str(model), "--threads", "1", *map(str, options)])


def test_help_needs_nothing_heavy():
    code = (
        "import sys; from SpineContextSegLib.cli import build_parser; build_parser().format_help();"
        "print(sorted({'numpy', 'SimpleITK', 'matplotlib', 'openvino', 'torch', 'tqdm'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_help_tells_the_label_values(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 to 25 and 28 vertebrae, 26 sacrum" in shown and "100 more than the vertebra above for discs" in shown
    assert "1 stands for every vertebra and 200 for every disc" in shown


@pytest.mark.parametrize("command", ["segment", "batch"])
def test_help_is_about_mr_too(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "--model spinecontext-mr" in words and "a rescaled MR" in words and "largest CT" not in words


@pytest.mark.parametrize(
    "command",
    [[], ["segment"], ["batch"], ["levels"], ["measure"], ["evaluate"], ["models"], ["models", "register"],
     ["phantom"], ["finetune"]],
    ids=" ".join,
)  # fmt: skip
def test_help_fits_a_page(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert leaving.value.code == 0
    assert max(map(len, shown.splitlines())) <= 120
    assert len(shown.splitlines()) < 60
    if command in ([], ["segment"], ["batch"]):
        assert "Research use only" in shown and "examples:" in shown


@pytest.mark.parametrize(
    "arguments", [[], ["segment"], ["segment", "a", "-o", "b.nrrd", "--threads", "0"], ["evaluate", "a"], ["nonsense"]]
)
def test_wrong_command_lines_are_answered_with_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert "--help" in refused(capsys, leaving.value.code)


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha"])
def test_segment_writes_bone_on_the_scans_own_grid(ending, sample_scan, tiny_model, tmp_path):
    output = tmp_path / f"spine{ending}"
    assert segment(sample_scan.path, output, tiny_model) == 0
    labels = read_labels(output)
    assert contents(tmp_path) == [output.name]
    assert labels.grid.same_as(sample_scan.volume.grid)
    np.testing.assert_array_equal(labels.array, VERTEBRA_LEVEL_UNKNOWN * sample_scan.bone)


def test_a_run_tells_what_was_found_and_how(sample_scan, tiny_model, tmp_path, capsys):
    folder = tmp_path / "Wirbelsäule 脊椎"
    folder.mkdir()
    scan = folder / "Größe.nii.gz"
    scan.write_bytes(sample_scan.path.read_bytes())
    output, report, preview = folder / "é.seg.nrrd", folder / "é.json", folder / "é.png"
    assert segment(scan, output, tiny_model, "--report", report, "--preview", preview) == 0
    shown, said = capsys.readouterr()
    content = json.loads(report.read_text(encoding="utf-8"))
    volume_ml = np.count_nonzero(read_labels(output).array) * 0.01
    assert content["structures"] == [{"value": 1, "name": "Vertebrae", "volume_ml": pytest.approx(volume_ml, abs=0.01)}]
    assert content["input"]["path"] == str(scan)
    assert content["input"]["shape_ijk"] == [70, 60, 60] and content["input"]["spacing_mm"] == [2.0, 2.0, 2.5]
    assert list(content["seconds"])[:2] == ["read", "load model"]
    assert list(content["seconds"])[-2:] == ["write", "preview"] and content["seconds"]["network"] > 0
    assert content["seconds_total"] == pytest.approx(sum(content["seconds"].values()), abs=0.01)
    assert 50 < content["peak_memory_mb"] < 100_000
    assert (content["runtime"], content["device"], content["model"]) == ("openvino", "cpu", "tiny 0")
    assert content["files"] == [str(output), str(preview), str(report)]
    for part in ("Vertebrae", f"{volume_ml:.1f} ml", "openvino on cpu", "network", str(output), "Research use only"):
        assert part in shown
    # Blocks of bone go through both ends of the scan, and no progress bar is drawn where nobody watches.
    assert said.splitlines() == [f"Warning: {sentence}" for sentence in content["warnings"]]
    assert any("lower end" in sentence for sentence in content["warnings"])
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(preview))).std() > 10
    assert contents(folder) == sorted(["Größe.nii.gz", "é.seg.nrrd", "é.json", "é.png"])


def test_an_earlier_result_is_replaced(sample_scan, tiny_model, tmp_path):
    output = tmp_path / "spine.nrrd"
    output.write_text("old")
    assert segment(sample_scan.path, output, tiny_model) == 0
    assert read_labels(output).array.any()


def test_both_runtimes_give_the_same_labels(sample_scan, tiny_model, tmp_path):
    outputs = [tmp_path / f"{runtime}.nrrd" for runtime in ("openvino", "torch")]
    for output in outputs:
        assert segment(sample_scan.path, output, tiny_model, "--runtime", output.stem, "--device", "cpu") == 0
    assert np.array_equal(*(read_labels(output).array for output in outputs))


def test_force_segments_what_does_not_look_like_hounsfield_units(sample_scan, tiny_model, tmp_path, capsys):
    volume = sample_scan.volume
    scan = tmp_path / "conebeam.nrrd"
    write_volume(Volume(np.where(volume.array < 100, 0, volume.array * 3), volume.affine), scan)
    output = tmp_path / "spine.nrrd"
    assert refused(capsys, segment(scan, output, tiny_model)).endswith("For a cone-beam CT, use --force.")
    assert segment(scan, output, tiny_model, "--force") == 0
    assert "Warning: Continued against this check" in capsys.readouterr().err
    assert read_labels(output).array.any()


def test_a_ct_for_a_model_for_mr_is_no_cone_beam_ct(sample_scan, tmp_path, capsys):
    line = refused(capsys, segment(sample_scan.path, tmp_path / "spine.nrrd", "spinecontext-mr"))
    assert line.endswith("choose a model made for CT and not for MR. If it is an MR all the same, use --force.")


def path_cases():
    """Name of the case -> (options of segment after the input, a word of the answer); {} is the working folder."""
    return {
        "unknown ending": (["-o", "{}/out.png"], ".seg.nrrd"),
        "no such folder": (["-o", "{}/none/out.nrrd"], "create it"),
        "a folder": (["-o", "{}/folder.nrrd"], "is a folder"),
        "the input": (["-o", "{}/scan.nii.gz"], "same file"),
        "the input by another way": (["-o", "{}/folder.nrrd/../scan.nii.gz"], "same file"),
        "a link to the input": (["-o", "{}/symlink.nii.gz"], "same file"),
        "a hard link to the input": (["-o", "{}/hardlink.nii.gz"], "same file"),
        "a preview that is no picture": (["-o", "{}/out.nrrd", "--preview", "{}/out.pdf"], ".png"),
        "a report that is no JSON": (["-o", "{}/out.nrrd", "--report", "{}/out.nrrd"], ".json"),
        "a report without its ending": (["-o", "{}/out.nrrd", "--report", "{}/report"], ".json"),
        "a preview in no folder": (["-o", "{}/out.nrrd", "--preview", "{}/none/p.png"], "create it"),
        "no such model": (["-o", "{}/out.nrrd", "--model", "nonsense"], "There is no model nonsense"),
    }


@pytest.mark.parametrize("case", path_cases())
def test_bad_paths_are_refused_before_any_work(case, sample_scan, tiny_model, tmp_path, capsys):
    options, word = path_cases()[case]
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(sample_scan.path.read_bytes())
    (tmp_path / "symlink.nii.gz").symlink_to(scan)
    os.link(scan, tmp_path / "hardlink.nii.gz")
    (tmp_path / "folder.nrrd").mkdir()
    before = contents(tmp_path)
    model = [] if "--model" in options else ["--model", str(tiny_model)]
    code = main(["segment", str(scan), *(option.format(tmp_path) for option in options), *model])
    assert word in refused(capsys, code)
    assert contents(tmp_path) == before
    assert scan.read_bytes() == sample_scan.path.read_bytes()


def image_cases(volume, folder):
    """Files that are no CT: name of the case -> (path, a word of the answer)."""
    rng = np.random.default_rng(0)
    image = to_sitk(volume)
    mr = sitk.GetImageFromArray(rng.gamma(2.0, 80.0, volume.array.shape).astype(np.float32))
    scalar = sitk.Cast(image, sitk.sitkFloat32)
    sheared = volume.affine.copy()
    sheared[1, 2] = 0.6
    images = {
        "mr.nii.gz": (mr, "Hounsfield"),
        "rgb.mha": (sitk.Compose(scalar, scalar, scalar), "values per voxel"),
        "flat.mha": (image[:, :, 5], "dimensions"),
        "thin.nrrd": (image[:, :, 5:7], "too few slices"),
        "series.nii.gz": (sitk.JoinSeries(image, image), "4D"),
        "constant.nrrd": (image * 0, "empty"),
        "tilted.nrrd": (to_sitk(Volume(volume.array, sheared)), ".nrrd"),
    }
    for name, (content, _) in images.items():
        sitk.WriteImage(content, str(folder / name), True)
    cases = {name: (folder / name, word) for name, (_, word) in images.items()}
    write_volume(volume, folder / "cut.nii.gz")
    whole = (folder / "cut.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "letter.nrrd").write_text("no image at all")
    (folder / "empty").mkdir()
    return cases | {
        "cut.nii.gz": (folder / "cut.nii.gz", "cut short"),
        "letter.nrrd": (folder / "letter.nrrd", "read"),
        "empty": (folder / "empty", "No DICOM"),
        "missing": (folder / "missing.nii.gz", "does not exist"),
    }


def test_what_is_no_ct_is_refused_with_one_line(sample_scan, tiny_model, tmp_path, capsys):
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    for name, (path, word) in image_cases(sample_scan.volume, inputs).items():
        assert word in refused(capsys, segment(path, outputs / "out.nii.gz", tiny_model)), name
        assert contents(outputs) == [], name


def test_a_tilted_gantry_can_be_segmented_into_nrrd(sample_scan, tiny_model, tmp_path):
    path, _ = image_cases(sample_scan.volume, tmp_path)["tilted.nrrd"]
    output = tmp_path / "spine.seg.nrrd"
    assert segment(path, output, tiny_model) == 0
    labels = read_labels(output)
    assert labels.grid.is_sheared and labels.grid.same_as(read_volume(path)[0].grid)
    assert dice(labels.array != 0, sample_scan.bone) > 0.85


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said_before_any_work(sample_scan, tiny_model, tmp_path, capsys):
    assert "cuda" in refused(capsys, segment(sample_scan.path, tmp_path / "o.nrrd", tiny_model, "--device", "cuda"))


def test_evaluate_compares_and_writes_its_figures(sample_scan, tmp_path, capsys):
    truth, prediction = tmp_path / "truth.nii.gz", tmp_path / "prediction.nrrd"
    labels = Volume(sample_scan.bone.astype(np.uint8), sample_scan.volume.affine)
    write_volume(labels, truth)
    half = labels.array.copy()
    half[: half.shape[0] // 2] = 0
    write_volume(Volume(half, labels.affine), prediction)
    figures, table = tmp_path / "figures.json", tmp_path / "figures.csv"
    arguments = ["evaluate", str(prediction), str(truth)]
    assert main([*arguments, "--json", str(figures), "--csv", str(table)]) == 0
    expected = dice(half != 0, sample_scan.bone)
    assert f"{expected:.4f}" in capsys.readouterr().out
    found = json.loads(figures.read_text())["cases"][0]["structures"]["Spine (binary)"]["dice"]
    assert found == pytest.approx(expected)
    assert f"{expected:.6f}" in table.read_text()
    # In TotalSegmentator's numbering, 1 is the spleen.
    assert "numbering" in refused(capsys, main([*arguments, "--reference-numbering", "totalsegmentator"]))
    assert "same file" in refused(capsys, main([*arguments, "--csv", str(truth)]))
    assert ".json" in refused(capsys, main([*arguments, "--json", str(table)]))


def test_a_users_checkpoint_becomes_a_model(sample_scan, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPINECONTEXTSEG_MODELS", str(tmp_path / "models"))
    checkpoint, card = tmp_path / "checkpoint.pth", tmp_path / "card.json"
    torch.save({"model_state_dict": bone_threshold_state(2), "epoch": 3}, checkpoint)
    card.write_text(json.dumps(model_card("mine", 2, (32, 32, 32), 2.0)))
    assert main(["models", "register", str(checkpoint), str(card)]) == 0
    assert str(tmp_path / "models" / "mine") in capsys.readouterr().out
    broken = tmp_path / "models" / "broken"
    broken.mkdir()
    (broken / "card.json").write_text("{}")
    assert main(["models"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "2x2x2" in listed["mine"] and "torch" in listed["mine"] and "openvino" not in listed["mine"]
    assert "can't be used" in listed["broken"]
    assert segment(sample_scan.path, tmp_path / "spine.nrrd", "mine") == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "spine.nrrd").array != 0, sample_scan.bone)
    capsys.readouterr()
    assert "already" in refused(capsys, main(["models", "register", str(checkpoint), str(card)]))
    assert "no file" in refused(capsys, main(["models", "register", str(checkpoint), str(tmp_path / "none.json")]))


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the sample CT is not in this checkout")
def test_phantom_copies_the_sample_and_overwrites_nothing_else(tmp_path, capsys):
    folder = tmp_path / "new" / "sample"
    assert main(["phantom", "-o", str(folder)]) == 0
    assert contents(folder) == ["phantom_ct.nii.gz", "phantom_labels.nii.gz"]
    assert (folder / SAMPLE.name).read_bytes() == SAMPLE.read_bytes()
    assert main(["phantom", "-o", str(folder)]) == 0
    capsys.readouterr()
    (folder / "phantom_labels.nii.gz").write_text("my own work")
    assert "already" in refused(capsys, main(["phantom", "-o", str(folder)]))
    assert (folder / "phantom_labels.nii.gz").read_text() == "my own work"


@pytest.mark.skipif(not (SAMPLE.is_file() and EMBEDDED.is_dir()), reason="sample CT or weights are not in the checkout")
def test_the_embedded_model_finds_the_spine_of_the_sample(tmp_path):
    main(["phantom", "-o", str(tmp_path)])
    scan, output, figures = tmp_path / SAMPLE.name, tmp_path / "spine.seg.nrrd", tmp_path / "figures.json"
    assert main(["segment", str(scan), "-o", str(output), "--structures", "all"]) == 0
    assert main(["evaluate", str(output), str(tmp_path / "phantom_labels.nii.gz"), "--json", str(figures)]) == 0
    structures = json.loads(figures.read_text())["cases"][0]["structures"]
    assert structures["Spine (binary)"]["dice"] >= 0.8


def test_progress_bar_takes_a_growing_total(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("windows") as bar:
        bar.update(4, 4)
        bar.update(5, 9)
        assert (bar._bar.n, bar._bar.total) == (5, 9)
