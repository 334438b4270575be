"""Cross-entropy and Dice over the classes that a source of labels separates; distance of the offsets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot, smooth_l1_loss

from SpineContextSegLib.labels import IGNORED

from .classes import CLASSES, spine_union

# Below this many voxels a class is too small in a patch for its Dice to be a steady signal.
_SMALLEST_CLASS_VOXELS = 20
_DICE_SMOOTH = 10.0
_LEAST_PROBABILITY = 1e-6
# Of the unit of the offsets, 10 mm: an error that is noise of the labels counts by its square.
_SMALL_OFFSET = 0.2


def merged_probabilities(logits: Tensor, merge: Tensor) -> Tensor:
    """Softmax of `logits` (n, classes, d, h, w), summed by `merge` (n, classes, classes) of `classes.merge_matrix`."""
    return torch.einsum("ngc,ncdhw->ngdhw", merge, torch.softmax(logits.float(), 1))


def segmentation_loss(logits: Tensor, target: Tensor, merge: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy + mean soft Dice loss over the classes present + soft Dice loss of the binary spine.

    `logits` (n, classes, d, h, w); `target` uint8 (n, d, h, w) with 255 = ignore; `merge` (n, classes, classes).
    Returns the loss and its parts, detached.
    """
    probabilities = merged_probabilities(logits, merge)
    known = target != IGNORED
    truth = torch.where(known, target, 0).long()
    likelihood = probabilities.gather(1, truth[:, None])[:, 0].clamp_min(_LEAST_PROBABILITY)
    cross_entropy = -(likelihood.log() * known).sum() / known.sum().clamp_min(1)

    in_class = one_hot(truth, len(CLASSES)).movedim(-1, 1) * known[:, None]
    probabilities = probabilities * known[:, None]
    truth_sets = torch.cat([in_class[:, 1:], spine_union(in_class)], 1).float()
    found_sets = torch.cat([probabilities[:, 1:], spine_union(probabilities)], 1)
    overlap = (truth_sets * found_sets).sum((0, 2, 3, 4))
    sizes = truth_sets.sum((0, 2, 3, 4)), found_sets.sum((0, 2, 3, 4))
    dice = (2 * overlap + _DICE_SMOOTH) / (sizes[0] + sizes[1] + _DICE_SMOOTH)
    present = (sizes[0] > _SMALLEST_CLASS_VOXELS).float()
    class_loss = ((1 - dice[:-1]) * present[:-1]).sum() / present[:-1].sum().clamp_min(1)
    spine_loss = (1 - dice[-1]) * present[-1]
    parts = {"cross_entropy": cross_entropy, "class_dice": 1 - class_loss, "spine_dice": dice[-1]}
    return cross_entropy + class_loss + spine_loss, {name: part.detach() for name, part in parts.items()}


def offset_loss(found: Tensor, truth: Tensor) -> Tensor:
    """Mean smooth L1 distance of the offsets (n, 3, d, h, w), in the card's unit, where the truth isn't NaN."""
    known = torch.isfinite(truth)
    if not known.any():
        return found.sum() * 0.0
    return smooth_l1_loss(found.float()[known], truth[known], beta=_SMALL_OFFSET)
