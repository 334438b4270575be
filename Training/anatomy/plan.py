"""The plan of one body: every number that shapes it, in world millimeters, before anything is painted.

World axes are RAS: x to the right, y to the front, z upwards. The origin is the middle of the upper endplate of S1.
A local frame is a 3x3 rotation whose columns are the local right, anterior and superior axes in world coordinates.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A place and an orientation. center: (3,) mm; rotation: (3, 3), columns right, anterior, superior."""

    center: np.ndarray
    rotation: np.ndarray

    def to_world(self, local) -> np.ndarray:
        """Local points (..., 3) in mm to world points (..., 3) in mm."""
        return self.center + np.asarray(local, float) @ self.rotation.T


@dataclass(frozen=True)
class VertebraPlan(Frame):
    """One vertebra. The frame's origin is the middle of its body (for C1: the middle of the dens it embraces).

    value: VerSe label value. Heights and other sizes in mm; transverse_tip and spinous_tip are local points, the former
    on the right side. spinous_height: of a lumbar spinous process; spinous_round: 0 = a plate with corners, 1 = oval.
    concavity: depth of each endplate's hollow. disc_below: thickness at the middle of the disc, 0 for C1. osteophyte:
    how far the rims lip out. bridge: osteophytes span the disc below. gas: the disc holds vacuum. disc_ossified: the
    disc below has turned to bone.
    """

    name: str
    value: int
    width: float
    depth: float
    height_anterior: float
    height_posterior: float
    concavity: float
    waist: float
    disc_below: float
    canal_width: float
    canal_depth: float
    pedicle_width: float
    pedicle_height: float
    transverse_tip: np.ndarray
    spinous_tip: np.ndarray
    spinous_height: float
    spinous_round: float
    cortex: float
    osteophyte: float
    facet: float
    bridge: bool
    gas: bool
    disc_ossified: bool

    @property
    def height(self) -> float:
        """Height of the body at its middle plane in mm, without the endplates' hollow."""
        return (self.height_anterior + self.height_posterior) / 2

    @property
    def canal_y(self) -> float:
        """Local y of the middle of the canal in mm."""
        return -(self.depth / 2 + self.canal_depth * 0.48)

    @property
    def canal_center(self) -> np.ndarray:
        """World point in the middle of the canal at this level."""
        return self.to_world([0.0, self.canal_y, 0.0])


@dataclass(frozen=True)
class SacralPlan(Frame):
    """One segment of sacrum or coccyx; sizes in mm. ala: half width over the alae; canal sizes are 0 in the coccyx."""

    name: str
    width: float
    depth: float
    height: float
    ala: float
    canal_width: float
    canal_depth: float

    @property
    def canal_y(self) -> float:
        """Local y of the middle of the canal in mm."""
        return -(self.depth / 2 + self.canal_depth * 0.5)


@dataclass(frozen=True)
class RibPlan:
    """One rib. side: +1 right, -1 left. bone, cartilage: (n, 3) center lines in mm from the spine to the front;
    cartilage is empty for floating ribs. radius: mean half thickness; a rib is taller than thick by `flatness`."""

    name: str
    value: int
    side: int
    bone: np.ndarray
    cartilage: np.ndarray
    radius: float
    flatness: float


@dataclass(frozen=True)
class ArmPlan:
    """One arm. side: +1 right, -1 left; shoulder: middle of the humeral head; elbow, wrist: joints (3,) mm."""

    side: int
    shoulder: np.ndarray
    elbow: np.ndarray
    wrist: np.ndarray


@dataclass(frozen=True)
class LegPlan:
    """One hip and thigh. side: +1 right, -1 left; hip: middle of the femoral head; knee (3,) mm; head_radius in mm."""

    side: int
    hip: np.ndarray
    knee: np.ndarray
    head_radius: float


@dataclass(frozen=True)
class HeadPlan(Frame):
    """Frame's origin: middle of the foramen magnum.

    vault_center: local point; vault_axes: outer half axes of the brain case (right, anterior, superior);
    vault_thickness; foramen_axes: half axes (right, anterior), all mm. scale: size against the average head.
    jaw_open: opening of the lower jaw in radians. teeth: share of the teeth that are left.
    """

    vault_center: np.ndarray
    vault_axes: np.ndarray
    vault_thickness: float
    foramen_axes: np.ndarray
    scale: float
    jaw_open: float
    teeth: float


