"""Predictions against references: reads them, puts both on one grid and one numbering, scores structures and levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import labels
from .errors import InputRefused
from .identification import Identification, identify
from .label_boxes import bounding_box
from .metrics import Agreement, agreement, binary_spine, drop_unscored
from .numbering import Numbering, check_in_verse, listed_values, values_of, voxels_in_verse
from .on_grid import labels_on_grid_of
from .pairing import Pair, find_pairs
from .reading import read_labels_with_notes, read_segments
from .scores import BINARY, CANAL, DISCS, LEVEL_ROWS, SACRUM, VERTEBRAE, Case, Evaluation
from .segment_list import remarks_on_segments
from .volume import Grid, Volume

_THE_TWO = "the prediction", "the reference"


def evaluate(
    prediction: Path,
    reference: Path,
    *,
    reference_numbering: Numbering = "verse",
    on_case: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compares one prediction with one reference, or every prediction in a folder with its reference.

    Single vertebrae (and discs) get rows only where the reference and some prediction tell them apart, and vertebrae
    are then identified as well; a level is scored where the reference has it, and a prediction that doesn't tell them
    apart has missed it. Discs and canal get rows only where the reference has them and some prediction does.

    Args:
        prediction, reference: two files of labels or two folders of them (see `pairing.find_pairs`); predictions hold
            VerSe values.
        reference_numbering: "verse", or "totalsegmentator" (class map "total" of version 2).
        on_case: called with (cases done, cases in all).

    A pair that can't be compared or is unclear is told in `Evaluation.not_compared`, and the others are scored.

    Raises:
        InputRefused: nothing to pair, or of no pair both can be read, have values of their numbering and lie on the
            same grid.
    """
    with _readable(prediction):
        pairs, notes, not_compared = find_pairs(Path(prediction), Path(reference))
    scored, predicted, as_one = [], set(), []
    for done, pair in enumerate(pairs, 1):
        try:
            both = _read(pair, reference_numbering)
        except InputRefused as refusal:
            not_compared.append((pair.name, str(refusal)))
        else:
            structures, case_notes = _agreements(both)
            identification = _identification(both)
            scored.append((pair, structures, identification))
            predicted |= both.predicted_values
            if identification and both.as_one & labels.VERTEBRAE:
                as_one.append(pair.name)
            notes += [f"{pair.name}: {note}" for note in case_notes]
        if on_case:
            on_case(done, len(pairs))
    if not scored:
        raise InputRefused(not_compared[0][1])
    unanswered = _unanswered(predicted)
    levels_asked = labels.levels_known(predicted & labels.VERTEBRAE)
    if as_one:
        outcome = "so that none is identified" if levels_asked else "not among the levels"
        notes.append(f"{', '.join(as_one)}: vertebrae not told apart, {outcome}.")
    if empty := [pair.name for pair, structures, _ in scored if math.isnan(structures[BINARY].dice)]:
        notes.append(f"{', '.join(empty)}: nothing to find in the reference and nothing found, so without figures.")
    cases = [
        Case(
            pair.name, pair.prediction, pair.reference, {n: r for n, r in structures.items() if n not in unanswered},
            identification if levels_asked else None, pair.scan,
        )
        for pair, structures, identification in scored
    ]  # fmt: skip
    return Evaluation(cases, notes, reference_numbering, not_compared)


def _read(pair: Pair, numbering: Numbering) -> _Comparable:
    """Raises InputRefused: the two can't be compared."""
    with _readable(pair.prediction):
        verse = numbering == "verse"
        prediction, notes = read_labels_with_notes(pair.prediction)
        reference, reference_notes = read_labels_with_notes(pair.reference, verse=verse)
        in_verse_values = [pair.prediction, *([pair.reference] if verse else [])]
        remarks = [remark for path in in_verse_values for remark in remarks_on_segments(path.name, read_segments(path))]
    for path, told in ((pair.prediction, notes), (pair.reference, reference_notes)):
        remarks += [f"'{path.name}': {note}" for note in told]
    both = _comparable(prediction, reference, numbering, (f"'{pair.prediction.name}'", f"'{pair.reference.name}'"))
    return replace(both, notes=remarks + both.notes)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises InputRefused: what is read inside, `path` or another file that the error names, can't be."""
    try:
        yield
    except OSError as error:
        file = error.filename or path
        raise InputRefused(f"'{file}' can't be read ({error.strerror or error}): check the file.") from error


def compare(
    prediction: Volume, reference: Volume, *, reference_numbering: Numbering = "verse"
) -> tuple[dict[str, Agreement], list[str]]:
    """Scores one prediction: figures for every structure that the reference can judge, and notes.

    Rows are the binary spine, all vertebrae as one, then (where the reference has them) sacrum, discs and canal, each
    as one, and single vertebrae and discs.

    Raises:
        InputRefused: values that the numbering does not have, or different grids.
    """
    both = _comparable(prediction, reference, reference_numbering, _THE_TWO)
    structures, notes = _agreements(both)
    return {name: row for name, row in structures.items() if LEVEL_ROWS.get(name) not in both.as_one}, notes


def identify_levels(
    prediction: Volume, reference: Volume, names: tuple[str, str] = _THE_TWO
) -> Identification | None:
    """Which vertebrae of the reference got their level; None where either side doesn't tell vertebrae apart.

    An empty prediction has missed them all.

    Raises:
        InputRefused: as `compare`; `names` stand in the message.
    """
    both = _comparable(prediction, reference, "verse", names)
    return None if both.as_one & labels.VERTEBRAE else _identification(both)


