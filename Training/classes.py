"""What a network tells apart, and which of it each source of labels can teach.

A source that lacks a class (a real mask knows "vertebra", not "arch") still teaches the rest: the loss adds up the
probabilities of the classes that the source doesn't separate, see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.labels import LEVEL_ORDER, structure
from SpineContextSegLib.labels import SACRUM as SACRUM_VALUE

IGNORED = 255

CLASSES = (
    "background", "vertebral_body", "posterior_elements", "sacrum", "disc", "spinal_canal", "rib", "other_bone",
)  # fmt: skip
BACKGROUND, BODY, POSTERIOR, SACRUM, DISC, CANAL, RIB, OTHER_BONE = range(len(CLASSES))
SPINE = (BODY, POSTERIOR, SACRUM)
VERTEBRA = (BODY, POSTERIOR)

# Row: source; column: class; value: the class of the source's targets that stands for it.
SOURCES = {
    "generated": tuple(range(len(CLASSES))),
    # Bodies and arches are one vertebra; ribs, skull and pelvis are background.
    "vertebrae": (BACKGROUND, BODY, BODY, SACRUM, DISC, CANAL, BACKGROUND, BACKGROUND),
    # A label map of a whole body: ribs and other bones are drawn, the canal isn't.
    "label_map": (BACKGROUND, BODY, BODY, SACRUM, DISC, BACKGROUND, RIB, OTHER_BONE),
}

# A supernumerary vertebra is rare, and looks like the one above it: it counts as that one, twice in a row. What it is
# follows from the whole column (`SpineContextSegLib/levels.py`).
COUNTS_AS = {28: 19, 25: 24}
LEVELS = tuple(value for value in LEVEL_ORDER if value not in COUNTS_AS)


def level_name(value: int) -> str:
    """The class of a level: "C1" to "L5", "sacrum"."""
    return "sacrum" if value == SACRUM_VALUE else structure(value).abbreviation


@dataclass(frozen=True)
class Vocabulary:
    """What a network tells apart.

    classes: as in its card. spine: the numbers of those that make up the binary spine. sources: source of labels ->
    for each class, the class of the source's targets that stands for it. separate: whether every class has to be told
    apart from its neighbours in each patch, or may stay a question of probability (levels, where no anchor is in view).
    """

    classes: tuple[str, ...]
    spine: tuple[int, ...]
    sources: Mapping[str, tuple[int, ...]]
    separate: bool

    def merge_matrix(self, source: str) -> Tensor:
        """(classes, classes) float32: row g sums the classes that targets of `source` call g."""
        groups = torch.tensor(self.sources[source])
        return torch.nn.functional.one_hot(groups, len(self.classes)).T.float()

    def spine_union(self, probabilities: Tensor) -> Tensor:
        """(n, classes, ...) -> (n, 1, ...): the binary spine, vertebra or sacrum."""
        return probabilities[:, list(self.spine)].sum(1, keepdim=True)

    def target(self, label: Tensor, level: Tensor) -> Tensor:
        """What the network should say: `label` uint8 classes of anatomy, 255 = ignore; `level` uint8 VerSe values."""
        if self is ANATOMY:
            return label
        numbers = torch.zeros(256, dtype=torch.uint8)
        for number, value in enumerate(LEVELS, start=1):
            numbers[value] = number
        for value, other in COUNTS_AS.items():
            numbers[value] = numbers[other]
        bone = (label >= min(SPINE)) & (label <= max(SPINE))
        return torch.where(label == IGNORED, label, numbers.to(level.device)[level.long()] * bone)


ANATOMY = Vocabulary(CLASSES, SPINE, SOURCES, separate=True)
COLUMN = Vocabulary(
    ("background", *map(level_name, LEVELS)),
    tuple(range(1, len(LEVELS) + 1)),
    {source: tuple(range(len(LEVELS) + 1)) for source in ("generated", "vertebrae")},
    separate=False,
)
"""Every vertebra on its own, for a coarse network that sees much of the column at once."""


def vocabulary_of(card: ModelCard) -> Vocabulary:
    """The one whose classes the card has. Raises ValueError when none has them."""
    for vocabulary in (ANATOMY, COLUMN):
        if vocabulary.classes == card.classes:
            return vocabulary
    raise ValueError(f"Nothing here teaches the classes of {card.name}: {', '.join(card.classes)}.")
