"""Where the real scans lie, which are no part of the project: tests that need one skip where it is absent."""

from pathlib import Path

import pytest

SCANS = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_scans = pytest.mark.skipif(not SCANS.is_dir(), reason="the real scans (../shared/data) are not here")

CTS = ("abdomen_3mm", "lumbar_crop", "head_neck", "chest_1mm", "chest_scoliosis", "thorax_crop")
MRS = ("lumbar_sag_t1", "lumbar_sag_t2", "lumbar_ax_t2", "thoracolumbar_crop_t2")


def ct(name: str) -> Path:
    """A CT; `name + "_labels"` is its reference."""
    return SCANS / "ct" / f"{name}.nii.gz"


def mr(name: str) -> Path:
    """An MR."""
    return SCANS / "mr" / f"{name}.nii.gz"
