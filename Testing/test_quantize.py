"""Quantization in miniature: the windows it measures on, the same bytes again, the command, and nothing sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import model_card
from model_cards import ROI_SIZE, card_content, random_network

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import load_model, write_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.no_network import BLOCK
from Training import quantize as quantization
from Training.calibration import draw_windows
from Training.export import export
from Training.quantize import Comparison, calibration_windows, in_8_bits, main, quantize, table, with_int8


def labels_of(scan) -> Volume:
    """The dense bone of the sample as a vertebra."""
    return Volume(np.where(scan.bone, 20, 0).astype(np.uint8), scan.volume.affine)


def card(roi_size=(32, 32, 32), spacing_mm=2.0) -> ModelCard:
    return ModelCard.from_dict(model_card("tiny", 2, roi_size, spacing_mm))


def drawn(scan, labels, card, count=12, seed=0):
    return list(draw_windows(scan.volume, labels, card, count, np.random.default_rng(seed)))


# ------------------------------------------------------------------------------------------------- the windows


def test_windows_are_what_the_network_sees(sample_scan):
    """Of the card's size, in its intensities, mostly with bone near their middle; another draw for another seed."""
    for roi_size, spacing_mm in (((32, 32, 32), 2.0), ((24, 32, 40), 3.0)):
        found = drawn(sample_scan, labels_of(sample_scan), card(roi_size, spacing_mm))
        assert {window.shape for window in found} == {(1, 1, *roi_size)}
        assert {window.dtype for window in found} == {np.dtype(np.float32)}
        assert all(-1 <= window.min() and window.max() <= 1 for window in found)
        in_hu = np.concatenate(found) * 1000
        assert sum((window[0] > 400).any() for window in in_hu) >= 8
    first, again, other = (drawn(sample_scan, labels_of(sample_scan), card(), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_scan_smaller_than_a_window_is_padded_and_one_without_spine_is_drawn_from(sample_scan):
    empty = Volume(np.zeros_like(labels_of(sample_scan).array), sample_scan.volume.affine)
    found = drawn(sample_scan, empty, card((96, 96, 96)), count=2)
    for window in found:
        assert (window[0, 0, 0] == -1).all() and (window[0, 0, -1] == -1).all()
        assert (window > -0.5).mean() > 0.1


# -------------------------------------------------------------------------------------------- the quantization


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export(random_network().state_dict(), card_content(), tmp_path_factory.mktemp("models") / "tiny")


def windows(count=3):
    return np.random.default_rng(0).uniform(-1, 1, (count, 1, 1, *ROI_SIZE)).astype(np.float32)


def test_the_same_again(model):
    """But for the numbers that OpenVINO counts up for names within a process."""
    (xml, binary), (xml_again, binary_again) = (quantize(model, windows()) for _ in range(2))
    numbers = rb'name="\w+?_?\d+"'
    assert binary_again == binary and re.sub(numbers, b"", xml_again) == re.sub(numbers, b"", xml)
    assert len(binary) < 0.6 * len(model.read("openvino.bin"))
    assert b"FakeQuantize" in xml and b'element_type="i8"' in xml


def test_without_windows_nothing_is_measured(model):
    with pytest.raises(ValueError, match="no windows"):
        quantize(model, [])


def test_nothing_is_sent(model, tmp_path):
    """In a process of its own: nncf holds its telemetry back by itself where it finds pytest."""
    np.save(tmp_path / "windows.npy", windows(1))
    code = BLOCK + """
import numpy as np
from SpineContextSegLib.model import load_model
from Training.quantize import quantize
quantize(load_model(sys.argv[1]), np.load(sys.argv[2]))
print(json.dumps([tried, "openvino_telemetry" in sys.modules]))
"""
    command = [sys.executable, "-c", code, str(model.folder), str(tmp_path / "windows.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[], False]


def test_the_command(tiny_model, sample_scan, tmp_path, capsys):
    """Both precisions on a scan with labels: the same spine, the figures in the card and on the screen."""
    scan = tmp_path / "scan.nii.gz"
    write_volume(sample_scan.volume, scan)
    write_volume(labels_of(sample_scan), tmp_path / "scan_labels.nii.gz")
    output = tmp_path / "out" / "tiny"
    main(["--model", str(tiny_model), "--output", str(output), "--real", str(scan), "--generated", "0",
          "--threads", "1"])  # fmt: skip
    assert list(output.parent.iterdir()) == [output]
    model = load_model(output)
    figures = model.card.results["int8"]["scan"]
    assert figures["agreement"] > 0.97 and abs(figures["dice_int8"] - figures["dice_fp32"]) < 0.02
    assert "| scan | Dice fp32 | Dice int8 | agreement |" in capsys.readouterr().out
    volume, _ = read_volume(scan)
    result = segment(volume, model, in_8_bits(model, 1))
    assert result.volumes_ml[1] > 10


def test_a_network_that_names_is_quantized_without_a_comparison(namer, sample_scan, tmp_path, capsys):
    scan = tmp_path / "scan.nii.gz"
    write_volume(sample_scan.volume, scan)
    write_volume(labels_of(sample_scan), tmp_path / "scan_labels.nii.gz")
    main(["--model", str(namer.folder), "--output", str(tmp_path / "out"), "--real", str(scan), "--generated", "0"])
    assert "| scan |" not in capsys.readouterr().out
    windows = np.random.default_rng(0).uniform(-1, 1, (2, 1, *namer.card.roi_size)).astype(np.float32)
    quantized = load_model(tmp_path / "out")
    exact = choose_runtime(quantized, "openvino", "cpu", 1, "fp32")
    both = [runtime(windows) for runtime in (exact, in_8_bits(quantized, 1))]
    assert both[0].shape == both[1].shape == (2, 26) and np.allclose(both[1].sum(1), 1, atol=1e-3)


def test_labels_in_another_numbering_are_refused_before_any_work(model, sample_scan, tmp_path, monkeypatch):
    scan = tmp_path / "scan.nii.gz"
    write_volume(sample_scan.volume, scan)
    write_volume(Volume(labels_of(sample_scan).array * 2, sample_scan.volume.affine), tmp_path / "scan_labels.nii.gz")
    monkeypatch.setattr(quantization, "quantize", lambda *_: pytest.fail("work has begun"))
    for kind in ("--test", "--real"):
        with pytest.raises(InputRefused, match="scan_labels.nii.gz' holds 40, which VerSe's numbering"):
            main(["--model", str(model.folder), "--output", str(tmp_path / "out"), kind, str(scan)])
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_refused_before_any_work(model, tmp_path, monkeypatch):
    """As that of a run that was stopped while it compared."""
    monkeypatch.setattr(quantization, "quantize", lambda *_: pytest.fail("work has begun"))
    with pytest.raises(InputRefused, match="is there already"):
        main(["--model", str(model.folder), "--output", str(tmp_path)])


def test_windows_lie_on_the_spine_in_either_numbering(sample_scan, tmp_path):
    """32 is T12 in TotalSegmentator's."""
    names = {}
    for numbering, value in (("verse", 19), ("totalsegmentator", 32)):
        scan = names[numbering] = tmp_path / f"{numbering}.nii.gz"
        write_volume(sample_scan.volume, scan)
        values = np.where(sample_scan.bone, value, 0).astype(np.uint8)
        write_volume(Volume(values, sample_scan.volume.affine), tmp_path / f"{numbering}_labels.nii.gz")
    windows = [
        np.concatenate(list(calibration_windows(card(), [scan], 0, {"totalsegmentator"}))) for scan in names.values()
    ]
    assert np.array_equal(*windows)


def test_helpers_come_along(model, tmp_path):
    card = model.card.to_dict() | {"locator": "locator", "roi_size": [40, 40, 40]}
    weights = {kind: (weight.file, model.read(kind)) for kind, weight in model.card.weights.items()}
    located = write_model(card, weights, tmp_path / "located")
    shutil.copytree(model.folder, located.folder / "locator")
    written = with_int8(located, b"xml", b"bin", tmp_path / "both")
    assert written.locator.card == model.card and written.locator.read("openvino.xml") == model.read("openvino.xml")
    assert written.read("openvino_int8.bin") == b"bin"


def test_without_dot_products_8_bits_are_emulated(model, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "has_dot_products", lambda: False)
    quantized = with_int8(model, *quantize(model, windows()), tmp_path / "tiny")
    exact, rounded = choose_runtime(quantized, precision="fp32"), in_8_bits(quantized)
    assert 1e-4 < np.abs(rounded(windows()[0]) - exact(windows()[0])).max() < 0.1


def test_the_table():
    emulated = table({"chest": Comparison(0.9, 0.8991, 0.995, 100.04, None)}).splitlines()
    assert emulated[-1] == "| chest | 0.9000 | 0.8991 | 0.9950 | 100.0 | emulated |"
    lines = table({"chest": Comparison(0.9, 0.8991, 0.995, 100.04, 25.0)}).splitlines()
    assert lines[-1] == "| chest | 0.9000 | 0.8991 | 0.9950 | 100.0 | 25.0 |" and len(lines) == 3
