"""Which vertebra is which: the levels of a whole column of which most are probably right, and how sure they are.

A vertebra alone says little; together with its neighbors it can only be where all of them fit. Hidden Markov model:
what the naming network says of each vertebra, and that one level follows the other, with variants (11 or 13 thoracic,
4 or 6 lumbar vertebrae) and misses (a vertebra not found, or found twice) as rare steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .labels import LEVEL_ORDER, SACRUM, level_name

# The sacrum is one of them: a piece of it may have been taken for a vertebra, or two.
ORDER = LEVEL_ORDER
# A supernumerary vertebra looks like its upper neighbor (as the naming network is taught, Training/level_crops.py).
LOOKS_LIKE = {28: 19, 25: 24}
# Without a T12, L1 follows T11; without an L5, the sacrum follows L4: where they lie about as near as neighbors do, in
# parts of the usual distance.
_NOT_MISSED, _NEIGHBORS_WITHIN = {(18, 20): {19, 28}, (23, SACRUM): {24, 25}}, 1.5
# How often: Tins and Balain, Insights Imaging 7:99 (2016), and the VerSe data (T13 and missing T12 in 1 to 3 %, L6 and
# L4 alone in 2 to 6 % of people).
_T13, _NO_T12, _L6, _NO_L5 = 0.015, 0.015, 0.04, 0.02
_FOUND_TWICE, _MISSED = 0.005, 0.01
# Whatever hides one vertebra, metal or a tumor, hides the next one as well about as often as not.
_MISSED_TOO = 0.5
# Parts of one vertebra lie about half the usual distance apart. Two of one level that are further apart than this, in
# parts of it, may be whole neighbors: what one of them looks like outweighed how far apart they are.
_PARTS_WITHIN = 0.75
# A segment of the sacrum taken for a vertebra.
_SACRAL_PIECE = 0.05
# Distances between neighbors vary by so much of the usual one, several of them together by the root of their number.
_GAP_SPREAD = 0.22
# Of any level, however little a vertebra looks like it.
_DOUBT = 0.002
# What a sequence's log probability counts beside the vertebrae that are expected to be right: it settles ties.
_TIE = 0.01
CERTAIN = 0.95
# However certain the others: what is less probable than this, such as one that is L6 or sacrum, has to be looked at.
_OPEN_BELOW = 0.75
UNSURE = "Levels are uncertain"
"""What a sentence on levels that aren't certain begins with."""
# No level is more probable than this, and so certain, where there is nothing in view to count from, or it rests on
# distances and on what was taken for a sacrum alone.
A_GUESS = 0.8
# Neighbors lie 1.5 to 4 % further apart with each level downward, and err by about this much of their distance.
_GAP_ERROR = 0.1
_LEAST_GAPS = 5
# So many standard errors of the slope below zero: the column gets smaller downward.
_SURELY_FALLING = 2.0


