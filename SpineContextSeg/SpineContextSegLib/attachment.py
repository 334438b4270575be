"""Which vertebra hangs on which body: the shortest way to it through bone, the one that crosses no joint."""

from __future__ import annotations

import itertools

import numpy as np

# A vote as exact as this stands against a way to another vertebra that is longer than this: where a lamina is too thin
# to be seen, its spinous process touches nothing but the vertebra below.
_EXACT_MM = 3.0
_FAR_MM = 35.0
# A step through a voxel that is surely no bone, as in a joint, is longer by this factor on either end; found on real
# and generated scans alike, between 1 and 4 nothing changes.
_THIN_BONE = 2.0
_NEIGHBORS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


def attached(
    inside: np.ndarray, bone: np.ndarray, along: np.ndarray, error: np.ndarray, heart: np.ndarray, number: np.ndarray,
    spacing_kji: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The number of the vertebra whose heart is reached on the shortest way, for each of the n voxels of `inside`.

    Where that way is long, a voxel that votes exactly for a vertebra keeps it, and those around it follow. A way is as
    long as its steps, longer where bone is thin, and longer by as much as the votes on it change: votes of touching
    neighbors lie a vertebra apart, those of one vertebra change little, however far off all of them are.

    Args:
        inside: bool (k, j, i), the voxels of vertebrae.
        bone: uint8 (k, j, i), 255 = surely bone.
        along: (n,) where each voxel's vote lies, mm along the column.
        error: (n,) how far that is from the crowd of its vertebra, mm.
        heart: bool (n,) the voxels that belong to their vertebra beyond doubt.
        number: int (n,) what each votes for: kept in hearts, and where no heart can be reached.
        spacing_kji: mm.
    """
    neighbors = _neighbors(inside)
    none = len(number)
    # Of either end of a step, half of its length and more where bone is thin.
    resistance = np.append(0.5 + _THIN_BONE * (1 - bone[inside] / np.float32(255)), 0).astype(np.float32)
    vote = np.append(along, 0).astype(np.float32)
    length = np.full(none + 1, np.inf, np.float32)
    length[none] = 0  # no way there is shorter
    result = np.append(number, 0)

    reached = np.zeros(none, bool)

    def spread(front: np.ndarray, start: float) -> None:
        """From voxels whose number is settled on, by ways that begin with a length of `start`."""
        length[front], result[front] = start, number[front]
        while len(front):
            step_from(front)
            front = np.flatnonzero(reached)
            reached[front] = False

    def step_from(front: np.ndarray) -> None:
        here, votes, so_far, numbers = (values.take(front) for values in (resistance, vote, length, result))
        for step, of_step in zip(_NEIGHBORS, neighbors):
            to = of_step.take(front)
            way = (here + resistance.take(to)) * np.float32(np.linalg.norm(step * spacing_kji))
            way += so_far
            way += np.abs(votes - vote.take(to))
            shorter = np.flatnonzero(way < length.take(to))
            nearer = to.take(shorter)
            length[nearer], result[nearer], reached[nearer] = way.take(shorter), numbers.take(shorter), True

    spread(np.flatnonzero(heart), 0.0)
    spread(np.flatnonzero((error < _EXACT_MM) & (length[:none] > _FAR_MM)), _FAR_MM)
    return result[:none]


def _neighbors(inside: np.ndarray) -> np.ndarray:
    """int32 (26, n): for each step the index of the voxel of `inside` there, n where there is none."""
    count = np.count_nonzero(inside)
    index = np.full(np.array(inside.shape) + 2, count, np.int32)
    index[1:-1, 1:-1, 1:-1][inside] = np.arange(count, dtype=np.int32)
    places = np.flatnonzero(index != count)
    strides = index.shape[1] * index.shape[2], index.shape[2], 1
    flat = index.ravel()
    return np.stack([flat.take(places + np.dot(step, strides)) for step in _NEIGHBORS])
