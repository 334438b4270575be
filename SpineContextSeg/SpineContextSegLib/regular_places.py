"""Where along a line vertebrae lie: where votes crowd, as far apart as neighbors are, each distance much like the last.

Where a scan is blurred, the votes of two small neighbors run into one another and the density shows one peak for both;
that it stands twice as far from the next peak as that from its next tells. One most probable sequence of places, found
by dynamic programming over the place and the distance to the one before.
"""

from __future__ import annotations

import numpy as np

# How far votes lie from their vertebra's place (scale of a Laplace distribution), and how many lie just anywhere.
_SPREAD_MM = 4.0
_STRAY, _ANYWHERE_MM = 0.03, 40.0
# Between the middles of neighbors, from a child's neck to a tall man's L5; usually, and how far distances vary around
# that (log). Of two next to each other the lower one is a little longer, and the two vary less.
_LEAST_MM, _MOST_MM = 7, 48
_USUAL_MM, _VARIES = 22.0, 0.4
_GROWS, _RATIO_VARIES = 0.02, 0.25
# No ratio counts for less (log): C1, a crushed body or a gap in the column may be as odd as they like.
_ODD = 8.0
# Votes of one vertebra err alike: all of those within the usual distance count as so many witnesses.
_WITNESSES = 8.0
# One vertebra more must explain more than this (log).
_EACH = 2.0
# A lumbar vertebra has ten times the votes of C1: what counts is the share of those around, not of next to nothing.
_AROUND_MM, _LEAST_AROUND = 14, 0.02


def regular_places(density: np.ndarray) -> np.ndarray:
    """Indices of the places of vertebrae, rising.

    Some may have hardly any votes: between vertebrae that are far apart places are put in, too.

    Args:
        density: (mm,) votes per mm along the column.
    """
    count, gaps = len(density), np.arange(_LEAST_MM, _MOST_MM + 1)
    votes = _WITNESSES / _USUAL_MM * density / _around(density)
    place = np.arange(count)
    near = np.log((1 - _STRAY) * np.exp(-place / _SPREAD_MM) / (2 * _SPREAD_MM) + _STRAY / _ANYWHERE_MM)
    apart = near[np.abs(place[:, None] - place)]
    above, below = (np.tril(apart, -1) * votes).sum(1), (np.triu(apart, 1) * votes).sum(1)
    of_gap = -0.5 * (np.log(gaps / _USUAL_MM) / _VARIES) ** 2 - _EACH
    ratio = np.log(gaps[:, None] / gaps) - _GROWS
    of_ratio = -np.minimum(0.5 * (ratio / _RATIO_VARIES) ** 2, _ODD)  # this gap, the one before
    between = _between(votes, near, gaps)
    first = above + votes * near[0]
    best, came_by = np.full((count, len(gaps)), -np.inf), np.full((count, len(gaps)), -1)
    for here in range(_LEAST_MM, count):
        fits = np.flatnonzero(gaps <= here)
        origin = here - gaps[fits]
        ways = best[origin] + of_ratio[fits]
        way = ways.argmax(1)
        so_far = ways[fits, way]
        begins = first[origin] >= so_far
        best[here, fits] = np.where(begins, first[origin], so_far) + between[origin, fits] + of_gap[fits]
        best[here, fits] += votes[here] * near[0]
        came_by[here, fits] = np.where(begins, -1, way)
    last, gap = np.unravel_index(np.argmax(best + below[:, None]), best.shape)
    if (alone := first + below).max() >= best[last, gap] + below[last]:
        return np.array([np.argmax(alone)])
    places = [int(last)]
    while gap >= 0:
        places.append(places[-1] - int(gaps[gap]))
        gap = came_by[places[-2], gap]
    return np.array(places[::-1])


def _around(density: np.ndarray) -> np.ndarray:
    """(mm,) the mean of those around each, and no less than a small share of the largest."""
    kernel = np.hanning(4 * _AROUND_MM + 3)[1:-1]
    mean = np.convolve(np.pad(density, 2 * _AROUND_MM), kernel / kernel.sum(), "valid")
    return np.maximum(mean, max(_LEAST_AROUND * density.max(), 1e-9))


def _between(votes: np.ndarray, near: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """(mm, gaps): log probability of the votes between a place and the next one a gap below, each from the nearer."""
    result = np.full((len(votes), len(gaps)), -np.inf)
    for n, gap in enumerate(gaps[gaps < len(votes)]):
        inner = np.arange(1, gap)
        sums = np.convolve(votes, near[np.minimum(inner, gap - inner)][::-1], "valid")
        result[: len(votes) - gap, n] = sums[1 : len(votes) - gap + 1]
    return result
