"""Volumes in a sequence (4D CT): what its frames are, and a segmentation that changes with them.

A sequence browser shows one frame at a time through proxy nodes in the scene. The segmentations of all frames become a
sequence of their own in the same browser, with one segmentation node as its proxy; what a person edits there is kept
with the frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import slicer

from ..errors import InputRefused
from ..labels import STRUCTURES
from ..roi import Box
from ..volume import Volume
from .composition import CLOSED_SURFACE, NothingToWrite, compose
from .edits import WRITTEN_ATTRIBUTE, is_edited, remember
from .labelmaps import BINARY_LABELMAP, REFERENCE_GEOMETRY
from .ours import our_segments
from .run_warnings import keep_warnings
from .segmentations import output_refusal, write_result
from .volumes import volume_from_node


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of a volume, numbered from 0 on.

    browser: shows them. sequence: holds them. volume_node: what stands for the current one in the scene.
    """

    browser: object
    sequence: object
    volume_node: object

    @property
    def count(self) -> int:
        return self.sequence.GetNumberOfDataNodes()

    @property
    def current(self) -> int:
        """The frame that the browser shows."""
        shown = self.browser.GetMasterSequenceNode().GetNthIndexValue(self.browser.GetSelectedItemNumber())
        return self.sequence.GetItemNumberFromIndexValue(shown, False)

    def volume(self, number: int):
        """The volume node of a frame, only to be read: it is not in the scene, and nothing is selected for it."""
        return self.sequence.GetNthDataNode(number)


def frames_of(volume_node) -> Frames | None:
    """The frames among which `volume_node` stands for one, or None where it is in no sequence or the only frame."""
    if volume_node is None:
        return None
    found = _frames(volume_node)
    return found if found and found.count > 1 else None


def select_frame(frames: Frames, number: int) -> None:
    """Makes the browser show a frame."""
    frames.browser.SetSelectedItemByIndexValue(frames.sequence.GetNthIndexValue(number), False)


def write_frames(
    volume_node,
    results: Iterable[tuple[int, Volume, dict]],
    *,
    segmentation_node=None,
    own_frame: int | None = None,
    only: set[int] | None = None,
    box: Box | None = None,
):
    """Puts the labels of all frames into one segmentation node that changes with the volume; all of it or nothing.

    Every frame gets the same list of segments, without voxels where a frame doesn't show one. Written again into the
    same node, each frame is updated as `segmentations.write_result` updates a node; a frame in which nothing to be
    written was found stays as it was.

    Args:
        volume_node: what `frames_of` knows.
        results: (number of the frame, labels on its grid, report) as `write_result` gets them, each frame once. Taken
            one by one, so that they can come from files.
        segmentation_node: None makes "<name of the volume> spine".
        own_frame: the frame that a node in no sequence is of, for which it keeps what it holds; None for the current
            one.

    Returns:
        The segmentation node, showing the frame that was shown before.

    Raises:
        InputRefused: as `write_result`; or the node shows another sequence, or the volume has no frames.
        ValueError: a frame is missing or there twice, or labels are not on the grid of their frame.
        NothingToWrite: nothing to be written was found in any frame.
    """
    frames = frames_of(volume_node)
    if frames is None:
        raise InputRefused(f"'{volume_node.GetName()}' is not part of a sequence any more: segment it by itself.")
    refused = output_refusal(segmentation_node)
    if refused:
        raise InputRefused(refused)
    sequence = _sequence_for(segmentation_node, frames)
    contents, reports, seen = {}, {}, None
    for number, labels, report in results:
        if number in contents or not 0 <= number < frames.count:
            raise ValueError(f"there is no frame {number}, or it came twice")
        if not labels.grid.same_as(volume_from_node(frames.volume(number)).grid):
            raise ValueError(f"the labels are not on the grid of frame {number}")
        old = _content_of(number, frames, segmentation_node, sequence, own_frame)
        reports[number] = report
        try:
            contents[number] = compose(labels, report, old=old, only=only, box=box)
        except NothingToWrite:
            contents[number] = _copy_of(old)
        else:
            seen = seen or (number, labels, report)
    if len(contents) != frames.count:
        raise ValueError(f"{len(contents)} of {frames.count} frames have a result")
    if seen is None:
        raise NothingToWrite("none of the labels to be written was found in any frame")
    written = _complete(contents)

    scene, selected = volume_node.GetScene(), frames.browser.GetSelectedItemNumber()
    scene.StartState(scene.BatchProcessState)
    try:
        # The node is made for a frame that shows something, on the grid of that frame.
        number, labels, report = seen
        select_frame(frames, number)
        node = write_result(volume_node, labels, report, segmentation_node=segmentation_node, only=only, box=box)
        if sequence is None:
            sequence = _new_sequence(frames, node)
        _fill(sequence, frames, contents, reports, written, like=node, only=only, box=box)
        # Else whatever a person draws would be gone at the next frame.
        frames.browser.SetSaveChanges(sequence, True)
        frames.browser.SetSelectedItemNumber(selected)
    finally:
        scene.EndState(scene.BatchProcessState)
    node.Modified()  # in that state, views of slices pass over what they are told
    return node


