"""Is this a scan of the kind that a model was made for, and is the result believable? Refusals and warnings in words a
clinician understands."""

from pathlib import Path

import numpy as np

from .errors import InputRefused, UnlikelyValues
from .even_sample import even_sample
from .hounsfield import (
    BODY_ABOVE,
    CLIPPED,
    clipped_at,
    is_stored_too_high,
    is_stored_too_low,
    looks_like_hu,
    share_within,
)
from .mr import MR_MODEL
from .volume import Grid, Volume

SPACING_LIMITS_MM = (0.05, 20.0)
MINIMUM_SLICES = 3
THIN_COVERAGE_MM = 20.0
# Beyond this discs and arches run into one another: levels come out wrong and yet fit together.
THICKEST_MM = 5.0
HUGE_VOXELS = 1_500_000_000
NON_FINITE_LIMIT = 0.01

TOO_HIGH = "The values look like a CT stored about 1000 too high (its rescale intercept was lost)"
TOO_LOW = "The values look like a CT stored about 1000 too low (its rescale intercept was applied twice)"
# A map of all vertebrae, discs and ribs has fewer values, and a scan has hundreds.
MOST_LABELS = 100
# Share of an MR's voxels: a spline leaves 1 to 10 % below zero, a z-score about half, a scaling to [-1, 1] nearly all.
MOST_BELOW_ZERO = 0.2
# Share of all voxels; a body fills more even in a scan of a whole room.
BODY_FRACTION = 0.001

NO_SPINE = (
    "No spine was found: check that the scan shows the spine and is what the model was made for, a CT in Hounsfield"
    " units or an MR."
)
CUT_VERTEBRAE = "cut by the border of the scan."
"""What the sentence on them ends with."""
SPINE_VOLUME_ML = (1.0, 2500.0)
SIDES = {(0, -1): "left", (0, 1): "right", (1, -1): "back", (1, 1): "front", (2, -1): "lower end", (2, 1): "upper end"}


