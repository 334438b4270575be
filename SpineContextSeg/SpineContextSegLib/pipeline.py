"""The way of the data: a CT in, labels of the spine on the CT's own grid out. Readable in one screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .checks import check_input, check_result
from .labels import BINARY_SPINE, structure
from .locate import body_region
from .model import Model
from .pieces import keep_column
from .resampling import labels_on_grid, ras_grid, resample_intensity
from .runtime import Runtime
from .sliding_window import sweep
from .volume import Volume, count_labels

AIR_HU = -1000.0
Structures = Literal["spine", "all"]


@dataclass(frozen=True)
class Result:
    """What `segment` found.

    labels: uint8 (k, j, i) on the input's grid, VerSe values (`labels.py`; 1 = vertebra, level unknown).
    volumes_ml: label value -> volume. warnings: sentences for the user. seconds: stage -> wall time.
    model, runtime, device: who did it. windows: how many the network saw or skipped.
    """

    labels: Volume
    volumes_ml: dict[int, float]
    warnings: list[str]
    seconds: dict[str, float]
    model: str
    runtime: str
    device: str
    windows: int

    def report(self) -> dict:
        """Everything but the voxels, for a JSON file."""
        found = [
            {"value": value, "name": structure(value, levels_known=False).name, "volume_ml": round(volume, 2)}
            for value, volume in self.volumes_ml.items()
        ]
        return {
            "structures": found, "levels_known": False, "warnings": self.warnings,
            "model": self.model, "runtime": self.runtime, "device": self.device, "windows": self.windows,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }  # fmt: skip


@dataclass
class Stopwatch:
    """Wall time of each stage, in the order in which they ran."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def segment(
    volume: Volume,
    model: Model,
    runtime: Runtime,
    *,
    structures: Structures = "spine",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Segment the spine in a CT.

    Args:
        volume: HU on any grid: flipped, oblique, anisotropic or sheared.
        model: card and weights; the card's spacing, intensities, window and classes are used.
        runtime: what runs the network, see `runtime.choose_runtime`.
        structures: "spine" writes vertebrae and sacrum, "all" every structure of the card.
        force: turn the refusal of a volume that doesn't look like a CT into a warning.
        progress: called with (windows done, windows in total).
        cancelled: asked between windows.

    Raises:
        InputRefused: the volume can't be segmented.
        Cancelled: `cancelled` returned True.
    """
    card, clock = model.card, Stopwatch()
    with clock.stage("check"):
        warnings = check_input(volume, modality=card.modality[0], force=force)
    with clock.stage("resample"):
        grid = ras_grid(volume.grid, card.spacing_ras_mm)
        hu = resample_intensity(volume, grid, AIR_HU)
    with clock.stage("locate"):
        region = body_region(hu, float(min(card.spacing_mm)))
        hu, grid = hu[region], grid.crop(region)
    with clock.stage("network"):
        probabilities, windows = _network(hu, model, runtime, progress, cancelled)
    with clock.stage("pieces"):
        keep_column(probabilities, BINARY_SPINE, tuple(grid.spacing_mm))
    with clock.stage("map back"):
        labels = Volume(labels_on_grid(probabilities, grid, volume.grid), volume.affine)
        if structures == "spine":
            # Only now, so that a vertebra ends at its disc and looks the same whatever else is asked for.
            labels.array[~np.isin(labels.array, list(BINARY_SPINE))] = 0
    with clock.stage("check result"):
        warnings += runtime.warnings + check_result(labels)
        volumes = _volumes_ml(labels)
    name = f"{card.name} {card.version}"
    return Result(labels, volumes, warnings, clock.seconds, name, runtime.name, runtime.device, windows)


def _network(
    hu: np.ndarray, model: Model, runtime: Runtime, progress, cancelled
) -> tuple[dict[int, np.ndarray], int]:
    """HU (k, j, i) on the card's grid -> probability of each label value as uint8 0..255, and the number of windows."""
    card = model.card
    values = list(card.structures)
    image = card.to_network_axes(hu)
    # Eight bits hold the place of a boundary to 1/255 of a voxel and keep memory apart from the number of classes.
    stored = np.zeros((len(values), *image.shape), np.uint8)
    total = 0

    def count(done: int, windows: int) -> None:
        nonlocal total
        total = windows
        if progress:
            progress(done, windows)

    blocks = sweep(
        image, runtime, card.roi_size, card.overlap, card.pad_value, normalize=card.normalize,
        merge=card.structure_matrix(values), skip=card.known_probabilities, progress=count, cancelled=cancelled,
    )  # fmt: skip
    for where, block in blocks:
        stored[(slice(None), *where)] = np.rint(block * 255)
    return {value: card.to_volume_axes(array) for value, array in zip(values, stored)}, total


def _volumes_ml(labels: Volume) -> dict[int, float]:
    voxel_ml = labels.grid.voxel_volume_mm3 / 1000
    return {value: voxels * voxel_ml for value, voxels in count_labels(labels.array).items() if value}
