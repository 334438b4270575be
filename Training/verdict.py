"""Is one model better than another? Judged on scans that neither of them was trained on."""

from __future__ import annotations

from dataclasses import dataclass

# Less than this is what another choice of scans or 8 bits do by themselves.
_LEAST_GAIN = 0.002
_MOST_LOSS = 0.01  # of Dice, on any single scan
_GUARD = "a scan of another kind"


@dataclass(frozen=True)
class Judged:
    """What a model did on a scan: binary Dice; of the vertebrae wholly in view, how many are `identified` of `asked`
    (0 of 0 where nobody labelled levels)."""

    dice: float
    identified: int
    asked: int


@dataclass(frozen=True)
class Verdict:
    """`better`, and one sentence that says why (not)."""

    better: bool
    reason: str


def judge(before: dict[str, Judged], after: dict[str, Judged], guard_before: Judged, guard_after: Judged) -> Verdict:
    """Compare two models on the same scans.

    Better is a higher mean Dice on the scans of the data set that were held out, while none of them, nor a scan of
    another kind, the `guard`, gets clearly worse or has a vertebra fewer at its right level: a network that learns a
    new scanner forgets others.
    """
    names = list(before)
    gain = sum(after[name].dice - before[name].dice for name in names) / len(names)
    losses = {name: before[name].dice - after[name].dice for name in names}
    worst = max(names, key=losses.get)
    # Scan by scan: a vertebra gained on one doesn't make up for one lost on another.
    levels = {name: (before[name].identified, after[name].identified) for name in names}
    levels[_GUARD] = guard_before.identified, guard_after.identified
    if losses[worst] > _MOST_LOSS:
        return Verdict(False, f"Not better: {worst} lost {losses[worst]:.3f} of Dice.")
    for name, (had, has) in levels.items():
        if has < had:
            return Verdict(False, f"Not better: on {name}, {has} vertebrae got their level instead of {had}.")
    if guard_before.dice - guard_after.dice > _MOST_LOSS:
        return Verdict(
            False, f"Not better: on {_GUARD}, Dice fell from {guard_before.dice:.3f} to {guard_after.dice:.3f}."
        )
    if gain < _LEAST_GAIN:
        return Verdict(False, f"Not better: the mean Dice changed by {gain:+.4f}, which chance does, too.")
    on = f"{len(names)} held-out scans." if len(names) > 1 else "one held-out scan, which is little to judge by."
    return Verdict(True, f"Better: the mean Dice rose by {gain:.4f} on {on}")