@dataclass(frozen=True)
class Levels:
    """Levels of the vertebrae of one column.

    values: label value of each, from top to bottom; the last may be pieces of the sacrum.
    probabilities: (n,) of each to be at its level.
    anchors: names of what is in view that levels can be counted from.
    upside_down: the vertebrae get smaller downward, or look as they would upside down.
    odd_looks: many of them look like no vertebra.
    gap: the first two neighbors between which a level is missing; one that only some people have isn't missed.
    twice: the first level of two that lie as far apart as whole neighbors do, or of one that is as large as two.
    open: the one that is uncertain while the others are certain, and its probability; it may be a piece of the sacrum.
    """

    values: tuple[int, ...]
    probabilities: tuple[float, ...]
    anchors: tuple[str, ...] = ()
    upside_down: bool = False
    odd_looks: bool = False
    gap: tuple[int, int] | None = None
    twice: int | None = None
    open: tuple[int, float] | None = None

    def only(self, kept: np.ndarray) -> Levels:
        """Those of some of the vertebrae, bool (n,)."""
        values, probabilities = (tuple(np.array(part)[kept].tolist()) for part in (self.values, self.probabilities))
        return replace(self, values=values, probabilities=probabilities)

    def at_most(self, probability: float) -> Levels:
        """The same levels, none of them more probable than this."""
        return replace(self, probabilities=tuple(min(each, probability) for each in self.probabilities))

    @property
    def confidence(self) -> float:
        """0..1: how probable the levels are, on average over the vertebrae, or that of the one that is open."""
        average = float(np.mean(self.probabilities)) if self.probabilities else 0.0
        return min(average, self.open[1]) if self.open else average

    @property
    def certain(self) -> bool:
        return self.confidence >= CERTAIN and not self.gap and not self.twice

    @property
    def doubt(self) -> str:
        """In short, where they aren't certain."""
        return f"levels uncertain{self._share}"

    @property
    def _share(self) -> str:
        """In brackets; nothing where all fit together and only one place has to be looked at."""
        return f" ({self.confidence:.0%})" if self.confidence < CERTAIN else ""

    @property
    def reason(self) -> str:
        """One sentence for the user: what the levels rest on."""
        if not self.values:
            return "No single vertebra was found."
        if self.certain:
            return f"Levels fit together; in view: {', '.join(self.anchors)}."
        unsure = f"{UNSURE}{self._share}"
        others = "the top of the neck, the first or last rib, or the sacrum"
        if self.upside_down:
            return f"{unsure}, as the column seems to be upside down: head and feet may be exchanged in the file."
        if self.odd_looks:
            return (
                f"{unsure}, as many vertebrae look unusual, by metal, by lesions or because head and feet are exchanged"
                f" in the file: compare with {others}, then correct them."
            )
        if self.twice:
            return f"{unsure}, as {level_name(self.twice)} may be two vertebrae: look there, and split it if so."
        if self.gap:
            upper, lower = map(level_name, self.gap)
            return f"{unsure}, as none was found between {upper} and {lower}: compare with {others}, then correct them."
        if not self.anchors:
            return f"{unsure}, as nothing to count from is wholly in view: find {others} in another scan."
        if self.open:
            value, _ = self.open
            either = "the lowest may be L6 or part of the sacrum" if value in (25, SACRUM) else (
                f"{level_name(value)} may be another"
            )  # fmt: skip
            return f"{unsure}, as {either}: look there, then correct it."
        return f"{unsure}, all may be shifted by one or more: compare with {others}, then correct them."


def doubt_of(report: Mapping) -> str:
    """What `Result.doubt` said, from the report of that result."""
    levels = report.get("levels")
    return "" if not levels or levels["certain"] else Levels((), (levels["confidence"],)).doubt


# Pairs of neighbors between which something begins or ends that tells where they are.
_PAIRS = {"first ribs": ((7, 8),), "last ribs": ((19, 20), (28, 20), (18, 20))}


def _anchors(values: Sequence[int], whole: np.ndarray, sacrum_below: bool) -> tuple[str, ...]:
    """What levels can be counted from; `whole`: bool (n,), the vertebra isn't cut by the border of the scan."""
    seen = dict(zip(values, whole))
    found = ["C1 or C2"] if seen.get(1) or seen.get(2) else []
    # One of two wholly in view and the other in part show what lies between them.
    for name, pairs in _PAIRS.items():
        if any(a in seen and b in seen and (seen[a] or seen[b]) for a, b in pairs):
            found.append(name)
    # Of the sacrum alone, its uppermost piece, cut by the border, passes for the last vertebra above it.
    return (*found, "sacrum") if sacrum_below and whole.any() else tuple(found)


def _gets_smaller(centers: np.ndarray) -> bool:
    """Whether the distances between neighbors fall downward, by more than they err."""
    gaps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    if len(gaps) < _LEAST_GAPS:
        return False
    place = np.arange(len(gaps)) - (len(gaps) - 1) / 2
    # The slope that most pairs of distances have (Theil and Sen): a vertebra that was missed doesn't change it.
    first, second = np.triu_indices(len(gaps), 1)
    slope = np.median(np.log(gaps[second] / gaps[first]) / (second - first))
    return bool(slope < -_SURELY_FALLING * _GAP_ERROR / np.sqrt((place**2).sum()))


