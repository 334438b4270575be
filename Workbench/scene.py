"""The Slicer scene behind the page: one scan and its segmentation. Everything here runs on the main thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import slicer
import vtk
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation import SegmentationOverwriteMode
from trame_slicer.views import SliceView
from undo_stack import UndoStack
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk

import SpineContextSegLib
from SpineContextSegLib.labels import STRUCTURES, VERTEBRAE, levels_known
from SpineContextSegLib.mrml.composition import CLOSED_SURFACE
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.views import BODY_QUANTILE, display_range
from SpineContextSegLib.volume import Volume

from .store.versions import hex_color

TERMINOLOGY = "SegmentationCategoryTypeModifier-SpineContextSeg.term.json"
# A step back is a copy of all segments before and one after it.
UNDO_BYTES, UNDO_STEPS = 2_000_000_000, (3, 30)
# Half a vertebra's height, so that a slice through a disc or an arch alone doesn't decide.
_AROUND_MM = 12.0


class Scene:
    """A scan (`volume_node`) and its segmentation (`segmentation_node`), both None until one is shown."""

    def __init__(self) -> None:
        self.app = SlicerApp()
        _quiet()
        self.editor = self.app.segmentation_editor
        self.undo_stack = UndoStack(undo_limit=UNDO_STEPS[0])
        self.editor.set_undo_stack(self.undo_stack)
        self.volume_node = None
        self.segmentation_node = None
        # Whether surfaces are kept up to date; each change of a large segment costs a second then.
        self.surfaces = True
        # Whether the view of surfaces was turned to them; later on, it is where the user has it.
        self._surfaces_in_view = False
        self.undo_stack.index_changed.connect(self._look_at_surfaces)
        _pose_as_application(self.app)
        # Without a first Clear, trame-slicer's painting fails.
        self.app.scene.Clear()
        self._load_terminology()

    def _load_terminology(self) -> None:
        from SpineContextSegLib.mrml.segmentations import load_terminology

        load_terminology(Path(SpineContextSegLib.__file__).parents[1] / "Resources" / TERMINOLOGY)

    def show(self, volume: Volume, name: str) -> None:
        """Takes the place of whatever was there; the segmentation is empty.

        Args:
            volume: HU of a CT or signal of an MR (k, j, i); copied.
        """
        self.close()
        scene = self.app.scene
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.affine))
        node.SetAndObserveImageData(_image(volume.array))
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(*display_range(volume.array))
        segmentation = self.editor.create_empty_segmentation_node()
        segmentation.SetName(f"{name} spine")
        self.volume_node, self.segmentation_node = node, segmentation
        self.undo_stack.set_undo_limit(int(np.clip(UNDO_BYTES // (2 * volume.array.size), *UNDO_STEPS)))
        self._edit_segmentation()
        self.app.display_manager.show_volume_in_slice_background(node)
        self.app.display_manager.reset_views()

    def close(self) -> None:
        """Leaves the scene empty."""
        self.undo_stack.clear()
        self.volume_node = self.segmentation_node = None
        self._surfaces_in_view = False
        self.app.scene.Clear()

    def _edit_segmentation(self) -> None:
        """After the node got other segments all at once; nothing before can be undone."""
        self.editor.set_active_segmentation(self.segmentation_node, self.volume_node)
        self.editor.set_overwrite_mode(SegmentationOverwriteMode.OVERWRITE_ALL)
        self.undo_stack.clear()
        self.undo_stack.set_clean()

    def volume(self) -> Volume:
        """A view of the scan's voxels."""
        from SpineContextSegLib.mrml.volumes import volume_from_node

        return volume_from_node(self.volume_node)

    def write_result(self, labels: Volume, report: dict) -> None:
        """Puts a run's labels into the segmentation, see `mrml.segmentations.write_result`."""
        from SpineContextSegLib.mrml.segmentations import write_result

        write_result(self.volume_node, labels, report, segmentation_node=self.segmentation_node)
        self._after_segments()

    def write_version(
        self, labels: Volume, names: Mapping[int, str], colors: Mapping[int, str], model: str
    ) -> None:
        """Puts saved labels into the segmentation, also segments that a person made, with their names and colors.

        Args:
            names, colors: see `store.versions.Version`; where one is missing it is the standard one.

        Raises:
            InputRefused: the labels are not on the grid of the scan.
        """
        from SpineContextSegLib.mrml.labelmaps import labelmap_from
        from SpineContextSegLib.mrml.ours import our_values
        from SpineContextSegLib.mrml.segmentations import write_result

        grid = self.volume().grid
        # Earlier workbenches took over what another program had cropped.
        labels = Volume(labels_on_grid_of(labels, grid, ("The saved version", "the scan")), grid.affine)
        values = {int(value) for value in np.unique(labels.array)} - {0}
        ours = values & set(STRUCTURES)
        segmentation = self.segmentation_node.GetSegmentation()
        segmentation.RemoveAllSegments()
        if ours:
            array = np.where(np.isin(labels.array, list(ours)), labels.array, 0).astype(np.uint8)
            report = {"levels_known": levels_known(ours), "model": model}
            write_result(
                self.volume_node, Volume(array, labels.affine), report, segmentation_node=self.segmentation_node
            )
            segmentation = self.segmentation_node.GetSegmentation()
            for value, segment_id in our_values(self.segmentation_node).items():
                segmentation.GetSegment(segment_id).SetName(names.get(value, STRUCTURES[value].name))
                _set_color(segmentation.GetSegment(segment_id), colors.get(value))
        for value in sorted(values - ours):
            segment = slicer.vtkSegment()
            segment.SetName(names.get(value, f"Segment {value}"))
            segment.SetLabelValue(1)
            labelmap = labelmap_from((labels.array == value).astype(np.uint8), labels.grid)
            segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), labelmap)
            segmentation.AddSegment(segment)
            # Only now: one that has none yet is given one when it is added.
            _set_color(segment, colors.get(value))
        self._after_segments()

    def _after_segments(self) -> None:
        self._edit_segmentation()
        self._surfaces_in_view = False
        self.show_surfaces(self.surfaces)

    def show_surfaces(self, shown: bool) -> None:
        """Makes or removes the surfaces of all segments."""
        self.surfaces = shown
        self.editor.show_3d(shown)
        self._look_at_surfaces()

    def _look_at_surfaces(self, *_: object) -> None:
        """Turns their view to them once, as soon as there are any: of a result, or of the first stroke."""
        if self._surfaces_in_view or not self._has_surfaces():
            return
        self._surfaces_in_view = True
        for view in self.app.view_manager.get_threed_views():
            # VTK measures what is seen before the camera has moved: only the second time is it right.
            view.reset_view()
            view.reset_view()

    def _has_surfaces(self) -> bool:
        if self.segmentation_node is None:
            return False
        segmentation = self.segmentation_node.GetSegmentation()
        segments = map(segmentation.GetSegment, segmentation.GetSegmentIDs())
        surfaces = (segment.GetRepresentation(CLOSED_SURFACE) for segment in segments)
        return any(surface is not None and surface.GetNumberOfPoints() for surface in surfaces)

    def labels(self) -> tuple[Volume, dict[int, str], dict[int, str], int]:
        """The segments as one label map on the scan's grid, values as in exports; value -> name; value -> color.

        And how many voxels several segments claim, of which the map has the one further down the list.
        """
        from SpineContextSegLib.mrml.segment_voxels import merge, name_of, read_segments

        grid = self.volume().grid
        segments, _ = read_segments(self.segmentation_node, self.volume_node, grid)
        array, overlapping = merge(segments, grid)
        drawn = [item for item in segments if item.count]
        colors = {item.value: hex_color(item.segment.GetColor()) for item in drawn}
        return Volume(array, grid.affine), {item.value: name_of(item) for item in drawn}, colors, overlapping

    def value_at(self, point) -> float | None:
        """Of the scan at a point (R, A, S) in mm, None outside of it."""
        if self.volume_node is None:
            return None
        to_ijk = vtk.vtkMatrix4x4()
        self.volume_node.GetRASToIJKMatrix(to_ijk)
        index = [round(number) for number in to_ijk.MultiplyPoint((*point, 1))[:3]]
        image = self.volume_node.GetImageData()
        inside = all(0 <= n < size for n, size in zip(index, image.GetDimensions(), strict=True))
        return image.GetScalarComponentAsDouble(*index, 0) if inside else None

    def go_to(self, segment_id: str) -> None:
        """All slices move to the middle of a segment; nowhere where it has no voxels."""
        center = self.segmentation_node.GetSegmentCenterRAS(segment_id)
        if center is not None:
            self.jump(center)

    def jump(self, point) -> None:
        """All slices move to a point (R, A, S) in mm, and what they show of the scan stays."""
        for view in self.app.view_manager.get_slice_views():
            with view.trigger_modified_once():
                view.get_view_node().JumpSliceByOffsetting(*point)

    def fit_slices(self) -> None:
        """All of each slice is shown, at the place where it is."""
        for view in self.app.view_manager.get_slice_views():
            fit_slice(view)

    def go_to_spine(self) -> None:
        """All slices move to the bodies in the middle of the column; of all segments where there are no vertebrae."""
        labels, *_ = self.labels()
        drawn = np.isin(labels.array, list(VERTEBRAE))
        if not drawn.any():
            drawn = labels.array != 0
        places = labels.grid.world(np.argwhere(drawn)[:, ::-1])
        if len(places):
            height = np.median(places[:, 2])
            around = places[np.abs(places[:, 2] - height) <= max(_AROUND_MM, *labels.grid.spacing_mm)]
            self.jump((np.median(around[:, 0]), np.quantile(around[:, 1], BODY_QUANTILE), height))


def fit_slice(view: SliceView) -> None:
    """All of a slice is shown, at the place where it is."""
    place = view.get_slice_value()
    with view.trigger_modified_once():
        view.fit_view_to_content()
        view.set_slice_value(place)


def _quiet() -> None:
    """VTK's warnings say nothing to users; its errors still go to stderr, through its logger."""
    vtk.vtkOutputWindow.GetInstance().SetDisplayModeToNever()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)


def _pose_as_application(app: SlicerApp) -> None:
    """`SpineContextSegLib.mrml` finds scene and module logics where desktop Slicer has them."""
    slicer.mrmlScene = app.scene
    logics = {"segmentations": app.segmentations_logic, "terminologies": app.terminologies_logic}
    slicer.modules = SimpleNamespace(
        **{name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
    )


def _set_color(segment, color: str | None) -> None:
    if color is not None:
        segment.SetColor(*(part / 255 for part in bytes.fromhex(color[1:])))


def _image(array: np.ndarray):
    """A vtkImageData with a copy of the voxels (k, j, i)."""
    array = np.ascontiguousarray(array)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*array.shape[::-1])
    kind = get_vtk_array_type(array.dtype)
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True, array_type=kind))
    return image
