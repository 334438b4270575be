"""The levels of a segmentation, put right: segments change label values, names, colors and codes, but not their IDs.

Nothing but the segments that are merged or split changes a voxel, so that hand edits stay. A repair is taken back in
the same way, segment by segment, which keeps what was painted since; Segment Editor's history, made of whole states of
all voxels, would lose it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import slicer
import vtk

from .. import repair
from ..errors import InputRefused
from ..faults import in_words
from ..labels import (
    EVERY_STRUCTURE,
    LEVEL_ORDER,
    SACRUM,
    STRUCTURES,
    VERTEBRA_LEVEL_UNKNOWN,
    VERTEBRAE,
    level_name,
    levels_known,
    structure,
)
from ..level_remarks import remarks_on_levels, remarks_on_renaming
from ..volume import Volume, count_labels
from .appearance import appearance_of, show_as
from .edits import FINGERPRINT_TAG
from .label_numbers import number_by_value
from .label_volume import label_volume
from .labelmaps import BINARY_LABELMAP, labelmap_from
from .measurements import update_measurements
from .naming import description_of, give_back, is_coded_as, name_as, without_voxels
from .ours import disown, free_segment_id, our_segments
from .sequences import contents_of
from .transfers import add_beside, give, take_back
from .volumes import non_linear_parent


@dataclass(frozen=True)
class Vertebra:
    """A segment: its label value, its ID, which stays whatever level it gets, and its name."""

    value: int
    segment_id: str
    name: str


@dataclass
class _Repair:
    """What has been done.

    title: in short. undo: takes it back, the last first. needs: IDs of segments without which it can't be taken back.
    values: label values and segment IDs when it was done.
    """

    title: str
    undo: list[Callable[[], None]] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    values: dict[int, str] = field(default_factory=dict)


class Levels:
    """The vertebrae of a vtkMRMLSegmentationNode and their levels. Remembers its repairs, so that they can be undone.

    What repairs happens at once or not at all: where it can't be done, InputRefused says why in one sentence. It
    returns sentences for the user, most often none, also on levels that are out of order or missing now. Afterwards
    the renamed segments count as edited by a person (`edits`), so that no run overwrites them without asking, and
    points and table, where there are any (`measurements`), are those of the new levels.

    Vertebrae are given by label value; above and below is where they lie in the world. `sequence` is that of a whole
    column, see `repair.level_sequence`; where it is None, that of the scan, see `repair.sequence_of`.
    """

    def __init__(self, segmentation_node, before_change: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            before_change: called before anything is changed, so not for what is refused.
        """
        self._node, self._before_change = segmentation_node, before_change
        # A run gives the node another one, in which no repair has been done.
        self._repaired = segmentation_node.GetSegmentation()
        self._done: list[_Repair] = []

    def is_of(self, segmentation_node) -> bool:
        """Whether this is about the node, and no run has written into it since."""
        return self._node is segmentation_node and self._repaired is segmentation_node.GetSegmentation()

    @property
    def is_over(self) -> bool:
        """Whether the node has left the scene, or a run has written into what was repaired; another frame is no end."""
        is_left = self.is_of(self._node) or self._repaired in contents_of(self._node)
        return self._node.GetScene() is None or not is_left

    @property
    def _segmentation(self):
        return self._node.GetSegmentation()

    @property
    def _is_voxels(self) -> bool:
        return self._segmentation.GetSourceRepresentationName() == BINARY_LABELMAP

    @property
    def refusal(self) -> str | None:
        """Why there are no levels to put right and what to do, in one sentence; None where there are."""
        name = self._node.GetName()
        if self._node.GetScene() is None:
            return f"'{name}' was removed from the scene: choose another segmentation."
        segments = our_segments(self._segmentation)
        if not VERTEBRAE & segments.keys():
            return f"'{name}' holds no vertebra of ours: choose a result of SpineContextSeg."
        if not levels_known(segments):
            # A crop that shows C1 alone.
            first = self._segmentation.GetSegment(segments[VERTEBRA_LEVEL_UNKNOWN])
            if not is_coded_as(first, structure(VERTEBRA_LEVEL_UNKNOWN)):
                return f"Single vertebrae are not told apart in '{name}', so it has no levels."
        if not self._is_voxels:
            return (
                f"The segments of '{name}' are not made of voxels: make its binary labelmap the source representation "
                "in the Segmentations module."
            )
        return None

    @property
    def vertebrae(self) -> list[Vertebra]:
        """In the order of the levels; quick, so without a look at the voxels."""
        if self.refusal:
            return []
        segments = our_segments(self._segmentation)
        there = [value for value in LEVEL_ORDER if value in VERTEBRAE & segments.keys()]
        return [Vertebra(v, segments[v], self._segmentation.GetSegment(segments[v]).GetName()) for v in there]

    def rename(self, which: int, level: int, sequence: Sequence[int]) -> list[str]:
        """The vertebra `which` is `level`; all others follow, see `repair.renamed`."""
        labels = self._labels()
        order = repair.order_of(labels)
        mapping = repair.renamed(order, which, level, sequence)
        remarks = self._relabel(f"{level_name(which)} is {level_name(level)}", mapping, labels, order, sequence)
        after = [mapping.get(value, value) for value in order]
        return remarks_on_renaming(order, after, sequence) + remarks

    def shift(self, steps: int, sequence: Sequence[int]) -> list[str]:
        """All vertebrae move `steps` levels down (negative: up), see `repair.shifted`."""
        labels = self._labels()
        order = repair.order_of(labels)
        mapping = repair.shifted(order, steps, sequence)
        return self._relabel(f"all {abs(steps)} {'up' if steps < 0 else 'down'}", mapping, labels, order, sequence)

    def swap(self, one: int, other: int, sequence: Sequence[int] | None = None) -> list[str]:
        """Two vertebrae exchange their levels."""
        labels = self._labels()
        order = repair.order_of(labels)
        repair.require(order, one, other)
        title = f"{level_name(one)} and {level_name(other)} swapped"
        return self._relabel(title, repair.swapped(one, other), labels, order, sequence)

    def merge(self, which: int, sequence: Sequence[int] | None = None) -> list[str]:
        """The vertebra below `which` becomes part of it; the lowest one becomes part of the sacrum."""
        labels = self._labels()
        order = repair.order_of(labels)
        repair.require(order, which)
        below = order[order.index(which) + 1 :]
        if not below and SACRUM not in our_segments(self._segmentation):
            raise InputRefused(
                f"Below {level_name(which)} there is nothing to merge it with: choose the upper one of two."
            )
        part, whole = (below[0], which) if below else (which, SACRUM)
        title = f"{level_name(part)} is part of {level_name(whole)}"
        left = None if sequence is None else repair.without_merged(part, sequence)
        return self._relabel(title, repair.merging([part], whole), labels, order, left)

    def split(
        self, which: int, point: Sequence[float], normal: Sequence[float] | None, sequence: Sequence[int]
    ) -> list[str]:
        """Cuts the vertebra `which` at a plane, see `repair.split`; the part below becomes a segment of its own.

        Args:
            point, normal: as `planes.plane_at` returns them, in the world.
        """
        labels = self._labels(on_top=which)
        bending = non_linear_parent(self._node)
        if bending is not None:
            raise InputRefused(
                f"'{self._node.GetName()}' is under the non-linear transform '{bending.GetName()}', where a plane is "
                "none: take it out of the transform."
            )
        after = repair.split(labels, which, point, normal, sequence)
        own = label_volume(self._segmentation, on_top=which).affine
        renames, parts = {}, []
        for old, (new, *others) in _changes(labels.array, after.array).items():
            renames |= {old: new} if old != new else {}
            for other in others:
                mask = (labels.array == old) & (after.array == other)
                parts.append((old, other, labelmap_from(mask, Volume(mask, own).grid)))
        with self._repair(f"{level_name(which)} split") as done:
            segments = our_segments(self._segmentation)
            remarks = self._rename_all(done, renames, labels)
            for old, new, mask in parts:
                self._part(done, segments[old], new, mask)
        return remarks + self._remarks(repair.order_of(after), sequence) + self._measured_again()

    @property
    def undo_title(self) -> str | None:
        """What `undo` would take back, in short; None where there is nothing, or somebody has changed levels since."""
        if not self._done or self._node.GetScene() is None or not self._is_voxels or not self.is_of(self._node):
            return None
        last, now = self._done[-1], our_segments(self._segmentation)
        # The last vertebra may have become part of the sacrum, or a person may have removed all that were renamed.
        is_left = bool(last.needs or VERTEBRAE & now.keys())
        is_as_done = now.items() <= last.values.items() and last.needs <= set(now.values())
        return last.title if is_left and is_as_done else None

    def undo(self) -> list[str]:
        """Takes back the last repair, and nothing that was done since to voxels, names or colors."""
        if self.undo_title is None:
            raise InputRefused("There is no repair of levels to take back.")
        with self._all_at_once():
            _take_back(self._done.pop())
        return self._measured_again()

    def _measured_again(self) -> list[str]:
        """The repair stays where nothing can be measured; the sentence that says so, or none."""
        try:
            update_measurements(self._node)
        except Exception as error:  # noqa: BLE001, "nothing was changed" would be wrong
            logging.exception("Not measured again")
            return [f"Points and table are still those of before. {in_words(error)}"]
        return []

    def _labels(self, on_top: int | None = None) -> Volume:
        """All segments of ours in the world, or under a non-linear transform in their own coordinates."""
        if self.refusal:
            raise InputRefused(self.refusal)
        labels = label_volume(self._segmentation, on_top=on_top)
        if non_linear_parent(self._node) is not None:
            return labels
        to_world = vtk.vtkMatrix4x4()
        slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(self._node.GetParentTransformNode(), None, to_world)
        return Volume(labels.array, slicer.util.arrayFromVTKMatrix(to_world) @ labels.affine)

    def _relabel(
        self, title: str, mapping: Mapping[int, int], labels: Volume, order: Sequence[int],
        sequence: Sequence[int] | None,
    ) -> list[str]:  # fmt: skip
        """`order` is that of the vertebrae in `labels`; `sequence` None takes that of the levels afterwards."""
        if not mapping.keys() & our_segments(self._segmentation).keys():
            raise InputRefused("The levels are like that already.")
        with self._repair(title) as done:
            remarks = self._rename_all(done, mapping, labels)
        after = [mapping.get(value, value) for value in order]
        return remarks + self._remarks(after, sequence) + self._measured_again()

    def _remarks(self, order: Sequence[int], sequence: Sequence[int] | None) -> list[str]:
        """On the levels after a repair, those of `order` from top to bottom; merged ones may be there twice."""
        whole = dict.fromkeys((*order, *({SACRUM} & our_segments(self._segmentation).keys())))
        return remarks_on_levels(list(whole), repair.sequence_of(order) if sequence is None else sequence)

    @contextmanager
    def _repair(self, title: str) -> Iterator[_Repair]:
        if not self.is_of(self._node):
            self._repaired, self._done = self._segmentation, []
        done = _Repair(title)
        with self._all_at_once():
            try:
                yield done
            except BaseException:
                _take_back(done)
                raise
        done.values = our_segments(self._segmentation)
        self._done.append(done)

    @contextmanager
    def _all_at_once(self) -> Iterator[None]:
        """Whoever watches the node hears of all changes at the end, when numbers and list are in order again."""
        self._before_change()
        was_in_order = self._in_order() == list(self._segmentation.GetSegmentIDs())
        with slicer.util.NodeModify(self._node):
            yield
            number_by_value(self._segmentation)
            if was_in_order:
                self._segmentation.ReorderSegments(self._in_order())

    def _in_order(self) -> list[str]:
        """All segment IDs, those of ours in the order of the table in the places that they have now."""
        segments = our_segments(self._segmentation)
        ours = iter([segments[value] for value in STRUCTURES if value in segments])
        return [next(ours) if name in segments.values() else name for name in self._segmentation.GetSegmentIDs()]

    def _rename_all(self, done: _Repair, mapping: Mapping[int, int], labels: Volume) -> list[str]:
        """Gives every segment its new value; those that get the same one become one."""
        segments = our_segments(self._segmentation)
        # A copy that a person made of one of ours would be taken for that, once the original has another value.
        for segment_id in set(self._segmentation.GetSegmentIDs()) - set(segments.values()):
            disown(self._segmentation.GetSegment(segment_id))
        filled = count_labels(labels.array)
        together: dict[int, list[int]] = {}
        for value in segments:
            together.setdefault(mapping.get(value, value), []).append(value)
        own_names = []
        for new, values in together.items():
            stays = max(values, key=lambda value: (value in filled, value == new))
            for value in values:
                if value != stays:
                    self._join(done, segments[value], segments[stays])
            if stays != new:
                own_names += self._rename(done, segments[stays], new)
        if not own_names:
            return []
        listed = ", ".join(f"'{name}'" for name in own_names)
        return [f"Names that were given by hand stay: {listed}."]

    def _rename(self, done: _Repair, segment_id: str, new: int) -> list[str]:
        """The name, where it stays as it is a person's own."""
        segment = self._segmentation.GetSegment(segment_id)
        before = description_of(segment)
        name_as(segment, structure(new), EVERY_STRUCTURE)
        segment.RemoveTag(FINGERPRINT_TAG)
        after = description_of(segment)

        def undo() -> None:
            # A person may have removed it since.
            renamed = self._segmentation.GetSegment(segment_id)
            if renamed is not None:
                give_back(renamed, before, after)

        done.undo.append(undo)
        return [] if segment.GetName() == structure(new).name else [segment.GetName()]

    def _join(self, done: _Repair, segment_id: str, whole_id: str) -> None:
        copy = without_voxels(self._segmentation.GetSegment(segment_id))
        following, appearance = self._following(segment_id), appearance_of(self._node, segment_id)
        given = give(self._node, segment_id, whole_id)
        self._segmentation.RemoveSegment(segment_id)

        def undo() -> None:
            add_beside(self._segmentation, copy, segment_id, whole_id, following)
            show_as(self._node, segment_id, appearance)
            if given is not None:
                take_back(self._node, segment_id, whole_id, given)

        done.undo.append(undo)
        done.needs.add(whole_id)

    def _part(self, done: _Repair, segment_id: str, new: int, mask) -> None:
        """Voxels of a segment become part of the one with the value `new`, which is made where there is none."""
        part_id = our_segments(self._segmentation).get(new)
        is_new = part_id is None
        if is_new:
            part_id = free_segment_id(self._segmentation, new)
            part = without_voxels(self._segmentation.GetSegment(segment_id))
            name_as(part, structure(new))
            part.RemoveTag(FINGERPRINT_TAG)
            add_beside(self._segmentation, part, part_id, segment_id, self._following(segment_id))
            show_as(self._node, part_id, appearance_of(self._node, segment_id))
        given = give(self._node, segment_id, part_id, mask)

        def undo() -> None:
            if is_new:
                give(self._node, part_id, segment_id)
                self._segmentation.RemoveSegment(part_id)
            elif given is not None:
                take_back(self._node, segment_id, part_id, given)

        done.undo.append(undo)
        done.needs |= {part_id, segment_id}

    def _following(self, segment_id: str) -> str:
        """The next segment in the list, "" after the last."""
        names = self._segmentation.GetSegmentIDs()
        return next(iter(names[names.index(segment_id) + 1 :]), "")


def _take_back(done: _Repair) -> None:
    for undo in reversed(done.undo):
        undo()


def _changes(before: np.ndarray, after: np.ndarray) -> dict[int, list[int]]:
    """Old value -> all that became of its voxels, for values that change; first what stays, else what most became."""
    changed = before != after
    pairs, counts = np.unique(before[changed].astype(np.uint32) << 8 | after[changed], return_counts=True)
    stays = count_labels(np.where(changed, 0, before))
    found: dict[int, list[int]] = {}
    for pair in pairs[np.argsort(-counts, kind="stable")]:
        old, new = divmod(int(pair), 256)
        found.setdefault(old, [old] if old in stays else []).append(new)
    return found
