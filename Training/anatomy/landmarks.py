"""Places in a body that the soft tissues are hung on."""

import numpy as np

from .plan import BodyPlan


class Landmarks:
    """A plan with lookups by level that also hold in bodies with one level more or less.

    Attributes:
        plan: the body.
        spine: (n, 3) middle of the bodies of vertebrae and sacrum from top to bottom, mm.
    """

    def __init__(self, plan: BodyPlan):
        self.plan = plan
        self.spine = np.array([v.center for v in (*plan.vertebrae, *plan.sacrum)])
        self._by_name = {v.name: v for v in plan.vertebrae}

    def vertebra(self, name: str):
        """The vertebra of a name, or the last of its region where the body has fewer."""
        number = int(name[1:])
        while f"{name[0]}{number}" not in self._by_name:
            number -= 1
        return self._by_name[f"{name[0]}{number}"]

    def z(self, name: str) -> float:
        """Height of the middle of a vertebral body in mm."""
        return float(self.vertebra(name).center[2])

    def at(self, name: str, right: float, before: float, up: float = 0.0) -> np.ndarray:
        """World point in mm beside a vertebra: mm to the right, before its front wall (negative: behind), above."""
        vertebra = self.vertebra(name)
        forward = np.array([vertebra.rotation[0, 1], vertebra.rotation[1, 1], 0.0])
        forward /= np.linalg.norm(forward)
        sideways = np.array([forward[1], -forward[0], 0.0])
        return vertebra.center + right * sideways + (before + vertebra.depth / 2) * forward + [0.0, 0.0, up]
