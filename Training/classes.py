"""What the network tells apart, and which of it each source of labels can teach.

A source that lacks a class (a real mask knows "vertebra", not "arch") still teaches the rest: the loss adds up the
probabilities of the classes that the source doesn't separate, see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

CLASSES = (
    "background", "vertebral_body", "posterior_elements", "sacrum", "disc", "spinal_canal", "rib", "other_bone",
)  # fmt: skip
BACKGROUND, BODY, POSTERIOR, SACRUM, DISC, CANAL, RIB, OTHER_BONE = range(len(CLASSES))
SPINE = (BODY, POSTERIOR, SACRUM)
VERTEBRA = (BODY, POSTERIOR)

# Row: source; column: class; value: the class of the source's targets that stands for it.
SOURCES = {
    "generated": tuple(range(len(CLASSES))),
    # Bodies and arches are one vertebra; ribs, skull, pelvis and coccyx are background.
    "vertebrae": (BACKGROUND, BODY, BODY, SACRUM, DISC, CANAL, BACKGROUND, BACKGROUND),
}


def merge_matrix(source: str, lacking: Collection[int] = ()) -> torch.Tensor:
    """(classes, classes) float32: row g sums the classes that targets of `source` call g, or background those `lacking`
    in them."""
    groups = torch.tensor([BACKGROUND if group in lacking else group for group in SOURCES[source]])
    return torch.nn.functional.one_hot(groups, len(CLASSES)).T.float()


def spine_union(probabilities: torch.Tensor) -> torch.Tensor:
    """(n, classes, ...) -> (n, 1, ...): the binary spine, vertebra or sacrum."""
    return probabilities[:, list(SPINE)].sum(1, keepdim=True)
