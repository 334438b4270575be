"""The same network, run as it is usually done: what the bench compares with.

PyTorch in float32 with batch norms as they were trained, MONAI's sliding window over the whole scan at the card's
spacing, windows that overlap by half. Everything around it (reading, resampling, the rule for pieces, the way back,
writing) is the library's own, so that the difference is the inference.

    python -m Benchmarks.plain_way chest.nii.gz -o chest.seg.nrrd
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from safetensors.torch import load

from SpineContextSegLib.faults import describe
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.model import Model, load_model
from SpineContextSegLib.network import Activation, SpineContextResUNet, network_for, network_from_state
from SpineContextSegLib.pieces import keep_column
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.resampling import labels_on_grid, ras_grid, resample_intensity
from SpineContextSegLib.stopwatch import Stopwatch
from SpineContextSegLib.threads import limit_threads
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation

# As this network's published procedure and nnU-Net have it. MONAI's own default is 0.25.
OVERLAP = 0.5


def load_network(model: Model) -> SpineContextResUNet:
    """The network in eval mode, nothing folded. Raises InputRefused when the weights are missing or don't fit."""
    return network_from_state(load(model.read("safetensors")), network_for(model.card))


def segment(
    volume: Volume, model: Model, network: SpineContextResUNet, clock: Stopwatch, overlap: float = OVERLAP
) -> Volume:
    """Vertebrae and sacrum of a CT: HU (k, j, i) on any grid -> uint8 VerSe values on that grid."""
    card = model.card
    with clock.stage("resample"):
        grid = ras_grid(volume.grid, card.spacing_ras_mm)
        hu = resample_intensity(volume, grid)
    with clock.stage("network"):
        probabilities = _probabilities(hu, model, network, overlap)
    with clock.stage("pieces"):
        keep_column(probabilities, BINARY_SPINE, tuple(grid.spacing_mm), card.inside)
    with clock.stage("map back"):
        labels = labels_on_grid(probabilities, grid, volume.grid, card.inside)
        labels[~np.isin(labels, list(BINARY_SPINE))] = 0
    return Volume(labels, volume.affine)


@torch.inference_mode()
def _probabilities(hu: np.ndarray, model: Model, network: SpineContextResUNet, overlap: float) -> dict[int, np.ndarray]:
    """HU (k, j, i) on the card's grid -> probability of each label value as uint8 0..255."""
    card = model.card
    activation = Activation(card.activation, len(card.classes), card.out_channels)
    image = torch.from_numpy(np.ascontiguousarray(card.normalize(card.to_network_axes(hu))))
    classes = sliding_window_inference(
        image[None, None], card.roi_size, sw_batch_size=1, predictor=lambda windows: activation(network(windows)),
        overlap=overlap, mode="gaussian", padding_mode="constant", cval=card.pad_value,
    )[0]  # fmt: skip
    rows = card.structure_matrix(list(card.structures)) > 0
    merged = {value: classes[torch.from_numpy(row)].sum(0) for value, row in zip(card.structures, rows)}
    return {
        value: card.to_volume_axes(probability.mul_(255).round_().to(torch.uint8).numpy())
        for value, probability in merged.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Benchmarks.plain_way", description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, help="the CT")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the segmentation to write")
    parser.add_argument("--report", type=Path, help="also write the seconds of each stage (.json)")
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--overlap", type=float, default=OVERLAP, help=f"of windows; default: {OVERLAP}")
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    clock = Stopwatch()
    try:
        model = load_model(arguments.model)
        with clock.stage("read"):
            volume, _ = read_volume(arguments.input)
        with clock.stage("load model"):
            network = load_network(model)
        labels = segment(volume, model, network, clock, arguments.overlap)
        with clock.stage("write"):
            write_segmentation(labels, arguments.output)
    except (MemoryError, RuntimeError) as error:  # torch raises the latter when memory runs out
        sys.exit(describe(error))
    if arguments.report:
        arguments.report.write_text(json.dumps({"seconds": clock.seconds}), encoding="utf-8")


if __name__ == "__main__":
    main()