def read_levels(
    looks: Mapping[int, np.ndarray],
    centers: np.ndarray,
    sacrum_below: bool,
    whole: np.ndarray | None = None,
    upside_down: bool | None = None,
) -> Levels:
    """The levels of a column of which most are expected to be right.

    Args:
        looks: level value -> (n,), how much each vertebra looks like that level to the naming network, 0..1; NaN where
            it wasn't asked.
        centers: (n, 3) middles of the vertebrae in mm, from top to bottom.
        sacrum_below: whether the sacrum follows directly below the last of them.
        whole: (n,) bool, False for those that the border of the scan cuts; None where all are whole.
        upside_down: whether the vertebrae look so; None where that isn't known, so that their distances must tell.
    """
    if not len(centers):
        return Levels((), ())
    emissions = _emissions(looks, len(centers))
    emissions[0] *= _FIRST
    ratios = _gap_ratios(centers)
    steps = [_step(ratio) for ratio in ratios]
    end = _BEFORE_SACRUM if sacrum_below else np.ones(len(ORDER))
    marginals = _marginals(emissions, steps, end)
    path = _best_path(marginals, emissions, steps, end)
    values = tuple(ORDER[state] for state in path)
    probabilities = tuple(float(row[state]) for row, state in zip(marginals, path))
    anchors = _anchors(values, np.ones(len(values), bool) if whole is None else whole, sacrum_below)
    if upside_down is None:
        # Segments of a sacrum, taken for vertebrae, do lie closer together with each one downward.
        upside_down = _gets_smaller(centers[np.array(values) != SACRUM])
    least = int(np.argmin(probabilities))
    is_open = np.mean(probabilities) >= CERTAIN and probabilities[least] < _OPEN_BELOW
    levels = Levels(
        values, probabilities, anchors, upside_down, gap=gap_in(values, ratios), twice=_twice_in(values, ratios),
        open=(values[least], probabilities[least]) if is_open else None,
    )  # fmt: skip
    return levels.at_most(A_GUESS) if levels.upside_down or not anchors else levels


def gap_in(values: Sequence[int], ratios: Sequence[float]) -> tuple[int, int] | None:
    """The first two neighbors between which a level is missing; `ratios`: how far apart, in parts of the usual way."""
    for upper, lower, ratio in zip(values, values[1:], ratios):
        between = set(ORDER[ORDER.index(upper) + 1 : ORDER.index(lower)])
        variants = _NOT_MISSED.get((upper, lower), set()) if ratio < _NEIGHBORS_WITHIN else set()
        if between - variants - LOOKS_LIKE.keys():
            return upper, lower
    return None


def _twice_in(values: Sequence[int], ratios: Sequence[float]) -> int | None:
    """The first level of two neighbors that are hardly parts of one vertebra; `ratios`: as in `gap_in`."""
    pairs = zip(values, values[1:], ratios)
    return next((one for one, other, ratio in pairs if one == other != SACRUM and ratio > _PARTS_WITHIN), None)


def _emissions(looks: Mapping[int, np.ndarray], count: int) -> np.ndarray:
    """(n, states): likelihood of what is seen of each vertebra at each level.

    The network errs for neighbors alike: n voices count as much as the square root of n witnesses.
    """
    seen = np.stack([np.asarray(looks.get(LOOKS_LIKE.get(v, v), np.zeros(count)), float) for v in ORDER], 1)
    seen = np.where(np.isfinite(seen).all(1, keepdims=True), seen, 0.0)
    total = seen.sum(1, keepdims=True)
    share = np.where(total > 0, seen / np.maximum(total, 1e-9), 1 / len(ORDER))
    likelihood = (share + _DOUBT) ** (count**-0.5)
    likelihood[:, -1] *= _SACRAL_PIECE
    return likelihood


