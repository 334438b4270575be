"""What a run segments and where its labels go: one volume, or every frame of a sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from ..errors import InputRefused
from ..labels import STRUCTURES
from ..mrml import edits, segmentations, sequences, volumes

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

    from ..roi import Box
    from ..volume import Volume

    Results = Iterable[tuple[int, Volume, dict]]


def edited_values(segmentation_node: vtkMRMLSegmentationNode | None, *, all_frames: bool) -> set[int]:
    """Label values of a segmentation that a person has edited, of the frame that is shown or of any."""
    if segmentation_node is None:
        return set()
    if all_frames and sequences.edited_frames(segmentation_node):
        # Which structure it was in one of many frames matters little.
        return set(STRUCTURES)
    return edits.edited_values(segmentation_node)


def _shown_frame(volume_node: vtkMRMLScalarVolumeNode) -> int | None:
    frames = sequences.frames_of(volume_node)
    return frames and frames.current


class Task(Protocol):
    """The scene's side of a run; `count` is how many volumes there are to segment."""

    count: int

    def volume(self, number: int) -> Volume:
        """The volume of this number, from 0 on; its voxels are a view and only read."""

    def voxels(self) -> object:
        """Fingerprints of what the segmentation holds; equal as long as nobody draws in it."""

    def write(
        self, results: Results, segmentation_node: vtkMRMLSegmentationNode | None, only: frozenset[int] | None,
        box: Box | None,
    ) -> vtkMRMLSegmentationNode:  # fmt: skip
        """Puts labels (number, labels, report) into the segmentation, or into a new one; all of it or nothing."""


class VolumeTask:
    """One volume node."""

    count = 1

    def __init__(
        self, volume_node: vtkMRMLScalarVolumeNode | None, segmentation_node: vtkMRMLSegmentationNode | None
    ) -> None:
        """Raises InputRefused: the volume can't be segmented, or the segmentation can't be written."""
        for sentence in (volumes.refusal(volume_node), segmentations.output_refusal(segmentation_node)):
            if sentence:
                raise InputRefused(sentence)
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._frame_at_start = _shown_frame(volume_node)

    def volume(self, number: int) -> Volume:
        return volumes.volume_from_node(self._volume_node)

    def voxels(self) -> object:
        return self._segmentation_node and edits.fingerprints(self._segmentation_node.GetSegmentation())

    def write(self, results, segmentation_node, only, box):
        if _shown_frame(self._volume_node) != self._frame_at_start:
            raise InputRefused(
                f"'{self._volume_node.GetName()}' shows another frame of its sequence than at the start: segment it "
                "again, or segment all frames."
            )
        ((_, labels, report),) = results
        return segmentations.write_result(
            self._volume_node, labels, report, segmentation_node=segmentation_node, only=only, box=box
        )


class FramesTask(VolumeTask):
    """All frames of the sequence that a volume node belongs to; the browser stays where it is meanwhile."""

    def __init__(
        self, volume_node: vtkMRMLScalarVolumeNode | None, segmentation_node: vtkMRMLSegmentationNode | None
    ) -> None:
        """Raises InputRefused: as `VolumeTask`, for any frame, or the volume has no other frames."""
        super().__init__(volume_node, segmentation_node)
        frames = sequences.frames_of(volume_node)
        if frames is None:
            raise InputRefused(f"'{volume_node.GetName()}' is not part of a sequence: segment it by itself.")
        self._frames = frames
        self.count = frames.count
        for number in range(self.count):
            refusal = volumes.refusal(frames.volume(number))
            if refusal:
                raise InputRefused(f"Frame {number + 1}: {refusal}")

    def volume(self, number: int) -> Volume:
        return volumes.volume_from_node(self._frames.volume(number))

    def voxels(self) -> object:
        shown = sequences.frames_of(self._segmentation_node)
        if not shown:
            return super().voxels()
        return [edits.fingerprints(shown.volume(number).GetSegmentation()) for number in range(shown.count)]

    def write(self, results, segmentation_node, only, box):
        # Whoever looks on at another frame meanwhile doesn't move what was drawn on this one.
        return sequences.write_frames(
            self._volume_node, results, segmentation_node=segmentation_node, own_frame=self._frame_at_start, only=only,
            box=box,
        )  # fmt: skip
