"""What a segmentation holds after a run: the new labels, what of the old one stays, names and colors.

The result is a vtkSegmentation of its own that shares no voxels with the old one, so that nothing has happened to the
scene until it takes the old one's place. (It may share none: a vtkSegmentation that is deleted wipes its labelmaps.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import slicer

from ..known_levels import known_levels
from ..labels import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    DOUBT_TAG,
    STRUCTURES,
    VERTEBRAE,
    Structure,
    algorithm_name,
    levels_known,
    structure,
)
from ..levels import doubt_of
from ..repair import apply
from ..roi import Box, inside
from ..volume import Grid, Volume, count_labels
from .edits import changed_values, remember, repaired_values
from .label_volume import label_volume
from .labelmaps import BINARY_LABELMAP, copy_with, labelmap_from, labelmap_of, on_grid, place_in, voxels_of
from .naming import name_as, without_voxels
from .ours import our_segments, segment_id_of
from .run_regions import keep_region
from .run_warnings import doubt_in

CLOSED_SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


class NothingToWrite(ValueError):
    """None of the labels that were to be written was found."""


def compose(labels: Volume, report: dict, *, old=None, only: set[int] | None = None, box: Box | None = None):
    """The vtkSegmentation that takes the place of `old`; `old` is left as it is.

    Args:
        labels, report, only, box: as `segmentations.write_result` gets them.
        old: vtkSegmentation with binary labelmaps, None where there is no segmentation yet.

    Raises:
        KeyError: a label value that no structure has.
        NothingToWrite: none of the labels is to be written.
    """
    old = old or slicer.vtkSegmentation()
    mapping = _known_names(labels, report, old, only, box)
    if mapping:
        labels = Volume(apply(labels.array, mapping), labels.affine)
    found = {value for value in count_labels(labels.array) if value}
    if found - set(STRUCTURES):
        raise KeyError(f"no structure has the label values {sorted(found - set(STRUCTURES))}")
    wanted = found if only is None else found & only
    if not wanted:
        raise NothingToWrite("none of the labels to be written was found")
    ours = {value: old.GetSegment(segment_id) for value, segment_id in our_segments(old).items()}
    redone = _replaced(set(ours), found, only)
    voxels = _Voxels(labels.grid, stays=set(ours) - redone)
    _add_staying(voxels, {v: s for v, s in ours.items() if box is not None or v in voxels.stays}, box)
    _add_new(voxels, _chosen(labels.array, found, wanted), box)

    content = slicer.vtkSegmentation()
    content.CopyConversionParameters(old)
    content.SetUUIDSegmentIDs(old.GetUUIDSegmentIDs())
    _add_ours(content, voxels, old, report, wanted, redone)
    # Levels that were taken over are as sure as they were, and those beside others no surer than these.
    earlier = doubt_in(old) if box is not None or VERTEBRAE & voxels.stays else ""
    _doubt(content, wanted, earlier if mapping else doubt_of(report) or earlier)
    keep_region(content, old, wanted, box)
    _add_foreign(content, old)
    # Where work of a person is left, voxels outside of the box or levels, the segment stays edited.
    edited = changed_values(old) if box is not None else repaired_values(old) if mapping else set()
    remember(content, (wanted | redone) - edited)
    if old.ContainsRepresentation(CLOSED_SURFACE):
        content.CreateRepresentation(CLOSED_SURFACE)
    return content


def _replaced(ours: set[int], found: set[int], only: set[int] | None) -> set[int]:
    """Values of segments of ours that give way: all, or of the chosen ones those that were found.

    A kind that is chosen whole gives way whole, as what is found may have other levels or none; where nothing of it is
    found, it stays.
    """
    if only is None:
        return ours
    redone = found & only
    for kind in {STRUCTURES[value].kind for value in redone}:
        whole = {value for value, item in STRUCTURES.items() if item.kind == kind}
        if whole <= only:
            redone |= whole
    return redone & ours


def _known_names(labels: Volume, report: dict, old, only: set[int] | None, box: Box | None) -> dict[int, int]:
    """Value in `labels` -> level in `old`, where a part of its levels stays beside them or a person put them right."""
    ours = set(our_segments(old))
    if not (report["levels_known"] and levels_known(ours)):
        return {}
    stays = ours
    if box is None:
        stays = ours - _replaced(ours, set(count_labels(labels.array)) & set(STRUCTURES), only)
    if not (levels_known(stays) or (only is not None and repaired_values(old))):
        return {}
    return known_levels(labels.array, label_volume(old, labels.grid).array)


@dataclass
class _Voxels:
    """Label values on the grid of the volume, and labelmaps of segments that can't lie in one array with the rest.

    stays: values of segments that a run leaves as they are. shared: (k, j, i) uint8. apart: value -> its mask where
    two segments that stay overlap. elsewhere: value -> labelmap on another lattice, and its label there.
    """

    grid: Grid
    stays: set[int]
    shared: np.ndarray | None = None
    apart: dict[int, np.ndarray] = field(default_factory=dict)
    elsewhere: dict[int, tuple[object, int]] = field(default_factory=dict)

    def labelmaps(self) -> dict[int, tuple[object, int]]:
        """Value -> labelmap and label there, of all segments; one that stays may have no voxels."""
        together = labelmap_from(self.shared, self.grid)
        found = {value: (together, value) for value in self.stays | set(count_labels(self.shared)) - {0}}
        found |= {value: (labelmap_from(mask, self.grid), 1) for value, mask in self.apart.items()}
        return found | self.elsewhere


def _add_staying(voxels: _Voxels, staying: dict, box: Box | None) -> None:
    """Puts segments of ours that a run leaves alone, or whose voxels outside of the box it leaves alone."""
    if not staying:
        return
    voxels.shared = np.zeros(voxels.grid.shape, np.uint8)
    within = None if box is None else inside(voxels.grid, box)
    sharing: dict[object, dict[int, int]] = {}
    for value, segment in staying.items():
        if labelmap_of(segment) is not None:
            sharing.setdefault(labelmap_of(segment), {})[segment.GetLabelValue()] = value
    for image, values in sharing.items():
        part = voxels_of(image)
        place = place_in(voxels.grid, part)
        if place is None:
            whole = {label: value for label, value in values.items() if value in voxels.stays}
            copy = copy_with(image, set(whole))
            voxels.elsewhere |= {value: (copy, label) for label, value in whole.items()}
            values = {label: value for label, value in values.items() if label not in whole}
            if not values:
                continue
            part = on_grid(image, voxels.grid)
            place = place_in(voxels.grid, part)
        _put(voxels, part.array, place, values, None if within is None else within[place])


def _put(voxels: _Voxels, labels: np.ndarray, place, values: dict[int, int], within: np.ndarray | None) -> None:
    """Puts labels (k, j, i) at their place, apart where one that is there already would lose voxels."""
    value_of = np.zeros(max(values) + 2, np.uint8)
    value_of[list(values)] = list(values.values())
    gives_way = np.array([value not in voxels.stays for value in range(256)])

    def planes():
        for k, plane in enumerate(labels):
            kept = value_of.take(plane, mode="clip")
            if within is not None:
                kept[within[k] & gives_way[kept]] = 0
            yield kept

    shared = voxels.shared[place]
    overlapping = {int(value) for there, kept in zip(shared, planes()) for value in np.unique(kept[there != 0])} - {0}
    masks = {value: np.zeros(voxels.grid.shape, bool) for value in overlapping}
    voxels.apart |= masks
    for k, (there, kept) in enumerate(zip(shared, planes())):
        for value, mask in masks.items():
            mask[place][k] = kept == value
            kept[kept == value] = 0
        np.copyto(there, kept, where=kept != 0)


def _chosen(labels: np.ndarray, found: set[int], wanted: set[int]) -> np.ndarray:
    """The labels that are wanted, as uint8; no copy where that is all that were found."""
    if wanted == found:
        return labels.astype(np.uint8, copy=False)
    table = np.zeros(max(found) + 1, np.uint8)
    table[list(wanted)] = list(wanted)
    return table[labels]


def _add_new(voxels: _Voxels, labels: np.ndarray, box: Box | None) -> None:
    """Puts new labels wherever no segment of ours stays."""
    if voxels.shared is None:
        voxels.shared = labels
        return
    within = np.broadcast_to(True, labels.shape) if box is None else inside(voxels.grid, box)
    for k, plane in enumerate(voxels.shared):
        free = (plane == 0) & within[k]
        for mask in voxels.apart.values():
            free &= ~mask[k]
        np.copyto(plane, labels[k], where=free)
        for value, mask in voxels.apart.items():
            mask[k] |= plane == value
            plane[plane == value] = 0


def _add_ours(content, voxels: _Voxels, old, report: dict, wanted: set[int], redone: set[int]) -> None:
    """Adds segments in the order of the table of labels, all that share a lattice on one labelmap."""
    ours = our_segments(old)
    labelmaps = voxels.labelmaps()
    for value in STRUCTURES:
        if value not in labelmaps:
            continue
        previous = old.GetSegment(ours[value]) if value in ours else None
        if value in wanted:
            segment = _described(structure(value, levels_known=report["levels_known"]), previous, report["model"])
        else:
            segment = without_voxels(previous)
        if value in redone:
            # "Completed" was said of other voxels.
            segment.RemoveTag(slicer.vtkSlicerSegmentationsModuleLogic.GetStatusTagName())
        image, label = labelmaps[value]
        segment.SetLabelValue(label)
        segment.AddRepresentation(BINARY_LABELMAP, image)
        # The usual ID may be that of a segment that isn't ours, or of one that has got another level since.
        content.AddSegment(segment, ours.get(value) or old.GenerateUniqueSegmentID(segment_id_of(value)))


def _doubt(content, wanted: set[int], doubt: str) -> None:
    """Tags the vertebrae that were written, so that the doubt goes with them wherever they go."""
    for value, segment_id in our_segments(content).items():
        if value in VERTEBRAE & wanted:
            content.GetSegment(segment_id).RemoveTag(DOUBT_TAG)
            if doubt:
                content.GetSegment(segment_id).SetTag(DOUBT_TAG, doubt)


def _add_foreign(content, old) -> None:
    """Adds every segment that isn't ours, voxel for voxel, on copies of the labelmaps that they share."""
    ours = set(our_segments(old).values())
    foreign = {name: old.GetSegment(name) for name in old.GetSegmentIDs() if name not in ours}
    copies: dict[object, object] = {}
    for segment_id, segment in foreign.items():
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image not in copies:
            sharing = {s.GetLabelValue() for s in foreign.values() if s.GetRepresentation(BINARY_LABELMAP) is image}
            copies[image] = copy_with(image, sharing)
        copy = without_voxels(segment)
        copy.AddRepresentation(BINARY_LABELMAP, copies[image])
        content.AddSegment(copy, segment_id)


def _described(item: Structure, previous, model: str):
    """A vtkSegment without voxels that says what `item` says, but for what a person has changed in `previous`."""
    if previous is None:
        segment = slicer.vtkSegment()
        name_as(segment, item)
    else:
        segment = without_voxels(previous)
        name_as(segment, item, [structure(item.value, levels_known=known) for known in (False, True)])
    # Else Slicer's export to DICOM SEG calls it drawn by hand.
    segment.SetTag(ALGORITHM_TYPE_TAG, "AUTOMATIC")
    segment.SetTag(ALGORITHM_NAME_TAG, algorithm_name(model))
    return segment
