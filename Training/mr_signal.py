"""The MR signal of each tissue in one series, from relaxation times and the timing of the sequence.

Relaxation times and proton densities follow the values commonly given for 1.5 T (Bojorquez et al., Magnetic Resonance
Imaging 2017; Stanisz et al., Magnetic Resonance in Medicine 2005), widened so that a network trained on them leans on
no scanner. Signal of a spin echo: PD (1 - exp(-TR/T1)) exp(-TE/T2); with an inversion: PD |1 - 2 exp(-TI/T1) +
exp(-TR/T1)| exp(-TE/T2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Training.anatomy.tissues import Tissue

# T1 and T2 in ms, proton density against water.
_FAT = (270, 130, 0.95)  # T2 as a fast spin echo sees it
_WATER_OF_MARROW = (850, 50, 0.75)
_FLUID = (3500, 1200, 1.0)
_BLOOD = (1450, 180, 0.95)
_SOFT = (900, 45, 0.85)
_NONE = (1000, 1, 0.0)
NUCLEUS, DRY_NUCLEUS, ANNULUS = (1100, 130, 0.95), (900, 55, 0.7), (900, 35, 0.6)

_RELAXATION = {
    Tissue.FAT: _FAT,
    Tissue.SKIN: (700, 35, 0.8),
    Tissue.CONNECTIVE: (700, 15, 0.5),
    Tissue.DURA: (700, 15, 0.5),
    Tissue.LUNG: (1200, 30, 0.12),
    Tissue.LIVER: (580, 46, 0.85),
    Tissue.SPLEEN: (1050, 75, 0.9),
    Tissue.KIDNEY: (1000, 85, 0.95),
    Tissue.PANCREAS: (600, 50, 0.85),
    Tissue.BRAIN: (800, 85, 0.85),
    Tissue.CORD: (850, 78, 0.85),
    Tissue.NERVE_ROOT: (850, 75, 0.85),
    Tissue.CSF: _FLUID,
    Tissue.EYE: _FLUID,
    Tissue.BLADDER: _FLUID,
    Tissue.RENAL_PELVIS: _FLUID,
    Tissue.FLUID: _FLUID,
    Tissue.GALLBLADDER: (2000, 500, 1.0),
    Tissue.BOWEL_CONTENT: (1500, 150, 0.8),
    Tissue.STOMACH: (1500, 150, 0.7),
    Tissue.STOOL: (500, 50, 0.4),
    Tissue.CARTILAGE: (1000, 38, 0.75),
    Tissue.COSTAL_CARTILAGE: (900, 35, 0.7),
    Tissue.CONSOLIDATION: (1200, 80, 0.6),
    Tissue.CALCIFICATION: (1000, 5, 0.1),
} | dict.fromkeys(
    (Tissue.AIR, Tissue.GAS, Tissue.TABLE_SHELL, Tissue.TABLE_FOAM, Tissue.CLOTH, Tissue.PLASTIC, Tissue.WIRE), _NONE
)  # what isn't named is soft tissue or blood
_FLOWING = (
    Tissue.ARTERY, Tissue.VEIN, Tissue.PULMONARY_ARTERY, Tissue.HEART_LEFT, Tissue.HEART_RIGHT, Tissue.LUNG_VESSEL,
)  # fmt: skip
SEQUENCES = ("t1", "t2", "stir", "t2_fat_saturated", "any")
_SEQUENCE_PROBABILITY = (0.27, 0.38, 0.13, 0.10, 0.12)


@dataclass(frozen=True)
class Signals:
    """Signal of one series, in parts of the brightest common tissue of it: per Tissue (number of tissues,), of marrow,
    of the middle and of the rim of a disc, of dense bone."""

    sequence: str
    tissue: np.ndarray
    marrow: float
    nucleus: float
    annulus: float
    cortical: float


def draw_signals(rng: np.random.Generator) -> Signals:
    """Draw a sequence, its timing, and the patient's tissues."""
    u = rng.uniform
    sequence = str(rng.choice(SEQUENCES, p=_SEQUENCE_PROBABILITY))
    if sequence == "any":
        return _any_contrast(rng)
    repetition, echo, inversion = {
        "t1": (u(380, 850), u(7, 20), None),
        "t2": (u(2300, 6000), u(65, 130), None),
        "stir": (u(2800, 6000), u(25, 80), u(130, 180)),
        "t2_fat_saturated": (u(2300, 6000), u(50, 110), None),
    }[sequence]

    def signal(t1: float, t2: float, density: float) -> float:
        t1, t2, density = t1 * u(0.8, 1.25), t2 * u(0.8, 1.25), density * u(0.9, 1.1)
        recovered = 1 - np.exp(-repetition / t1)
        if inversion:
            recovered = abs(1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1))
        return float(density * recovered * np.exp(-echo / t2))

    fat = signal(*_FAT) * (u(0.03, 0.25) if sequence == "t2_fat_saturated" else 1.0)
    tissue = np.array([signal(*_RELAXATION.get(kind, _SOFT)) for kind in Tissue])
    tissue[Tissue.FAT] = fat
    if rng.random() < 0.5:  # between spinous processes and around joints lies more fat than ligament
        tissue[Tissue.CONNECTIVE] += u(0.3, 1.0) * (fat - tissue[Tissue.CONNECTIVE])
    still = signal(*_BLOOD)
    for kind in _FLOWING:  # blood that flows through the slice hardly gives signal in a spin echo
        tissue[kind] = still * (u(0.0, 0.35) if rng.random() < 0.7 else u(0.3, 1.3))
    fatty = u(0.2, 0.8)
    marrow = fatty * fat + (1 - fatty) * signal(*_WATER_OF_MARROW)
    dry = u() ** 1.5
    nucleus = dry * signal(*DRY_NUCLEUS) + (1 - dry) * signal(*NUCLEUS)
    signals = tissue, marrow, nucleus, signal(*ANNULUS), u(0.0, 0.1) * fat
    return _in_parts(sequence, *signals)


def _any_contrast(rng: np.random.Generator) -> Signals:
    """No sequence that exists: every tissue anywhere, so that the network learns shapes."""
    tissue = rng.uniform(0, 1, len(Tissue))
    for kind, relaxation in _RELAXATION.items():
        if relaxation is _NONE:
            tissue[kind] = 0.0
    marrow, nucleus = rng.uniform(0.1, 1, 2)
    return _in_parts("any", tissue, marrow, nucleus, nucleus * rng.uniform(0.2, 1), rng.uniform(0, 0.2) * marrow)


def _in_parts(sequence, tissue, marrow, nucleus, annulus, cortical) -> Signals:
    brightest = max(tissue[Tissue.FAT], tissue[Tissue.CSF], tissue[Tissue.MUSCLE], marrow)
    return Signals(sequence, (tissue / brightest).astype(np.float32), *(
        float(value / brightest) for value in (marrow, nucleus, annulus, cortical)
    ))  # fmt: skip
