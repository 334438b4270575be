"""Generated scans with their exact truth, of bodies that no network was trained on, but for the shipped sample: of its
body the training had another piece.

One whole body, from the skull to the thighs, is generated once and stored; abdomen, trunk and the growing series are
cut from it onto finer grids, so its noise is smoother than a scanner's. All have exact truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.outputs import write_complete
from SpineContextSegLib.shipped import SAMPLE_CT, SAMPLE_FOLDER, SAMPLE_LABELS
from SpineContextSegLib.volume import to_sitk
from Training.make_phantom import make_phantom

from .scans import Scan

# Training takes its seeds from far below.
FIRST_SEED = 9_500_000
# This one is 1031 mm tall in view, so a thousand slices need no invented continuation.
BODY_SEED = FIRST_SEED
BODY_MM, BODY_MM_SHORT = 2.0, 4.0
_REGION_SEEDS = {"neck": FIRST_SEED + 101, "chest": FIRST_SEED + 102, "pelvis": FIRST_SEED + 103}
_REGION_MM = 1.5

GROWTH_SLICES, GROWTH_SLICES_SHORT = (100, 200, 400, 600, 1000), (100,)
_FINE_PIXELS, _FINE_MM = 512, (0.8, 0.8, 1.0)
# Heights are above the upper endplate of S1.
_COARSE_MM = (3.0, 3.0, 3.0)
_ABDOMEN_SIZE, _ABDOMEN_TOP_MM = (122, 101, 112), 230.0
_TRUNK_SLICES, _TRUNK_TOP_MM = 600, 470.0
_LUMBAR_SIZE, _LUMBAR_TOP_MM = (80, 101, 64), 180.0


@dataclass(frozen=True)
class Growing:
    """The upper part of a body, so many slices of it; `spine_mm` is the length of spine in them."""

    scan: Scan
    slices: int
    spine_mm: float


def sample(folder: Path) -> Scan:
    """The sample that ships with the program."""
    paths = [folder / name for name in (SAMPLE_CT, SAMPLE_LABELS)]
    for path in paths:
        _stored(path, lambda partial: partial.write_bytes((SAMPLE_FOLDER / path.name).read_bytes()))
    return Scan("sample", paths[0], "the shipped sample, a generated trunk", paths[1])


def regions(folder: Path) -> list[Scan]:
    """A neck, a chest and a pelvis, each of another body."""
    found = []
    for region, seed in _REGION_SEEDS.items():
        ct, truth = _phantom(folder, seed, region, _REGION_MM)
        found.append(Scan(region, ct, f"generated {region}", truth))
    return found


def abdomen(folder: Path, body_mm: float) -> Scan:
    """366 x 303 x 336 mm at 3 mm, from about T11 to the middle of the sacrum."""
    place = (_ABDOMEN_SIZE, _COARSE_MM, _ABDOMEN_TOP_MM)
    return _cut(folder, "abdomen", body_mm, place, "generated abdomen", with_truth=True)


def lumbar(folder: Path, body_mm: float) -> Scan:
    """240 x 303 x 192 mm at 3 mm: few windows, for a quick look."""
    place = (_LUMBAR_SIZE, _COARSE_MM, _LUMBAR_TOP_MM)
    return _cut(folder, "lumbar", body_mm, place, "generated lumbar spine", with_truth=True)


def trunk(folder: Path, body_mm: float) -> Scan:
    """512 x 512 x 600 voxels, from the lower neck to the coccyx."""
    place = ((_FINE_PIXELS, _FINE_PIXELS, _TRUNK_SLICES), _FINE_MM, _TRUNK_TOP_MM)
    return _cut(folder, "trunk", body_mm, place, "generated whole trunk", with_truth=True)


def growing(folder: Path, body_mm: float, slices: int) -> Growing:
    """That many slices from the top of the spine down, and where the body ends before, of the head above it."""
    body = sitk.ReadImage(str(_phantom(folder, BODY_SEED, "whole", body_mm)[1]))
    spine = np.isin(sitk.GetArrayViewFromImage(body), list(BINARY_SPINE)).any(axis=(1, 2)).nonzero()[0]
    low, high = (body.GetOrigin()[2] + (edge - 0.5) * body_mm for edge in (spine[0], spine[-1] + 1))
    size = (_FINE_PIXELS, _FINE_PIXELS, slices)
    thickness = _FINE_MM[2]
    top = max(high, body.GetOrigin()[2] - body_mm / 2 + slices * thickness)
    spine_mm = min(high, top) - max(low, top - slices * thickness)
    scan = _cut(folder, f"body_{slices}", body_mm, (size, _FINE_MM, top), f"{slices} slices of a body")
    return Growing(scan, slices, round(spine_mm, 1))


def _phantom(folder: Path, seed: int, region: str, spacing_mm: float) -> tuple[Path, Path]:
    """CT and truth of a generated body, made where they aren't stored yet; packed, as scans usually are."""
    paths = [folder / f"{region}_{spacing_mm:g}mm{end}.nii.gz" for end in ("", "_labels")]
    if not all(path.exists() for path in paths):
        print(f"making a {region} at {spacing_mm:g} mm ...", flush=True)
        for path, volume in zip(paths, make_phantom(seed, region, spacing_mm)):
            _write(path, to_sitk(volume), packed=True)
    return paths[0], paths[1]


def _cut(folder: Path, name: str, body_mm: float, place, about: str, with_truth: bool = False) -> Scan:
    """A box of the whole body, in the middle of it from left to right and front to back.

    place: voxels and spacing along (i, j, k), and the height of the box's upper edge. Stored as .nii, not packed.
    """
    sources = dict(zip(("", "_labels"), _phantom(folder, BODY_SEED, "whole", body_mm)))
    paths = {end: folder / f"{name}_of_{body_mm:g}mm{end}.nii" for end in sources}
    size, spacing, top = place
    for end in ("", "_labels") if with_truth else ("",):
        if paths[end].exists():
            continue
        body = sitk.ReadImage(str(sources[end]))
        middle = body.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in body.GetSize()])
        origin = [middle[n] - (size[n] - 1) / 2 * spacing[n] for n in range(2)]
        origin.append(top - (size[2] - 0.5) * spacing[2])
        how, outside = (sitk.sitkNearestNeighbor, 0) if end else (sitk.sitkLinear, -1000)
        box = sitk.Resample(
            body, size, sitk.Transform(), how, origin, spacing, body.GetDirection(), outside, body.GetPixelID()
        )
        _write(paths[end], box, packed=False)
    return Scan(name, paths[""], about, paths["_labels"] if with_truth else None)


def _write(path: Path, image: sitk.Image, packed: bool) -> None:
    _stored(path, lambda partial: sitk.WriteImage(image, str(partial), packed))


def _stored(path: Path, write: Callable[[Path], None]) -> None:
    """Written whole or not at all, and once."""
    if not path.exists():
        write_complete(path, write)
