"""Add 8-bit weights to a model: about four times as fast on processors with 8-bit dot products.

    python -m Training.quantize --model NAME --output models/name --real SCAN.nii.gz ... --test SCAN.nii.gz ...

The ranges of the activations are measured on generated scans and on --real, scans that the network was trained on; both
precisions are then compared on --real and on --test. The table ends up in the card. The same scans give the same
weights. A model's helpers are models of their own: quantize them first (a namer segments nothing on its own, so it is
compared as part of its model, by `evaluate_levels`). All labels are checked before any work, and whether the output
folder is new.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from SpineContextSegLib.card import SEGMENTING, ModelCard
from SpineContextSegLib.evaluate import compare
from SpineContextSegLib.metrics import agreement, binary_spine
from SpineContextSegLib.model import CARD_FILE, Model, check_is_new, load_model, write_model
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import Runtime, choose_helpers, choose_runtime
from SpineContextSegLib.runtime.eight_bit import has_dot_products
from SpineContextSegLib.runtime.openvino_runtime import SETTINGS, OpenVINORuntime, import_openvino
from SpineContextSegLib.scores import BINARY

from .calibration import draw_windows
from .export import fold_constants, shared_with
from .generated_scans import generated_scan
from .labelled_scans import Numbering, labels_of, read_labelled

# Training draws its bodies from seeds far below, evaluation (evaluate_levels.FIRST_SEED) from above.
FIRST_SEED = 8_000_000
_WINDOWS_OF_REAL, _WINDOWS_OF_GENERATED = 8, 2
_TELEMETRY = "openvino_telemetry"
# OpenVINO then computes in float32 what it would in 8 bits, with the same rounding.
_EMULATED = SETTINGS | {"LP_TRANSFORMS_MODE": False}


@dataclass(frozen=True)
class Comparison:
    """Both precisions on one scan: binary Dice against the labels, Dice of one against the other, seconds of the
    network; none where 8 bits were emulated."""

    dice_fp32: float
    dice_int8: float
    agreement: float
    seconds_fp32: float
    seconds_int8: float | None


def calibration_windows(
    card: ModelCard, real: Iterable[Path], generated: int, totalsegmentator: Collection[str] = ()
) -> Iterator[np.ndarray]:
    """Windows (1, 1, *roi_size) of labelled scans and of `generated` generated ones; the same ones every time.

    totalsegmentator: names of the scans whose labels have that numbering instead of VerSe's.
    """
    for number, image in enumerate(real):
        volume, labels = read_labelled(image, labels_of(image), _numbering(image, totalsegmentator))
        rng = np.random.default_rng([FIRST_SEED, number])
        yield from draw_windows(volume, labels, card, _WINDOWS_OF_REAL, rng)
    for seed in range(FIRST_SEED, FIRST_SEED + generated):
        scan = generated_scan(seed, card.modality[0])
        rng = np.random.default_rng(seed)
        yield from draw_windows(scan.image, scan.labels, card, _WINDOWS_OF_GENERATED, rng)


def quantize(model: Model, windows: Iterable[np.ndarray]) -> tuple[bytes, bytes]:
    """The model's OpenVINO IR in 8 bits, with activations' ranges from `windows`: the content of its .xml and .bin. The
    latter lacks the weights that the model's safetensors holds.

    Raises:
        InputRefused: the model has no IR, or it was changed.
        ValueError: there are no windows.
    """
    openvino, nncf = import_openvino(), import_nncf()
    samples = list(windows)
    if not samples:
        raise ValueError("there are no windows to measure the activations on")
    weights = openvino.Tensor(np.frombuffer(model.read("openvino.bin"), np.uint8))
    network = openvino.Core().read_model(model.read("openvino.xml"), weights)
    fold_constants(network)
    quantized = nncf.quantize(
        network,
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Half of the weights' range isn't given away: where products would overflow, float32 runs instead.
            overflow_fix=nncf.OverflowFix.DISABLE,
            # With 20 windows of the first network, the slow one gained nothing and the fast one cost agreement.
            disable_bias_correction=True,
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "model.xml"
        openvino.save_model(quantized, xml, compress_to_fp16=False)
        return shared_with(model.read("safetensors"), xml.read_bytes(), xml.with_suffix(".bin").read_bytes())


def import_nncf() -> ModuleType:
    """The package `nncf` without the package that would send telemetry; nncf goes on without it."""
    sys.modules[_TELEMETRY] = None
    try:
        import nncf
    finally:
        del sys.modules[_TELEMETRY]
    return nncf


def with_int8(model: Model, xml: bytes, binary: bytes, destination: Path) -> Model:
    """Write the model's folder anew, with the 8-bit IR beside its weights and its helpers as they are.

    Raises InputRefused when the folder is there already or a weight of the model was changed.
    """
    weights = {kind: (weight.file, model.read(kind)) for kind, weight in model.card.weights.items()}
    weights |= {
        "openvino_int8.xml": ("openvino_int8.xml", xml),
        "openvino_int8.bin": ("openvino_int8.bin", binary),
    }
    written = write_model(model.card.to_dict(), weights, destination)
    for name in filter(None, (model.card.locator, model.card.namer)):
        shutil.copytree(model.folder / name, destination / name)
    return written


def compare_precisions(
    model: Model, image: Path, numbering: Numbering = "verse", threads: int | None = None
) -> Comparison:  # fmt: skip
    """Segment a labelled scan in both precisions, as users do: with the model's helpers.

    On a processor without 8-bit dot products the same rounding is emulated in float32.
    numbering: of the labels.
    """
    volume, reference = read_labelled(image, labels_of(image), numbering)
    helpers = choose_helpers(model, "openvino", "cpu", threads)
    runtimes = {"fp32": choose_runtime(model, "openvino", "cpu", threads, "fp32"), "int8": in_8_bits(model, threads)}
    results, dice = {}, {}
    for precision, runtime in runtimes.items():
        results[precision] = segment(volume, model, runtime, **helpers)
        scores, _ = compare(results[precision].labels, reference)
        dice[precision] = scores[BINARY].dice
    masks = (binary_spine(results[precision].labels.array) for precision in ("int8", "fp32"))
    return Comparison(
        dice["fp32"], dice["int8"], agreement(*masks, volume.grid).dice,
        results["fp32"].seconds["network"], results["int8"].seconds["network"] if has_dot_products() else None,
    )  # fmt: skip


def in_8_bits(model: Model, threads: int | None = None) -> Runtime:
    """What runs a model in 8 bits, or does as if: in float32, slowly, where the processor's 8-bit sums would err."""
    if has_dot_products():
        return choose_runtime(model, "openvino", "cpu", threads, "int8")
    return OpenVINORuntime(model, threads, "int8", _EMULATED)