def edited_frames(segmentation_node) -> list[int]:
    """Numbers of the frames that a person has edited in a node of `write_frames`, as `edits.is_edited` tells it.

    Empty where the node is in no sequence: `edits.is_edited` says all there is to say of such a node.
    """
    found = _frames(segmentation_node)
    if found is None:
        return []
    return [number for number in range(found.count) if is_edited(found.sequence.GetNthDataNode(number))]


def contents_of(segmentation_node) -> list:
    """The vtkSegmentation of every frame that the node stands for; its own where it is in no sequence."""
    found = _frames(segmentation_node)
    if found is None:
        return [segmentation_node.GetSegmentation()]
    return [found.volume(number).GetSegmentation() for number in range(found.count)]


def make_surfaces(segmentation_node) -> None:
    """Makes the surfaces that a 3D view shows, in every frame: the others' don't come by themselves."""
    for content in contents_of(segmentation_node):
        content.CreateRepresentation(CLOSED_SURFACE)


def _frames(node) -> Frames | None:
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(node)
    sequence = browser.GetSequenceNode(node) if browser else None
    return Frames(browser, sequence, node) if sequence else None


def _sequence_for(segmentation_node, frames: Frames):
    """The sequence that the node stands for in the browser of the frames, None where it is in no sequence."""
    found = _frames(segmentation_node) if segmentation_node else None
    if found is None:
        return None
    if found.browser is not frames.browser:
        raise InputRefused(
            f"'{segmentation_node.GetName()}' shows another sequence than '{frames.volume_node.GetName()}': choose "
            "another segmentation for the result."
        )
    return found.sequence


def _content_of(number: int, frames: Frames, segmentation_node, sequence, own_frame: int | None):
    """The vtkSegmentation that a frame had so far, or None."""
    if sequence is not None:
        node = sequence.GetDataNodeAtValue(frames.sequence.GetNthIndexValue(number))
        return node.GetSegmentation() if node else None
    if segmentation_node is not None and number == (frames.current if own_frame is None else own_frame):
        return segmentation_node.GetSegmentation()
    return None


def _copy_of(content):
    copy = slicer.vtkSegmentation()
    if content is None:
        copy.SetSourceRepresentationName(BINARY_LABELMAP)
    else:
        copy.DeepCopy(content)
    return copy


def _complete(contents: dict[int, object]) -> list[int]:
    """Adds to every frame the segments of ours that only others have, without voxels; the values that all have now."""
    examples = {}
    for content in contents.values():
        for value, segment_id in our_segments(content).items():
            examples.setdefault(value, (segment_id, content.GetSegment(segment_id)))
    order = [value for value in STRUCTURES if value in examples]
    for content in contents.values():
        ours = our_segments(content)
        following = next((name for name in content.GetSegmentIDs() if name not in ours.values()), "")
        for value in reversed(order):
            if value in ours:
                following = ours[value]
                continue
            segment_id, example = examples[value]
            empty = slicer.vtkSegment()
            empty.DeepCopyMetadata(example)
            empty.AddRepresentation(BINARY_LABELMAP, slicer.vtkOrientedImageData())
            # A frame whose levels were put right has that ID for another value.
            segment_id = content.GenerateUniqueSegmentID(segment_id)
            content.AddSegment(empty, segment_id, following)
            following = segment_id
        remember(content, set(order) - set(ours))
    return order


def _new_sequence(frames: Frames, node):
    """An empty sequence in the browser, with `node` to show it."""
    sequence = node.GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", f"{node.GetName()}-Sequence")
    sequence.SetIndexName(frames.sequence.GetIndexName())
    sequence.SetIndexUnit(frames.sequence.GetIndexUnit())
    sequence.SetIndexType(frames.sequence.GetIndexType())
    # Were it filled first, the browser would make a node of its own to show it.
    slicer.modules.sequences.logic().AddSynchronizedNode(sequence, node, frames.browser)
    return sequence


def _fill(
    sequence, frames: Frames, contents: dict[int, object], reports: dict[int, dict], written: list[int], *, like,
    only: set[int] | None, box: Box | None,
) -> None:  # fmt: skip
    """Puts a copy of every content into the sequence, in place of what it has for that frame, with its warnings.

    Args:
        written: see `edits.WRITTEN_ATTRIBUTE`. Attributes go with a frame: the browser overwrites those of its node.
        like: segmentation node whose attributes a new frame gets.
    """
    was_modifying = sequence.StartModify()
    try:
        for number, content in sorted(contents.items()):
            index_value = frames.sequence.GetNthIndexValue(number)
            frame = slicer.vtkMRMLSegmentationNode()
            before = sequence.GetDataNodeAtValue(index_value)
            frame.CopyContent(before or like, False)
            frame.SetName(like.GetName())
            frame.SetAttribute(WRITTEN_ATTRIBUTE, " ".join(map(str, written)))
            keep_warnings(frame, reports[number], before=before, only=only, box=box)
            frame.SetAndObserveSegmentation(content)
            if not content.GetConversionParameter(REFERENCE_GEOMETRY):
                frame.SetReferenceImageGeometryParameterFromVolumeNode(frames.volume(number))
            sequence.SetDataNodeAtValue(frame, index_value)
    finally:
        sequence.EndModify(was_modifying)
