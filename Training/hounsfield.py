"""The CT number of each tissue in one scan: ranges in HU, by phase of the contrast agent.

The ranges follow the values commonly given in radiology textbooks (water 0, fat -120 to -80, muscle 40 to 80,
unenhanced blood 30 to 60, liver 40 to 70), widened so that a network trained on them does not lean on one scanner.
"""

import numpy as np

from Training.anatomy.tissues import Tissue

PHASES = ("none", "arterial", "venous", "late")
PHASE_PROBABILITY = (0.45, 0.15, 0.32, 0.08)

# Tissues whose CT number does not depend on the contrast agent.
_FIXED = {
    Tissue.AIR: (-1005, -990),
    Tissue.FAT: (-120, -82),
    Tissue.MUSCLE: (32, 78),
    Tissue.SKIN: (-20, 60),
    Tissue.CONNECTIVE: (5, 65),
    Tissue.LUNG: (-920, -720),
    Tissue.GAS: (-1000, -880),
    Tissue.GALLBLADDER: (-5, 25),
    Tissue.BOWEL: (20, 90),
    Tissue.BOWEL_CONTENT: (0, 45),
    Tissue.STOOL: (-60, 60),
    Tissue.STOMACH: (-10, 50),
    Tissue.ESOPHAGUS: (20, 70),
    Tissue.BRAIN: (25, 45),
    Tissue.EYE: (0, 25),
    Tissue.CSF: (-2, 25),
    Tissue.CORD: (25, 55),
    Tissue.NERVE_ROOT: (15, 50),
    Tissue.DISC: (40, 130),
    Tissue.CARTILAGE: (40, 150),
    Tissue.COSTAL_CARTILAGE: (50, 160),
    Tissue.CALCIFICATION: (180, 1100),
    Tissue.TABLE_SHELL: (-750, 50),
    Tissue.TABLE_FOAM: (-990, -880),
    Tissue.CLOTH: (-970, -650),
    Tissue.PLASTIC: (-150, 300),
    Tissue.WIRE: (500, 3000),
    Tissue.FLUID: (-5, 30),
    Tissue.CONSOLIDATION: (-300, 60),
}

# Tissues that take up the contrast agent, one range per phase.
_ENHANCING = {
    Tissue.ARTERY: ((28, 58), (190, 480), (105, 210), (70, 130)),
    Tissue.VEIN: ((28, 58), (40, 150), (100, 210), (70, 130)),
    Tissue.PULMONARY_ARTERY: ((28, 58), (120, 450), (100, 200), (70, 130)),
    Tissue.HEART_LEFT: ((28, 58), (170, 420), (100, 200), (70, 130)),
    Tissue.HEART_RIGHT: ((28, 58), (80, 450), (100, 200), (70, 130)),
    Tissue.MYOCARDIUM: ((30, 58), (60, 130), (80, 140), (60, 110)),
    Tissue.LIVER: ((40, 70), (45, 85), (80, 140), (65, 105)),
    Tissue.SPLEEN: ((38, 58), (75, 150), (95, 150), (65, 105)),
    Tissue.KIDNEY: ((22, 45), (110, 240), (130, 240), (100, 210)),
    Tissue.RENAL_PELVIS: ((-5, 20), (-5, 40), (0, 200), (150, 1200)),
    Tissue.PANCREAS: ((20, 55), (60, 130), (60, 115), (45, 90)),
    Tissue.BLADDER: ((-5, 20), (-5, 20), (-5, 60), (60, 900)),
    Tissue.THYROID: ((70, 140), (110, 230), (100, 190), (90, 150)),
}

# Standard deviation in HU of the smooth texture inside a tissue; those not named have DEFAULT_TEXTURE.
_TEXTURE = {
    Tissue.AIR: (0, 2),
    Tissue.LUNG: (8, 35),
    Tissue.FAT: (3, 14),
    Tissue.MUSCLE: (4, 22),
    Tissue.STOOL: (40, 160),
    Tissue.BOWEL: (6, 30),
    Tissue.BOWEL_CONTENT: (4, 25),
    Tissue.KIDNEY: (4, 30),
    Tissue.CALCIFICATION: (40, 250),
    Tissue.COSTAL_CARTILAGE: (5, 45),
    Tissue.DISC: (4, 25),
    Tissue.CONSOLIDATION: (40, 150),
    Tissue.CLOTH: (30, 150),
    Tissue.TABLE_SHELL: (10, 60),
    Tissue.WIRE: (0, 300),
}
_DEFAULT_TEXTURE = (2, 14)


def draw_phase(rng: np.random.Generator) -> str:
    """The phase of the contrast agent, one of :data:`PHASES`."""
    return str(rng.choice(PHASES, p=PHASE_PROBABILITY))


def draw_tissue_hu(rng: np.random.Generator, phase: str) -> np.ndarray:
    """CT number in HU of every tissue, float32 of shape (number of tissues,), index = :class:`Tissue`."""
    column = PHASES.index(phase)
    hu = np.zeros(len(Tissue), np.float32)
    for tissue, span in _FIXED.items():
        hu[tissue] = rng.uniform(*span)
    for tissue, spans in _ENHANCING.items():
        hu[tissue] = rng.uniform(*spans[column])
    if phase == "none":
        # One blood: without contrast agent arteries, veins and heart cannot be told apart.
        for tissue in (Tissue.VEIN, Tissue.PULMONARY_ARTERY, Tissue.HEART_LEFT, Tissue.HEART_RIGHT):
            hu[tissue] = hu[Tissue.ARTERY] + rng.normal(0, 2)
        hu[Tissue.MYOCARDIUM] = hu[Tissue.ARTERY] + rng.uniform(0, 8)
    elif phase in ("venous", "late"):
        hu[Tissue.VEIN] = hu[Tissue.ARTERY] * rng.uniform(0.8, 1.1)
        hu[Tissue.HEART_LEFT] = hu[Tissue.HEART_RIGHT] = hu[Tissue.ARTERY] * rng.uniform(0.9, 1.05)
        hu[Tissue.MUSCLE] += rng.uniform(0, 12)
    hu[Tissue.LUNG_VESSEL] = hu[Tissue.PULMONARY_ARTERY]
    hu[Tissue.DURA] = hu[Tissue.CONNECTIVE]
    if rng.random() < 0.15:  # fatty liver
        hu[Tissue.LIVER] -= rng.uniform(20, 60)
    if rng.random() < 0.15:  # fat inside the muscles of the old
        hu[Tissue.MUSCLE] -= rng.uniform(10, 45)
    if rng.random() < 0.3:  # contrast agent by mouth
        positive = rng.uniform(80, 600)
        hu[Tissue.BOWEL_CONTENT] = positive * rng.uniform(0.7, 1.2)
        hu[Tissue.STOMACH] = positive * rng.uniform(0.2, 1.0)
        if rng.random() < 0.5:
            hu[Tissue.STOOL] = positive * rng.uniform(0.3, 1.3)
    if rng.random() < 0.02:  # contrast agent in the thecal sac (CT myelography)
        hu[Tissue.CSF] = rng.uniform(200, 900)
    return hu


def draw_tissue_texture(rng: np.random.Generator) -> np.ndarray:
    """Standard deviation in HU of the texture inside every tissue, float32 of shape (number of tissues,)."""
    level = rng.uniform(0.4, 1.2)
    return np.array([level * rng.uniform(*_TEXTURE.get(tissue, _DEFAULT_TEXTURE)) for tissue in Tissue], np.float32)