def table(comparisons: dict[str, Comparison]) -> str:
    """Scan -> comparison, as Markdown."""
    lines = ["| scan | Dice fp32 | Dice int8 | agreement | network fp32, s | network int8, s |", f"|{'---|' * 6}"]
    for scan, c in comparisons.items():
        lines.append(
            f"| {scan} | {c.dice_fp32:.4f} | {c.dice_int8:.4f} | {c.agreement:.4f} "
            f"| {c.seconds_fp32:.1f} | {'emulated' if c.seconds_int8 is None else f'{c.seconds_int8:.1f}'} |"
        )
    return "\n".join(lines)


def _numbering(image: Path, totalsegmentator: Collection[str]) -> Numbering:
    return "totalsegmentator" if stem(image) in totalsegmentator else "verse"


def _record(comparisons: dict[str, Comparison], card: Path) -> None:
    """Put the figures into the card of a model."""
    content = json.loads(card.read_text(encoding="utf-8"))
    content["results"]["int8"] = {
        scan: {name: round(value, 4) for name, value in asdict(comparison).items() if value is not None}
        for scan, comparison in comparisons.items()
    }
    card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.quantize", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="name or folder of a model with OpenVINO weights")
    parser.add_argument("--output", type=Path, required=True, help="the new model's folder")
    parser.add_argument("--real", type=Path, nargs="*", default=[],
                        help="CTs (.nii.gz) the network was trained on, with their labels: calibration")  # fmt: skip
    parser.add_argument("--test", type=Path, nargs="*", default=[],
                        help="CTs (.nii.gz) with labels to compare the precisions on, beside --real")  # fmt: skip
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    parser.add_argument("--generated", type=int, default=8, help="number of generated scans: calibration")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    check_is_new(options.output)
    model = load_model(options.model)
    for image in (*options.real, *options.test):
        read_labelled(image, labels_of(image), _numbering(image, options.totalsegmentator))
    windows = calibration_windows(model.card, options.real, options.generated, options.totalsegmentator)
    xml, binary = quantize(model, windows)
    quantized = with_int8(model, xml, binary, options.output)
    comparisons: dict[str, Comparison] = {}
    segments = model.card.architecture == SEGMENTING
    for image in tqdm([*options.real, *options.test] if segments else [], unit="scan", disable=None):
        numbering = _numbering(image, options.totalsegmentator)
        comparisons[stem(image)] = compare_precisions(quantized, image, numbering, options.threads)
        _record(comparisons, options.output / CARD_FILE)
    if comparisons:
        print(table(comparisons))


if __name__ == "__main__":
    main()
