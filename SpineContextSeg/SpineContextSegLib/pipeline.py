"""The way of the data: a CT or MR in, labels of the spine on its own grid out. Readable in one screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from .checks import check_input, check_result, is_coarse
from .column import UNNAMED, Column, name_vertebrae
from .labels import BINARY_SPINE, structure
from .levels import A_GUESS
from .locate import OVERVIEW_MM, overview, spine_points
from .model import Model
from .mr import in_units_of
from .naming import looks_of
from .pieces import LEAST_PIECE_ML, keep_column
from .refine import CloseLook
from .resampling import labels_on_grid, ras_grid
from .runtime import Runtime
from .spacing import looks_by_spacing
from .stopwatch import Stopwatch
from .volume import Volume, count_labels

Structures = Literal["spine", "all"]


@dataclass(frozen=True)
class Result:
    """What `segment` found.

    labels: uint8 (k, j, i) on the input's grid, VerSe values (`labels.py`).
    column: the single vertebrae; None for a model that doesn't tell them apart, then 1 = vertebra, level unknown.
    volumes_ml: label value -> volume. warnings: sentences for the user. seconds: stage -> wall time.
    model, runtime, device, precision: who did it. windows: how many the fine network saw or skipped.
    """

    labels: Volume
    column: Column | None
    volumes_ml: dict[int, float]
    warnings: list[str]
    seconds: dict[str, float]
    model: str
    runtime: str
    device: str
    precision: str
    windows: int

    @property
    def levels_known(self) -> bool:
        return self.column is not None

    @property
    def doubt(self) -> str:
        """In short, for pictures and tables; empty where levels are certain or not known at all."""
        return "" if not self.column or self.column.levels.certain else self.column.levels.doubt

    def report(self) -> dict:
        """Everything but the voxels, for a JSON file."""
        names = {value: structure(value, levels_known=self.levels_known).name for value in self.volumes_ml}
        found = [
            {"value": value, "name": names[value], "volume_ml": round(volume, 2)}
            for value, volume in self.volumes_ml.items()
        ]
        return {
            "structures": found, "levels_known": self.levels_known,
            "levels": self.column.report() if self.column else None, "warnings": self.warnings,
            "model": self.model, "runtime": self.runtime, "device": self.device, "precision": self.precision,
            "windows": self.windows,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }  # fmt: skip


def segment(
    volume: Volume,
    model: Model,
    runtime: Runtime,
    *,
    locator: Runtime | None = None,
    namer: Runtime | None = None,
    everywhere: bool = False,
    structures: Structures = "spine",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Segment the spine in a scan of the modality that the model was made for.

    Args:
        volume: HU of a CT or signal of an MR, on any grid: flipped, oblique, anisotropic or sheared.
        model: card and weights; the card's spacing, intensities, window and classes are used.
        runtime: what runs the network, see `runtime.choose_runtime`.
        locator: what runs `model.locator`, which says where the spine is; None to look everywhere.
        namer: what runs `model.namer`, which says which vertebra is which; None leaves that open where the model has
            one. For both see `runtime.choose_helpers`.
        everywhere: look closely at the whole body, slowly, even with a locator.
        structures: "spine" writes vertebrae and sacrum, "all" every structure of the card.
        force: turn the refusal of a volume that doesn't look like the model's modality into a warning.
        progress: called with (windows done, windows in total); the total may grow.
        cancelled: asked between windows.

    Raises:
        InputRefused: the volume can't be segmented.
        Cancelled: `cancelled` returned True.
    """
    card, clock = model.card, Stopwatch()
    with clock.stage("check"):
        warnings = check_input(volume, modality=card.modality[0], force=force)
        values = in_units_of(card.modality[0], volume)
    grid = ras_grid(volume.grid, card.spacing_ras_mm)
    look = CloseLook(values, grid, model, runtime, clock, progress, cancelled)
    with clock.stage("locate"):
        coarse, naming = model.locator if locator else None, model.namer if namer else None
        helper = coarse or naming
        body = overview(values, helper.card.spacing_ras_mm if helper else OVERVIEW_MM)
        if naming:
            namer.prepare(naming.card.roi_size)
        points = spine_points(body, coarse.card, locator, cancelled) if coarse and not everywhere else ()
    seen = look.along_spine(points) if len(points) else None
    # Where there is next to nothing, the coarse look isn't trusted.
    if seen is None or seen.volume_ml < LEAST_PIECE_ML:
        seen = look.everywhere(body.grid)
    with clock.stage("pieces"):
        keep_column(seen.probabilities, BINARY_SPINE, tuple(grid.spacing_mm), seen.inside, seen.at_border)
    with clock.stage("map back"):
        written = BINARY_SPINE if structures == "spine" else None
        array = labels_on_grid(seen.probabilities, seen.grid, volume.grid, seen.inside, written)
        labels = Volume(array, volume.affine)
    column, single = None, naming or (card.offset_unit_mm and not card.namer)
    if single:
        with clock.stage("levels"):
            if naming:
                looks = partial(looks_of, seen=body, card=naming.card, runtime=namer)
                most_sure = A_GUESS if is_coarse(volume.grid) else 1.0
                column = name_vertebrae(labels, seen, looks, most_sure, partial(looks, upside_down=True))
            else:
                column = name_vertebrae(labels, seen, looks_by_spacing, A_GUESS)
        if column:
            warnings += column.remarks
    with clock.stage("check result"):
        for helper in filter(None, (locator, namer)):
            warnings += helper.warnings
        warnings += runtime.warnings + check_result(labels)
        volumes = _volumes_ml(labels)
        if single and not column and volumes:
            warnings.append(UNNAMED)
    who = f"{card.name} {card.version}", runtime.name, runtime.device, runtime.precision
    return Result(labels, column, volumes, warnings, clock.seconds, *who, look.windows)


def _volumes_ml(labels: Volume) -> dict[int, float]:
    voxel_ml = labels.grid.voxel_volume_mm3 / 1000
    return {value: voxels * voxel_ml for value, voxels in count_labels(labels.array).items() if value}