@dataclass(frozen=True)
class BodyPlan:
    """A whole body and the part of it that is scanned.

    vertebrae: top to bottom. sacrum: S1..S5 then the coccyx. sternum: (n, 3) center line from top to bottom.
    clavicles: one (n, 3) center line per side, sternal end first. pelvis: frame with its origin at the world origin,
    scaled by pelvis_scale. view_lo, view_hi: scanned box in mm. fat: thickness of the fat under the skin at the
    belly in mm. muscle: 0.6 (wasted) to 1.3 (athletic). porosity: 0 (dense bone) to 1 (osteoporosis).
    """

    seed: int
    region: str
    female: bool
    scale: float
    vertebrae: tuple[VertebraPlan, ...]
    sacrum: tuple[SacralPlan, ...]
    ribs: tuple[RibPlan, ...]
    sternum: np.ndarray
    clavicles: tuple[np.ndarray, ...]
    arms: tuple[ArmPlan, ...]
    arms_up: bool
    legs: tuple[LegPlan, ...]
    pelvis: Frame
    pelvis_scale: np.ndarray
    head: HeadPlan
    fat: float
    muscle: float
    porosity: float
    cortex: float
    view_lo: np.ndarray
    view_hi: np.ndarray

    def vertebra(self, name: str) -> VertebraPlan:
        """The vertebra of that name; KeyError where the body has none."""
        for vertebra in self.vertebrae:
            if vertebra.name == name:
                return vertebra
        raise KeyError(name)

    def spine_at(self, z) -> np.ndarray:
        """(n, 2) x and y of the line through the bodies (vertebrae, sacrum, coccyx) at heights z (n,) in mm."""
        centers = np.array([v.center for v in (*self.vertebrae, *self.sacrum)])
        order = np.argsort(centers[:, 2], kind="stable")
        z = np.atleast_1d(np.asarray(z, float))
        return np.stack([np.interp(z, centers[order, 2], centers[order, a]) for a in (0, 1)], axis=1)

    def canal_line(self) -> np.ndarray:
        """(n, 3) middle of the canal in mm, from the foramen magnum down to the end of the sacral canal."""
        top = self.head.center
        below = [s.to_world([0.0, s.canal_y, 0.0]) for s in self.sacrum if s.canal_depth > 0]
        return np.array([top, *(v.canal_center for v in self.vertebrae), *below])

    def rib_cage_at(self, z) -> np.ndarray:
        """(n, 4) cross-section of the rib cage at heights z (n,) mm: middle x, y, half width, half depth in mm.

        The half axes run to the center lines of the ribs; heights outside the cage repeat its first or last section.
        """
        z = np.atleast_1d(np.asarray(z, float))
        lateral = {side: np.array([r.bone[np.argmax(side * r.bone[:, 0])] for r in self.ribs if r.side == side])
                   for side in (1, -1)}
        back = np.array([r.bone[np.argmin(r.bone[:, 1])] for r in self.ribs])

        def sampled(points, axis):
            order = np.argsort(points[:, 2], kind="stable")
            return np.interp(z, points[order, 2], points[order, axis])

        right, left = sampled(lateral[1], 0), sampled(lateral[-1], 0)
        y_back, y_front = sampled(back, 1), sampled(self.sternum, 1)
        middle_x, middle_y = (right + left) / 2, (y_front + y_back) / 2
        return np.stack([middle_x, middle_y, (right - left) / 2, (y_front - y_back) / 2], axis=1)


REGIONS = ("neck", "chest", "abdomen", "pelvis", "trunk", "whole")


def draw_plan(seed: int, region: str | None = None) -> BodyPlan:
    """Draw the body of a seed and the part of it that is scanned.

    The body depends on the seed alone, the scanned box on seed and region. region None draws one of the regions;
    raises ValueError for an unknown one.
    """
    from . import posture, torso, view  # they build the classes above

    if region is not None and region not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}")
    rng = np.random.default_rng([seed, 1])
    female = bool(rng.random() < 0.5)
    scale = float(np.exp(rng.normal(-0.05 if female else 0.05, 0.045)))
    width_scale = float(np.exp(rng.normal(-0.01 if female else 0.01, 0.05)))
    porosity = float(rng.beta(1.2, 2.0))
    cortex = float(rng.uniform(0.6, 1.3) * (1.15 - 0.6 * porosity))
    vertebrae, sacrum, slope = posture.draw_spine(rng, scale, width_scale, porosity, cortex)
    ribs, sternum = torso.draw_cage(rng, vertebrae, scale, width_scale)
    clavicles, arms, arms_up = torso.draw_shoulders(rng, vertebrae, sternum, scale, width_scale)
    pelvis, pelvis_scale, legs = torso.draw_pelvis(rng, slope, scale, width_scale, female)
    head = torso.draw_head(rng, vertebrae[0], scale)
    fat = float(np.exp(rng.uniform(np.log(5.0), np.log(45.0))))
    muscle = float(rng.uniform(0.7, 1.2))
    body = {"vertebrae": vertebrae, "sacrum": sacrum, "ribs": ribs, "sternum": sternum, "arms": arms, "legs": legs,
            "head": head}
    region, lo, hi = view.draw_view(np.random.default_rng([seed, 2]), region, body, scale, fat)
    return BodyPlan(seed=int(seed), region=region, female=female, scale=scale, clavicles=clavicles,
                    arms_up=arms_up, pelvis=pelvis, pelvis_scale=pelvis_scale, fat=fat, muscle=muscle,
                    porosity=porosity, cortex=cortex, view_lo=lo, view_hi=hi, **body)
