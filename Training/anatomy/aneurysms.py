"""Widened aortas: a sac of blood and clot that leans on the spine, or a second channel beside the first."""

import numpy as np

from .painter import Painter
from .tissues import Tissue

SHARE = 0.2  # of bodies; a hospital sees fewer, networks trained on few take the clot for bone
_WAVES_MM = 1.2  # of the sac's wall


def paint_aneurysm(painter: Painter, line: np.ndarray, radius: np.ndarray, away: np.ndarray, inside, seed: int):
    """Widen one stretch of the aorta of some bodies, over what is there: the roots of its branches go with it.

    Args:
        line, radius: middle (n, 3) and radius (n,) of the aorta, mm.
        away: (3,) unit vector from the spine to the aorta, where there is room for a sac.
        inside: boolean (k, j, i), within the fat under the skin.
        seed: of the body; nothing else of it depends on what is drawn here.
    """
    rng = np.random.default_rng([seed, 20])
    if rng.random() >= SHARE:
        return
    n, u = len(line), rng.uniform
    bulge = u(6, 30) * np.exp(-0.5 * ((np.arange(n) - u(0.05, 0.95) * n) / u(2, 8)) ** 2)
    sac = radius + bulge
    # Its back stays about where the wall of the aorta was, so it grows forward and to the side.
    middle = line + np.outer(bulge * u(0.5, 1.0), away)
    clot = int(rng.choice([Tissue.CONNECTIVE, Tissue.VEIN], p=[0.7, 0.3]))  # or a channel that fills later: dissection
    blood = radius + bulge * u(0.0, 0.8)
    direction = rng.normal(size=3) * [1, 1, 0.2]
    channel = middle + np.outer((sac - blood) * u(0, 0.9), direction / np.linalg.norm(direction))
    wide = bulge > 1.0
    if wide.sum() < 2:
        return
    wall = u(0.8, 2.0)
    painter.tube(middle[wide], sac[wide] + wall, Tissue.CONNECTIVE, inside, _WAVES_MM)
    _lime(painter, middle[wide], sac[wide], u(0.0, 1.5), inside, rng)
    painter.tube(middle[wide], sac[wide], clot, inside, _WAVES_MM)
    painter.tube(channel[wide], blood[wide] - u(0, 1), Tissue.ARTERY, inside, u(0, 2))


def _lime(painter: Painter, middle, radius, flecks: float, inside, rng: np.random.Generator):
    """Plates of lime in the wall: about so many flecks for each point of the line."""
    for place, r in zip(middle, radius):
        for _ in range(rng.poisson(flecks)):
            turn = rng.uniform(0, 2 * np.pi)
            spot = place + r * np.array([np.cos(turn), np.sin(turn), rng.normal(0, 0.3)])
            painter.ellipsoid(spot, rng.uniform(0.8, 4.0, 3), Tissue.CALCIFICATION, inside)
