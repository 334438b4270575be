"""Whether values are Hounsfield units of a body, told from how often they occur."""

from __future__ import annotations

import numpy as np

# Ranges in HU. Fat lies near -100 and is present in every body region; water, blood and muscle lie between 0 and 80,
# with contrast and noise between -150 and 150; even osteoporotic bone has a shell above 150. Of a body, only lungs and
# gas lie below -300.
BODY_ABOVE = -300.0
FAT = (-150.0, -20.0)
SOFT_TISSUE = (-150.0, 150.0)
BONE_ABOVE = 150.0
METAL_ABOVE = 900.0
AIR_OR_FAT_BELOW = -50.0

# Shares of the voxels above air. In 1800 crops of 20 to 60 mm about the spine in six scans, fat took 1 to 57 % (99 of
# 100 crops), soft tissue 23 to 97 %, bone 3 to 76 % and values above 900 at most 10 %.
FAT_FRACTION = 0.005
SOFT_TISSUE_FRACTION = 0.2
BONE_FRACTION = 0.0005
METAL_FRACTION = 0.25
# Share of the voxels below zero: 11 % or more in all but 3 of 600 such crops. Interpolation leaves an MR some values
# there, most of them just below zero: 1 to 10 % in four series with signals up to 1000, more with higher ones.
AIR_OR_FAT_FRACTION = 0.1
# What a CT reads too high where its rescale intercept was lost, and too low where it was applied twice.
INTERCEPT = 1024.0
# Asked of values that are HU only after such a shift, which an MR may resemble by chance.
CLEAR_FAT_FRACTION = 0.05
CLEAR_SOFT_TISSUE_FRACTION = 0.6
# Between lungs and fat a CT has little but edges: at most 7 % of what is above air in six scans and their crops, 9 % in
# six generated ones. An MR has as much there as elsewhere: 15 % or more where it passes for such a CT in all else.
BELOW_FAT = (-300.0, -150.0)
MOST_BELOW_FAT = 0.12
# Of the voxels of a body, those above 724 HU: at most 5 % in six scans.
DENSE_BONE_FRACTION = 0.1
# A CT whose numbers end below this has lost more of its bone than single voxels. Of six scans cut off at 600, 0.3 to
# 6 % of what is above air had that value, of the sample 0.15 %; of a whole scan hardly one voxel has its largest value.
CLIPPED_BELOW = 1000.0
CLIPPED_FRACTION = 0.0005
_CLIPPED_VOXELS = 20
# In HU below the largest value: a picture with a single value for bone has none there, a CT always some.
_JUST_BELOW = 50.0
CLIPPED = "CT numbers end at {value:g} HU: bone is clipped, so that HU of vertebral bodies may come out too low."


def share_within(values: np.ndarray, low: float, high: float = np.inf) -> float:
    """The share of `values` (n,) from `low` up to, but not, `high`."""
    return float(np.mean((values >= low) & (values < high))) if values.size else 0.0


def clipped_at(sample: np.ndarray) -> float | None:
    """The value that all denser bone was set to, as by saving a soft-tissue window; None where nothing was cut off.

    Args:
        sample: (n,) HU, all finite, of a scan that `looks_like_hu`.
    """
    highest = float(sample.max())
    body = sample[sample > BODY_ABOVE]
    alike = np.count_nonzero(body == highest)
    is_clipped = (
        BONE_ABOVE <= highest < CLIPPED_BELOW
        and alike >= max(_CLIPPED_VOXELS, CLIPPED_FRACTION * body.size)
        and share_within(body, highest - _JUST_BELOW, highest) > 0
    )
    return highest if is_clipped else None


def looks_like_hu(
    sample: np.ndarray, fat: float = FAT_FRACTION, soft_tissue: float = SOFT_TISSUE_FRACTION
) -> bool:
    """True where the values above air show fat, soft tissue and bone where a calibrated CT has them."""
    return _fits(sample, fat, soft_tissue) and not is_stored_too_low(sample)


def is_stored_too_high(sample: np.ndarray) -> bool:
    """Whether values (n,) are those of a CT whose rescale intercept was lost."""
    shifted = sample - INTERCEPT
    return (
        _fits(shifted, CLEAR_FAT_FRACTION, CLEAR_SOFT_TISSUE_FRACTION)
        and share_within(shifted[shifted > BODY_ABOVE], *BELOW_FAT) <= MOST_BELOW_FAT
    )


def is_stored_too_low(sample: np.ndarray) -> bool:
    """Whether values (n,) are those of a CT whose rescale intercept was applied twice: its dense bone passes for a
    body, but a small one, without as much soft tissue as a body has."""
    shifted, dense_bone = sample + INTERCEPT, sample[sample > BODY_ABOVE]
    return (
        dense_bone.size < DENSE_BONE_FRACTION * np.count_nonzero(shifted > BODY_ABOVE)
        and share_within(dense_bone, *SOFT_TISSUE) < CLEAR_SOFT_TISSUE_FRACTION
        and _fits(shifted, CLEAR_FAT_FRACTION, CLEAR_SOFT_TISSUE_FRACTION)
    )


def _fits(sample: np.ndarray, fat: float, soft_tissue: float) -> bool:
    body, below_zero = sample[sample > BODY_ABOVE], sample[sample < 0]
    return (
        share_within(body, *FAT) >= fat
        and share_within(body, *SOFT_TISSUE) >= soft_tissue
        and share_within(body, BONE_ABOVE) >= BONE_FRACTION
        and share_within(body, METAL_ABOVE) <= METAL_FRACTION
        and share_within(below_zero, -np.inf, AIR_OR_FAT_BELOW) >= AIR_OR_FAT_FRACTION
    )