@dataclass(frozen=True)
class _Comparable:
    """Both label arrays uint8 (k, j, i), VerSe values, voxel by voxel on `grid`, without what isn't scored.

    predicted_values: all that the prediction holds, not scored ones too. notes: what had to be left out and why.
    """

    predicted: np.ndarray
    referenced: np.ndarray
    grid: Grid
    predicted_values: set[int]
    notes: list[str]

    @property
    def as_one(self) -> set[int]:
        """The values of vertebrae, of discs or of both: what the prediction holds some of and doesn't tell apart."""
        values = set()
        for kind in (labels.VERTEBRAE, labels.DISCS):
            if self.predicted_values & kind and not labels.levels_known(self.predicted_values & kind):
                values |= kind
        return values

    @property
    def named(self) -> np.ndarray:
        """The prediction without what it doesn't tell apart."""
        as_one = self.as_one
        return np.where(_mask_of(as_one)(self.predicted), 0, self.predicted) if as_one else self.predicted


def _comparable(prediction: Volume, reference: Volume, numbering: Numbering, names: tuple[str, str]) -> _Comparable:
    predicted, own_notes = _without_own(labels_on_grid_of(prediction, reference.grid, names), names[0])
    if prediction.array.size < reference.array.size:
        own_notes = [*own_notes, f"{names[0]} covers a part of the grid of {names[1]}; beyond, it counts as empty."]
    values = values_of(predicted)
    check_in_verse(values, names[0])
    referenced, more_notes = _without_own(reference.array, names[1])
    referenced, notes = voxels_in_verse(referenced, numbering, names[1])
    predicted, referenced = drop_unscored(predicted.astype(np.uint8), referenced)
    return _Comparable(predicted, referenced, reference.grid, values, own_notes + more_notes + notes)


def _without_own(array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Labels without the segments of a person that the module exports beside its own, and a note on these."""
    own = {value for value in values_of(array) if value >= labels.FIRST_OWN_VALUE}
    if not own:
        return array, []
    left = np.where(array < labels.FIRST_OWN_VALUE, array, 0)
    return left, [f"{name} holds segments of somebody's own ({listed_values(own)}), which are not compared."]


def _identification(both: _Comparable) -> Identification | None:
    """None where the reference doesn't tell vertebrae apart."""
    if not labels.levels_known(values_of(both.referenced) & labels.VERTEBRAE):
        return None
    affine = both.grid.affine
    return identify(Volume(both.named, affine), Volume(both.referenced, affine))


def _agreements(both: _Comparable) -> tuple[dict[str, Agreement], list[str]]:
    predicted, named, referenced, grid = both.predicted, both.named, both.referenced, both.grid
    values, notes = both.predicted_values, list(both.notes)
    box = bounding_box((predicted != 0) | (referenced != 0))
    if box:
        predicted, named, referenced, grid = predicted[box], named[box], referenced[box], grid.crop(box)
    reference_values = values_of(referenced)
    extra = (values & labels.VERTEBRAE) - reference_values
    if extra and labels.levels_known(values) and labels.levels_known(reference_values):
        levels = [labels.structure(value).abbreviation for value in labels.LEVEL_ORDER if value in extra]
        notes.append(f"predicted and not in the reference: {', '.join(levels)}.")
    if grid.is_sheared:
        notes.append("no surface distances, since the grid has oblique axes (tilted gantry).")
    structures: dict[str, Agreement] = {}
    only_vertebrae = not (reference_values | values_of(predicted)) & (labels.BINARY_SPINE - labels.VERTEBRAE)
    for name, mask in _masks(reference_values).items():
        if name == VERTEBRAE and only_vertebrae:
            structures[name] = structures[BINARY]
        else:
            structures[name] = agreement(mask(named if name in LEVEL_ROWS else predicted), mask(referenced), grid)
    return structures, notes


def _masks(values: set[int]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Row name -> function from labels to the mask of that row, for what a reference that holds `values` can judge."""
    masks = {BINARY: binary_spine, VERTEBRAE: _mask_of(labels.VERTEBRAE)}
    for name, group in ((SACRUM, {labels.SACRUM}), (DISCS, labels.DISCS), (CANAL, {labels.CANAL})):
        if values & group:
            masks[name] = _mask_of(group)
    for kind in (labels.VERTEBRAE, labels.DISCS):
        if labels.levels_known(values & kind):
            masks |= {name: _mask_of({value}) for name, value in LEVEL_ROWS.items() if value in values & kind}
    return masks


def _mask_of(group: Iterable[int]) -> Callable[[np.ndarray], np.ndarray]:
    chosen = np.zeros(256, dtype=bool)
    chosen[list(group)] = True
    return lambda array: chosen[array]


def _unanswered(predicted: set[int]) -> set[str]:
    """Rows that no prediction tries to answer, given the values in all of them together."""
    rows = set()
    for kind in (labels.VERTEBRAE, labels.DISCS):
        if not labels.levels_known(predicted & kind):
            rows |= {name for name, value in LEVEL_ROWS.items() if value in kind}
    if not predicted & labels.DISCS:
        rows.add(DISCS)
    if labels.CANAL not in predicted:
        rows.add(CANAL)
    return rows
