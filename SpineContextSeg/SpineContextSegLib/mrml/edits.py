"""Has a person edited what we wrote? Our segments carry fingerprints of their voxels, saved with the scene."""

from __future__ import annotations

import hashlib

import numpy as np

from ..labels import FINGERPRINT_TAG, VALUE_TAG, VERTEBRAE
from ..volume import Volume
from .labelmaps import labelmap_of, voxels_of
from .ours import our_segments, our_values, tag

WRITTEN_ATTRIBUTE = "SpineContextSeg.Values"
_EMPTY = "empty"
# Positions that went through a file differ by rounding.
_TOLERANCE_MM = 1e-3


def is_edited(segmentation_node) -> bool:
    """Whether a run into this node would overwrite work of a person, see `edited_values`."""
    return bool(edited_values(segmentation_node))


def edited_values(segmentation_node) -> set[int]:
    """Label values of our segments whose voxels are not those that we wrote, or that were removed.

    A name, color, or segment that was added is no edit: a run leaves them alone. Neither is an edit that was undone.
    A segment that we never remembered (read from DICOM SEG, or a file of the command line) counts as edited, and so
    does one whose level was put right (`levels`).
    """
    return changed_values(segmentation_node.GetSegmentation()) | removed_values(segmentation_node)


def removed_values(segmentation_node) -> set[int]:
    """Label values of segments that we wrote into this node and that a person removed."""
    written = {int(value) for value in (segmentation_node.GetAttribute(WRITTEN_ATTRIBUTE) or "").split()}
    return written - set(our_values(segmentation_node))


def repaired_values(segmentation) -> set[int]:
    """Vertebrae in a vtkSegmentation whose levels a person has put right (`levels`)."""
    segments = {value: segmentation.GetSegment(name) for value, name in our_segments(segmentation).items()}
    there = VERTEBRAE & segments.keys()
    # The command line's files have neither tag.
    return {v for v in there if tag(segments[v], VALUE_TAG) and not tag(segments[v], FINGERPRINT_TAG)}


def changed_values(segmentation) -> set[int]:
    """Label values of our segments in a vtkSegmentation whose voxels are not those that `remember` saw."""
    ours = our_segments(segmentation)
    return {
        value
        for value, now in fingerprints(segmentation).items()
        if not _same(tag(segmentation.GetSegment(ours[value]), FINGERPRINT_TAG), now)
    }


def remember(segmentation, values: set[int]) -> None:
    """Marks the voxels of these segments of ours, as they are now, as written by us and not by a person."""
    ours = our_segments(segmentation)
    for value, fingerprint in fingerprints(segmentation).items():
        if value in values:
            segmentation.GetSegment(ours[value]).SetTag(FINGERPRINT_TAG, fingerprint)


def fingerprints(segmentation) -> dict[int, str]:
    """Label value -> fingerprint of our segments in a vtkSegmentation; equal as long as no voxel changes or moves."""
    shared: dict[object, dict[int, int]] = {}
    found = {}
    for value, segment_id in our_segments(segmentation).items():
        segment = segmentation.GetSegment(segment_id)
        image = labelmap_of(segment)
        found[value] = _EMPTY
        if image is not None:
            shared.setdefault(image, {})[segment.GetLabelValue()] = value
    for image, value_of_label in shared.items():
        for label, fingerprint in _label_fingerprints(voxels_of(image)).items():
            if label in value_of_label:
                found[value_of_label[label]] = fingerprint
    return found


def _label_fingerprints(labels: Volume) -> dict[int, str]:
    """For every label its shape, as a hash, and the positions of four corners of its bounding box.

    Told by runs of voxels counted from the corner of the bounding box, so it does not matter how far around the segment
    the labelmap reaches, what number the segment has, nor which others share the labelmap.
    """
    starts, lengths, values = _runs(labels.array)
    order = np.argsort(values, kind="stable")
    starts, lengths, values = starts[order], lengths[order], values[order]
    numbers, first = np.unique(values, return_index=True)
    k, rest = np.divmod(starts, labels.array[0].size)
    j, i = np.divmod(rest, labels.array.shape[2])
    found = {}
    for number, begin, end in zip(numbers, first, [*first[1:], len(values)]):
        runs = np.stack([axis[begin:end] for axis in (i, j, k)])
        last = runs.max(axis=1)
        last[0] = (runs[0] + lengths[begin:end] - 1).max()
        low = runs.min(axis=1)
        shape = np.vstack([runs - low[:, None], lengths[begin:end]]).astype("<i4")
        digest = hashlib.blake2b(shape.tobytes(), digest_size=16).hexdigest()
        corners = low + np.vstack([np.zeros(3), np.diag(last - low + 1)])
        positions = " ".join(f"{mm:.6f}" for mm in labels.grid.world(corners).ravel())
        found[int(number)] = f"{digest} {positions}"
    return found


def _runs(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of equal labels along i, none over the end of a row: flat index of the first voxel, length, label but 0."""
    flat = array.ravel()
    begins = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[:: array.shape[2]] = True
    starts = np.flatnonzero(begins)
    values, lengths = flat[starts], np.diff(starts, append=flat.size)
    used = values != 0
    return starts[used], lengths[used], values[used]


def _same(remembered: str, now: str) -> bool:
    shape, *positions = remembered.split() or [""]
    shape_now, *positions_now = now.split()
    if shape != shape_now or len(positions) != len(positions_now):
        return False
    return np.allclose(np.array(positions, float), np.array(positions_now, float), rtol=0.0, atol=_TOLERANCE_MM)