def _follow() -> np.ndarray:
    """(states, states): probability that a level follows directly below another."""
    place = {value: n for n, value in enumerate(ORDER)}
    follow = np.zeros((len(ORDER), len(ORDER)))
    for above, below, probability in (
        *((value, value + 1, 1.0) for value in (*range(1, 18), *range(20, 23))),
        (18, 19, 1 - _NO_T12), (18, 20, _NO_T12), (19, 20, 1 - _T13), (19, 28, _T13), (28, 20, 1.0),
        (23, 24, 1 - _NO_L5), (24, 25, _L6), (23, SACRUM, _NO_L5), (24, SACRUM, 1 - _L6), (25, SACRUM, 1.0),
        (SACRUM, SACRUM, 1.0),
    ):  # fmt: skip
        follow[place[above], place[below]] = probability
    return follow


_FOLLOW = _follow()
# A scan may begin anywhere, and seldom with what is rare.
_FIRST = np.array([{28: _T13, 25: _L6}.get(value, 1.0) for value in ORDER])
# The last one found may also be the one above the last: L5 is missed where it has grown into the sacrum.
_BEFORE_SACRUM = _FOLLOW[:, -1] + _MISSED * (_FOLLOW[:, :-1] @ _FOLLOW[:-1, -1]) + 1e-6


def _gap_ratios(centers: np.ndarray) -> np.ndarray:
    """(n - 1,): distance between neighbors over the median of those around, which grow slowly downward."""
    gaps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    around = [np.median(gaps[max(0, n - 2) : n + 3]) for n in range(len(gaps))]
    return gaps / np.maximum(around, 1e-6)


def _steps_down() -> np.ndarray:
    """(n, states, states): probability that a level comes n levels below another."""
    steps = [np.eye(len(ORDER))]
    while len(steps) < len(ORDER):
        steps.append(steps[-1] @ _FOLLOW)
    return np.stack(steps)


_STEPS_DOWN = _steps_down()
_FURTHER = np.arange(len(_STEPS_DOWN))
_HOW_OFTEN = np.array(
    [_FOUND_TWICE, 1 - _FOUND_TWICE - _MISSED, *(_MISSED * _MISSED_TOO**missed for missed in _FURTHER[:-2])]
)


def _step(ratio: float) -> np.ndarray:
    """(states, states): probability of a level below another at this distance."""
    usual = np.maximum(_FURTHER, 0.4)  # parts of one vertebra lie apart, too
    likely = np.exp(-0.5 * ((ratio - usual) / (_GAP_SPREAD * np.sqrt(np.maximum(_FURTHER, 1)))) ** 2)
    # The median may be that of a column in which every second vertebra is missed: an even gap says little.
    weights = _HOW_OFTEN * (likely + 1e-4)
    return np.tensordot(weights / weights.sum(), _STEPS_DOWN, 1)


def _best_path(
    marginals: np.ndarray, emissions: np.ndarray, steps: Sequence[np.ndarray], end: np.ndarray
) -> list[int]:
    """The states of which most are expected to be right, among the sequences that are possible at all.

    Not the one most probable sequence: where a vertebra is missed, it is not known between which two, so that each of
    the ways to say so is less probable than one in which all vertebrae beyond are off by one.
    """
    with np.errstate(divide="ignore"):
        score = marginals[0] + _TIE * np.log(emissions[0])
        came_from = []
        for marginal, emission, step in zip(marginals[1:], emissions[1:], steps):
            ways = score[:, None] + _TIE * np.log(step)
            came_from.append(ways.argmax(0))
            score = ways.max(0) + marginal + _TIE * np.log(emission)
        path = [int(np.argmax(score + _TIE * np.log(end)))]
    for origin in reversed(came_from):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def _marginals(emissions: np.ndarray, steps: Sequence[np.ndarray], end: np.ndarray) -> np.ndarray:
    """(n, states): probability of each level for each vertebra (forward and backward)."""
    forward, backward = [emissions[0] / emissions[0].sum()], [end / end.sum()]
    for emission, step in zip(emissions[1:], steps):
        row = (forward[-1] @ step) * emission
        forward.append(row / row.sum())
    for emission, step in zip(emissions[:0:-1], steps[::-1]):
        row = step @ (emission * backward[-1])
        backward.append(row / row.sum())
    both = np.array(forward) * np.array(backward[::-1])
    return both / both.sum(1, keepdims=True)
