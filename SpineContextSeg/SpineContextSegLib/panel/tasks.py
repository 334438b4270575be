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


class Task(Protocol):
    """The scene's side of a run.

    Attributes:
        volume_node, segmentation_node: the run ends when one of them is removed; the latter may be None.
        count: how many volumes there are to segment.
    """

    volume_node: vtkMRMLScalarVolumeNode
    segmentation_node: vtkMRMLSegmentationNode | None
    count: int

    def volume(self, number: int) -> Volume:
        """The volume of this number, from 0 on; its voxels are a view and only read."""

    def voxels(self) -> object:
        """Fingerprints of what the segmentation holds; equal as long as nobody draws in it."""

    def edited_values(self) -> set[int]:
        """Label values of the segmentation that a person has edited."""

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
        self.volume_node, self.segmentation_node = volume_node, segmentation_node

    def volume(self, number: int) -> Volume:
        return volumes.volume_from_node(self.volume_node)

    def voxels(self) -> object:
        return self.segmentation_node and edits.fingerprints(self.segmentation_node.GetSegmentation())

    def edited_values(self) -> set[int]:
        return edits.edited_values(self.segmentation_node) if self.segmentation_node else set()

    def write(self, results, segmentation_node, only, box):
        ((_, labels, report),) = results
        return segmentations.write_result(
            self.volume_node, labels, report, segmentation_node=segmentation_node, only=only, box=box
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
        shown = self.segmentation_node and sequences.frames_shown_by(self.segmentation_node)
        if not shown:
            return super().voxels()
        return [edits.fingerprints(shown.volume(number).GetSegmentation()) for number in range(shown.count)]

    def edited_values(self) -> set[int]:
        # Which structure it was in one of many frames matters little: any may be lost.
        if self.segmentation_node and sequences.edited_frames(self.segmentation_node):
            return set(STRUCTURES)
        return super().edited_values()

    def write(self, results, segmentation_node, only, box):
        return sequences.write_frames(
            self.volume_node, results, segmentation_node=segmentation_node, only=only, box=box
        )
