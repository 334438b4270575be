"""What of a body's own findings a piece of its scan shows: a fracture, a curve."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SpineContextSegLib.volume import Volume

from .anatomy.plan import VertebraPlan

# What counts: loss of a body's height in front (no neck is drawn with so much), and turn between two bodies in the
# frontal plane.
_FRACTURE_RATIO = 0.82
_CURVE_DEG = 20.0


def shown_findings(vertebrae: Iterable[VertebraPlan], labels: Volume) -> list[str]:
    """Which of "fracture" and "curve" those bodies show whose middle is in view.

    labels: of the piece (k, j, i); 0 where its field of view ends.
    """
    shown = [vertebra for vertebra in vertebrae if _is_labelled(labels, vertebra.center)]
    sideways = [np.degrees(np.arcsin(vertebra.rotation[0, 2])) for vertebra in shown]
    findings = {
        "fracture": any(v.height_anterior < _FRACTURE_RATIO * v.height_posterior for v in shown),
        "curve": bool(sideways) and max(sideways) - min(sideways) > _CURVE_DEG,
    }
    return [name for name, is_shown in findings.items() if is_shown]


def _is_labelled(labels: Volume, place_mm: np.ndarray) -> bool:
    """Whatever the label: the middle of C1 is the dens of C2, and that of a flat body may be disc in a thick slice."""
    ijk = np.rint(np.linalg.inv(labels.affine) @ [*place_mm, 1.0])[:3].astype(int)
    kji = tuple(ijk[::-1])
    return all(0 <= index < length for index, length in zip(kji, labels.array.shape)) and bool(labels.array[kji])
