"""Where along the column the votes of its voxels crowd together: one crowd for each vertebra."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .regular_places import regular_places

# The line through the column: bends over less than this are those of single votes.
_LINE_BLUR_MM = 15.0
_FEW_VOTES = 1e-3
_CROWD_BLUR_MM = 1.0
# Not even a crushed body lies that near to its neighbor, beside two that lie as usual.
_HALVES = 0.5
# Where those on both sides were missed, two whole ones lie that near, too: as far apart as others do (of the median,
# which may be that of misses), and with the votes of two (of the larger of those beside; a whole one has up to 1.1
# times, C2 1.5 times those).
_SHORT, _VOTES_OF_ONE = 0.65, 1.5


def along_column(votes: np.ndarray) -> np.ndarray:
    """How far down the column each vote, (n, 3) in mm, lies: (n,) mm along the line through the middle of all votes."""
    if not len(votes):
        return np.zeros(0)
    top = votes[:, 2].max()
    plane = np.rint(top - votes[:, 2]).astype(int)  # 1 mm apart
    counts = _blurred(np.bincount(plane), _LINE_BLUR_MM)
    # Straight on across planes far from any vote: metal, or a gap between two parts of the column.
    near = np.flatnonzero(counts > _FEW_VOTES)
    line = []
    for axis in (0, 1):
        middle = _blurred(np.bincount(plane, votes[:, axis]), _LINE_BLUR_MM)[near] / counts[near]
        line.append(np.interp(np.arange(len(counts)), near, middle))
    line = np.stack([*line, top - np.arange(len(counts))], 1)
    if len(line) < 2:
        return top - votes[:, 2]
    steps = np.gradient(line, axis=0)
    length = np.linalg.norm(steps, axis=1)
    down = np.concatenate([[0], np.cumsum((length[1:] + length[:-1]) / 2)])
    aside = votes - line[plane]
    return down[plane] + (aside * steps[plane]).sum(1) / length[plane]


def _blurred(counts: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(counts, kernel / kernel.sum())[reach:-reach]


def _median(counts: np.ndarray) -> int:
    total = np.cumsum(counts)
    return int(np.searchsorted(total, total[-1] / 2))


@dataclass(frozen=True, eq=False)
class Crowds:
    """Places along the column where votes crowd together.

    density: (mm,) votes per mm from `start` on. places: (n,) indices of the crowds in it, rising.
    """

    start: float
    density: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, along: np.ndarray, weight: np.ndarray) -> Crowds:
        """From votes (n,), mm along the column, that count (n,) so much each.

        Some places may have hardly any votes: between vertebrae that are far apart places are put in, too.
        """
        if not len(along):
            return cls(0.0, np.zeros(1), np.zeros(0, int))
        margin = 4 * _CROWD_BLUR_MM
        start = float(along.min() - margin)
        counts = np.bincount(np.rint(along - start).astype(int), weight)
        density = _blurred(np.pad(counts, (0, int(margin))), _CROWD_BLUR_MM)
        return cls(start, density, regular_places(density))._at_medians()

    def _at_medians(self) -> Crowds:
        """Each place amid its votes, however regular that is."""
        edges = [0, *self._valleys(), len(self.density)]
        medians = [first + _median(self.density[first:end]) for first, end in zip(edges, edges[1:])]
        return Crowds(self.start, self.density, np.array(medians))

    def _valleys(self) -> np.ndarray:
        """(n - 1,) indices of the least density between neighbors, in the middle half of the way between them."""
        pairs = [(a + (b - a) // 4, b - (b - a) // 4) for a, b in zip(self.places, self.places[1:])]
        return np.array([a + np.argmin(self.density[a : b + 1]) for a, b in pairs], int)

    def places_mm(self) -> np.ndarray:
        """(n,) mm along the column."""
        return self.start + self.places

    def only(self, kept: np.ndarray) -> Crowds:
        return Crowds(self.start, self.density, self.places[kept])

    def joined(self) -> Crowds:
        """Two that lie less than half as far apart as either from its next are one, unless they are two whole ones: in
        thick slices the votes of a body may fall into two."""
        crowds = self
        while len(crowds.places) > 3:
            share = np.where(crowds._may_be_halves(), crowds._shares(), np.inf)
            if share.min() >= _HALVES:
                break
            upper = int(np.argmin(share)) + 1
            places = np.delete(crowds.places, upper + 1)
            places[upper] = round(crowds.places[upper : upper + 2].mean())
            crowds = replace(crowds, places=places)
        return crowds

    def _shares(self) -> np.ndarray:
        """(n - 3,) the way between two inner neighbors, in parts of the shorter one to those beside them."""
        gaps = np.diff(self.places)
        return gaps[1:-1] / np.minimum(gaps[:-2], gaps[2:])

    def _may_be_halves(self) -> np.ndarray:
        """(n - 3,) bool, whether two inner neighbors lie nearer than most and have hardly more votes than one of those
        beside them."""
        gaps, edges = np.diff(self.places), [0, *self._valleys()]
        votes = np.add.reduceat(self.density, edges)
        together = votes[1:-2] + votes[2:-1]
        few = together < _VOTES_OF_ONE * np.maximum(votes[:-3], votes[3:])
        return few & (gaps[1:-1] < _SHORT * np.median(gaps))

    def number(self, along: np.ndarray) -> np.ndarray:
        """(n,) which crowd each vote belongs to."""
        return np.searchsorted(self._valleys() + self.start, along)
