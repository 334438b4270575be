"""From a result to a segmentation node: written at once, to the voxel, and beside its volume."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import slicer

from ..errors import InputRefused
from ..labels import TERMINOLOGY_CONTEXT
from ..roi import Box
from ..volume import Volume
from .composition import compose
from .edits import WRITTEN_ATTRIBUTE, removed_values
from .labelmaps import BINARY_LABELMAP, REFERENCE_GEOMETRY, labelmap_of, place_in, voxels_of
from .ours import our_values
from .run_warnings import keep_warnings
from .volumes import refusal, volume_from_node


def write_result(
    volume_node,
    labels: Volume,
    report: dict,
    *,
    segmentation_node=None,
    only: set[int] | None = None,
    box: Box | None = None,
):
    """Puts labels into a segmentation node; either all of it happens or nothing.

    Segments of ours share one labelmap on the volume's voxels, in the order of the table of labels, with name, color,
    terminology and a fingerprint of their voxels (`edits`). The node gets the volume as its reference (DICOM SEG needs
    it), the volume's parent transform, its place in the subject hierarchy, and the warnings (`run_warnings`).

    Into a node that is there: segments of ours are replaced, with those that are no longer found; names, colors and
    codes that a person gave them stay, and so do the ways in which they are shown. Segments that aren't ours stay to
    the voxel, even where new ones overlap them. The node's vtkSegmentation object is a new one afterwards, so that the
    history of every Segment Editor starts anew: undo can't bring the old voxels back piecemeal. Where `only` or `box`
    spares levels of the node, new labels are named after them (`known_levels`); where a person has put levels right,
    also with an `only` that spares none.

    Args:
        volume_node: what was segmented.
        labels: (k, j, i) uint8 in label values, on the volume's own grid.
        report: `levels_known`, `model` and, where there are any, `levels` and `warnings` of `pipeline.Result.report()`.
        segmentation_node: written into; None makes "<name of the volume> spine".
        only: label values to write. All other segments stay to the voxel, and where they are there is no room for new
            voxels. Of a kind that is chosen whole (vertebrae, discs...) all segments give way where any of it was
            found; else a value of these that was not found stays as it was.
        box: a region in the volume's own RAS outside of which all voxels stay.

    Returns:
        The segmentation node.

    Raises:
        InputRefused: as `volumes.refusal` and `output_refusal` say, or the labels are not on the volume's grid.
        NothingToWrite: there is no label to be written.
        KeyError: a label value that no structure has.
    """
    for sentence in (refusal(volume_node), output_refusal(segmentation_node)):
        if sentence:
            raise InputRefused(sentence)
    if not labels.grid.same_as(volume_from_node(volume_node).grid):
        raise InputRefused(
            f"'{volume_node.GetName()}' was moved, resampled or replaced while it was segmented: segment it again."
        )
    old = None if segmentation_node is None else segmentation_node.GetSegmentation()
    content = compose(labels, report, old=old, only=only, box=box)
    # Around a box, and of what was not chosen, the segments that a person removed are still missing.
    still_removed = set() if segmentation_node is None else removed_values(segmentation_node)
    if box is None:
        still_removed -= still_removed if only is None else only
    with _one_step(volume_node.GetScene(), segmentation_node, f"{volume_node.GetName()} spine") as node:
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        node.SetAndObserveSegmentation(content)
        _set_reference(node, volume_node, labels)
        node.SetAttribute(WRITTEN_ATTRIBUTE, " ".join(map(str, still_removed | set(our_values(node)))))
        keep_warnings(node, report, before=segmentation_node, only=only, box=box)
        # Views list segments when they are told of one; told of none by name, they look at all.
        for event in (content.SegmentAdded, content.SegmentsOrderModified):
            content.InvokeEvent(event)
        place_beside(volume_node, node)
    if old is not None:
        _discard(old)
    return node


def output_refusal(segmentation_node) -> str | None:
    """Why no result can be written into this node (None: a new one) and what to do, in one sentence; else None."""
    if segmentation_node is None:
        return None
    segmentation = segmentation_node.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
        return (
            f"The segments of '{segmentation_node.GetName()}' are not made of voxels: choose another segmentation for "
            "the result, or make its binary labelmap the source representation in the Segmentations module."
        )
    return None


def load_terminology(path: str | Path) -> None:
    """Makes our list of codes known to Slicer's terminology selector, unless it is known already.

    Raises:
        OSError: the file is missing or no such list.
    """
    logic = slicer.modules.terminologies.logic()
    if not logic.IsTerminologyContextLoaded(TERMINOLOGY_CONTEXT):
        if logic.LoadTerminologyFromFile(str(path)) != TERMINOLOGY_CONTEXT:
            raise OSError(f"'{path}' is not the list of codes of this extension: install the extension again.")


@contextmanager
def _one_step(scene, segmentation_node, name: str):
    """The node to be changed, a new one if need be; whoever watches it or the scene hears of all changes at once."""
    scene.StartState(scene.BatchProcessState)
    node = segmentation_node or scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    was_modifying = node.StartModify()
    try:
        node.CreateDefaultDisplayNodes()
        yield node
    finally:
        scene.EndState(scene.BatchProcessState)
        # Only now, as views of slices pass over what they are told in that state.
        node.EndModify(was_modifying)


def _discard(segmentation) -> None:
    """Empties a vtkSegmentation that nobody else holds: on its deletion it would part every segment from the others."""
    if segmentation.GetReferenceCount() == 1:
        for segment_id in segmentation.GetSegmentIDs():
            segmentation.GetSegment(segment_id).RemoveRepresentation(BINARY_LABELMAP)


def _set_reference(node, volume_node, labels: Volume) -> None:
    """Makes the volume the node's reference; the geometry only where no segment that stays lies on another one.

    Segments are brought to that geometry when they are saved, so it must not change under voxels that a person drew.
    """
    segmentation = node.GetSegmentation()
    images = {labelmap_of(segmentation.GetSegment(name)) for name in segmentation.GetSegmentIDs()} - {None}
    has_geometry = bool(segmentation.GetConversionParameter(REFERENCE_GEOMETRY))
    if has_geometry and any(place_in(labels.grid, voxels_of(image)) is None for image in images):
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volume_node.GetID())
    else:
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)


def place_beside(other, node) -> None:
    """Puts a node under the study or folder of another one, where a subject hierarchy holds that, but out of no folder.

    A person has put it there.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(other.GetScene())
    item_of_other = hierarchy.GetItemByDataNode(other)
    if not item_of_other:
        return
    item = hierarchy.GetItemByDataNode(node)
    folder = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyLevelFolder()
    if not item:
        hierarchy.CreateItem(hierarchy.GetItemParent(item_of_other), node)
    elif hierarchy.GetItemLevel(hierarchy.GetItemParent(item)) != folder:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(item_of_other))