def check_path(path: Path) -> None:
    """Refuses a name that is no text, as on old disks; SimpleITK would end the process over it.

    Raises:
        InputRefused: bytes in it aren't UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputRefused(f"The name '{path}' holds bytes that are no text (UTF-8): rename it.") from error


def check_geometry(grid: Grid) -> None:
    """Refuses a grid that no scanner makes; cheap, so it runs before the voxels are read.

    Raises:
        InputRefused: fewer than 3 slices, or voxels that are not between 0.05 and 20 mm long.
    """
    if min(grid.shape) < MINIMUM_SLICES:
        raise InputRefused(
            f"The image is {' x '.join(map(str, grid.shape[::-1]))} voxels large, too few slices for a volume: "
            "give the whole series instead of single slices."
        )
    low, high = SPACING_LIMITS_MM
    spacing = grid.spacing_mm
    if not np.isfinite(grid.affine).all() or spacing.min() < low or spacing.max() > high:
        raise InputRefused(
            f"The file states a voxel size of {' x '.join(f'{s:.3g}' for s in spacing)} mm, which can't be right: "
            "export the scan again with its true spacing."
        )
    if abs(np.linalg.det(grid.directions)) < 0.1:
        raise InputRefused("The file states axes that fall together, which can't be right: export the scan again.")


def is_coarse(grid: Grid) -> bool:
    """Whether its voxels are longer, along one axis, than what levels can be told from."""
    return bool(grid.spacing_mm.max() > THICKEST_MM * 1.01)


def check_input(volume: Volume, modality: str = "CT", force: bool = False) -> list[str]:
    """Judges an image before any work.

    Single non-finite voxels are only reported here; `resample_intensity` reads them as air.

    Args:
        volume: (k, j, i), HU for a CT.
        modality: what the model was made for: values of a "CT" must look like HU, those of any other must not.
        force: pass values that look like those of another modality, with a warning (cone-beam CT).

    Returns:
        Warnings, one sentence each.

    Raises:
        InputRefused: not 3D, fewer than 3 slices, absurd voxel size, more than 1 % NaN or infinite, constant.
        UnlikelyValues: not of the modality or nothing but air, unless forced.
    """
    if volume.array.ndim != 3:
        raise InputRefused(
            f"The image has {volume.array.ndim} dimensions: give one three-dimensional volume in gray values."
        )
    check_geometry(volume.grid)
    warnings = _coverage_warnings(volume.grid)
    sample = even_sample(volume.array)
    finite = np.isfinite(sample)
    if not finite.all():
        share = 1.0 - float(finite.mean())
        if share > NON_FINITE_LIMIT:
            raise InputRefused(f"{share:.0%} of the voxels hold no number: export the scan again.")
        stated = f"{share:.2%}" if share >= 0.0001 else "Less than 0.01%"
        warnings.append(f"{stated} of the voxels hold no number and were taken for air.")
        sample = sample[finite]
    if sample.min() == sample.max() and _is_constant(volume.array):
        raise InputRefused(f"All voxels have the value {sample[0]:g}, the image is empty: export the scan again.")
    doubt = _doubt_about_hu(sample) if modality == "CT" else _doubt_about_signal(sample, modality)
    if doubt and not force:
        raise UnlikelyValues(doubt)
    if doubt:
        warnings.append(f"Continued against this check, so look at the result with care: {doubt}")
    if modality == "CT":
        warnings += ([] if doubt else _clipped_warnings(sample)) + _cut_warnings(volume)
    return warnings


def clipped_warnings(ct: Volume) -> list[str]:
    """What `check_input` says about a CT whose dense bone was cut off."""
    sample = even_sample(ct.array)
    return _clipped_warnings(sample[np.isfinite(sample)])


def border_warnings(ct: Volume) -> list[str]:
    """What `check_input` says about where a CT ends."""
    return [*_coverage_warnings(ct.grid), *_cut_warnings(ct)]


def force_hint(modality: str) -> str:
    """What the command line adds to an `UnlikelyValues`, by what the model was made for."""
    return f"{'For a cone-beam CT' if modality == 'CT' else f'If it is an {modality} all the same'}, use --force."


def check_result(labels: Volume) -> list[str]:
    """Judges a segmentation (integers (k, j, i), 0 = background): warnings, one sentence each."""
    voxels = int(np.count_nonzero(labels.array))
    if voxels == 0:
        return [NO_SPINE]
    warnings = []
    milliliters = voxels * labels.grid.voxel_volume_mm3 / 1000.0
    low, high = SPINE_VOLUME_ML
    if not low <= milliliters <= high:
        size = "small" if milliliters < low else "large"
        warnings.append(f"The segmentation measures {milliliters:.3g} ml, implausibly {size} for a spine: check it.")
    touched = [side for side, face in _faces(labels.grid, labels.array) if face.any()]
    if touched:
        warnings.append(f"The segmentation touches the {_listed(touched)} of the image: the spine may be cut there.")
    return warnings


def _coverage_warnings(grid: Grid) -> list[str]:
    warnings = []
    if grid.extent_mm.min() < THIN_COVERAGE_MM:
        warnings.append(f"The scan covers only {grid.extent_mm.min():.0f} mm in one direction: expect a poor result.")
    if is_coarse(grid):
        warnings.append(
            f"The slices are {grid.spacing_mm.max():.3g} mm apart, more than the {THICKEST_MM:g} mm that this is made"
            " for: vertebrae may be missed or named wrongly."
        )
    voxels = int(np.prod(grid.shape, dtype=np.int64))
    if voxels > HUGE_VOXELS:
        warnings.append(f"The scan is huge ({voxels / 1e9:.1f} billion voxels): expect a long run and much memory.")
    return warnings


def _clipped_warnings(sample: np.ndarray) -> list[str]:
    value = clipped_at(sample)
    return [] if value is None else [CLIPPED.format(value=value)]


def _is_constant(array: np.ndarray) -> bool:
    return bool(np.nanmin(array) == np.nanmax(array))


def _doubt_about_hu(sample: np.ndarray) -> str | None:
    """One sentence on why the values are no HU of a body, or None."""
    if looks_like_hu(sample):
        return None
    if off := _wrong_intercept(sample):
        return f"{off}: export it again in Hounsfield units."
    if share_within(sample, BODY_ABOVE) < BODY_FRACTION:
        return "No body is in view, the image shows nothing but air: give a CT that shows the spine."
    return (
        f"The values ({sample.min():.4g} to {sample.max():.4g}) are not the Hounsfield units of a CT, as in an MR or "
        f"a rescaled picture: give the original CT; for an MR, choose the model {MR_MODEL}."
    )


def _doubt_about_signal(sample: np.ndarray, modality: str) -> str | None:
    """One sentence on why the values are no signal of another modality than CT, or None."""
    if looks_like_hu(sample):
        return f"The values look like the Hounsfield units of a CT: choose a model made for CT and not for {modality}."
    if off := _wrong_intercept(sample):
        return f"{off}: export it again in Hounsfield units and choose a model made for CT, not for {modality}."
    if len(np.unique(sample)) <= MOST_LABELS:
        return f"The image holds no more than {MOST_LABELS} values, as labels do: give the {modality} itself."
    below_zero = share_within(sample, -np.inf, 0.0)
    if below_zero > MOST_BELOW_ZERO:
        return (
            f"{below_zero:.0%} of the voxels are below zero and would be taken for air, as after a z-score or a scaling"
            f" to -1 to 1: give the original {modality}."
        )
    return None


def _wrong_intercept(sample: np.ndarray) -> str | None:
    if is_stored_too_high(sample):
        return TOO_HIGH
    return TOO_LOW if is_stored_too_low(sample) else None


def _faces(grid: Grid, array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The six outer faces of the array with the side of the patient that they show."""
    faces = []
    for axis_ijk in range(3):
        direction = grid.directions[:, axis_ijk]
        world_axis = int(np.argmax(np.abs(direction)))
        sign = int(np.sign(direction[world_axis]))
        for index, toward in ((0, -sign), (-1, sign)):
            faces.append((SIDES[world_axis, toward], np.moveaxis(array, 2 - axis_ijk, 0)[index]))
    return sorted(faces, key=lambda face: list(SIDES.values()).index(face[0]))


def _cut_warnings(volume: Volume) -> list[str]:
    """Where the body reaches the edge of the image; both ends are left out, as every scan is cut there."""
    faces = [(side, face) for side, face in _faces(volume.grid, volume.array) if not side.endswith("end")]
    # Where a CT was saved as a soft-tissue window, its lowest value is that of air; filling is 0.
    air = max(BODY_ABOVE, min(0.0, *(face.min() for _, face in faces)))
    cut = [side for side, face in faces if np.mean(face > air) > 0.05]
    return [f"The field of view cuts the body at its {_listed(cut)}; normal for a cropped scan."] if cut else []


def cut_sentence(names: list[str], by: str) -> str:
    """That vertebrae aren't wholly in view.

    Args:
        names: of at least one vertebra.
        by: what cuts them, such as `CUT_VERTEBRAE`.
    """
    return f"{_listed(names)} {'are' if len(names) > 1 else 'is'} {by}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
