"""A segmentation node as files: what Segment Editor shows now, on the volume's grid, hand edits and all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .. import nifti
from ..errors import InputRefused
from ..volume import Grid, Volume
from ..writing import write_volume
from .contradictions import contradictions
from .label_files import write_names, write_seg_nrrd
from .placing import distinct, place, portable_name, staging_folder
from .segment_voxels import SegmentVoxels, merge, name_of, overlap_remarks, read_segments
from .surfaces import copy_surfaces, name_groups
from .volumes import refusal, volume_from_node

LABEL_MAPS = ("nii.gz", "nrrd")
SURFACES = ("stl", "obj")
FORMATS = ("seg.nrrd", *LABEL_MAPS, *SURFACES)


@dataclass(frozen=True)
class Exported:
    """files: what was written, in the order of `FORMATS`. remarks: sentences for the user, most often none."""

    files: list[Path]
    remarks: list[str]


def export_segmentation(segmentation_node, volume_node, folder: str | Path, *, formats: Collection[str]) -> Exported:
    """Writes the segmentation as it is now, hidden segments too; all files or none, and never over one that is there.

    Files have the segmentation's name, cleaned of what a disk refuses, with "_2" and so on where it is taken. What they
    hold:

    - "seg.nrrd": every segment with name, color, terminology and tags, through Slicer's own writer; also those without
      voxels. One layer with the values of the label maps, but where segments overlap as many as they need, which Slicer
      numbers in its own way.
    - "nii.gz", "nrrd": one label map in VerSe's values (uint8, or uint16 where a value asks for it), and
      `NAME.labels.csv`, a color table of Slicer's kind with value, name, color and codes of every segment in it.
      Segments that are not ours have values from 300 on, in the order of the list. Where segments overlap, the one
      further down the list is kept, as in Slicer's own export.
    - "stl": one binary file per segment with voxels, `NAME_SEGMENT.stl`. "obj": one file with a group per such segment,
      and its `.mtl` with the colors. In LPS, Slicer's default, which both state in their header.

    Voxel files are in the volume's own coordinates, surfaces in those of the world, as in Slicer's own export; the two
    differ where the nodes are under a transform. Neither the nodes nor the scene are changed.

    Args:
        segmentation_node: vtkMRMLSegmentationNode in the scene.
        volume_node: the volume that it was made on; gives the grid.
        folder: exists.
        formats: of `FORMATS`.

    Raises:
        ValueError: an unknown format.
        InputRefused: no voxels, no folder to write to, or nothing but NIfTI asked for on a sheared grid.
        OSError: the disk took no more data, one sentence; nothing is left behind.
    """
    folder, wanted = Path(folder), set(formats)
    if wanted - set(FORMATS):
        raise ValueError(f"unknown formats: {', '.join(sorted(wanted - set(FORMATS)))}")
    sentence = refusal(volume_node)
    if sentence:
        raise InputRefused(f"The volume of this segmentation gives no grid to export on. {sentence}")
    grid = volume_from_node(volume_node).grid
    remarks = []
    if "nii.gz" in wanted and not nifti.holds(grid):
        wanted.discard("nii.gz")
        remarks.append(
            "The volume's grid is sheared (tilted gantry), which NIfTI can't hold, so no .nii.gz was written: use "
            ".seg.nrrd or .nrrd instead."
        )
        if not wanted:
            raise InputRefused(remarks[0])
    segments, not_fitting = read_segments(segmentation_node, volume_node, grid)
    remarks += not_fitting + contradictions(segmentation_node.GetSegmentation())
    drawn = [item for item in segments if item.count]
    if not drawn:
        raise InputRefused("The segmentation has no voxels, so there is nothing to export: segment a volume first.")

    stem = portable_name(segmentation_node.GetName() or "", "Segmentation")
    with staging_folder(folder) as staging:
        # What follows the stem in the name of a file -> that file in the staging folder.
        files: dict[str, Path] = {}
        if "seg.nrrd" in wanted:
            files[".seg.nrrd"] = staging / "segmentation.seg.nrrd"
            write_seg_nrrd(files[".seg.nrrd"], segmentation_node, segments, grid)
        if wanted & set(LABEL_MAPS):
            remarks += _write_label_maps(files, staging, wanted, drawn, grid)
        if wanted & set(SURFACES):
            remarks += _write_surfaces(files, staging, wanted, drawn, grid, segmentation_node)

        def finish(stem: str) -> None:
            if ".obj" in files:
                name_groups(files[".obj"], [name_of(item) for item in drawn], _file_name(stem, ".mtl"))

        def files_for(stem: str) -> dict[str, Path]:
            return {_file_name(stem, rest): path for rest, path in files.items()}

        return Exported(place(folder, stem, files_for, finish), remarks)


def _file_name(stem: str, rest: str) -> str:
    # OBJ files name their MTL file, and many programs take a blank there for the end of the name.
    return (stem.replace(" ", "_") if rest == ".mtl" else stem) + rest


def _write_label_maps(
    files: dict[str, Path], staging: Path, wanted: set[str], drawn: list[SegmentVoxels], grid: Grid
) -> list[str]:
    """Adds to `files`; remarks for the user."""
    labels, overlapping = merge(drawn, grid)
    for ending in LABEL_MAPS:
        if ending in wanted:
            files[f".{ending}"] = staging / f"labels.{ending}"
            write_volume(Volume(labels, grid.affine), files[f".{ending}"])
    files[".labels.csv"] = staging / "labels.csv"
    write_names(files[".labels.csv"], drawn)
    return overlap_remarks(overlapping, "a label map")


def _write_surfaces(
    files: dict[str, Path], staging: Path, wanted: set[str], drawn: list[SegmentVoxels], grid: Grid, segmentation_node
) -> list[str]:
    """Adds to `files`; remarks for the user."""
    surfaces = copy_surfaces(segmentation_node, drawn, grid)
    if "stl" in wanted:
        names = distinct(portable_name(name_of(item), item.segment_id) for item in drawn)
        files.update(zip((f"_{name}.stl" for name in names), surfaces.write_stl(staging)))
    if "obj" in wanted:
        files[".obj"], files[".mtl"] = surfaces.write_obj(staging)
    if segmentation_node.GetParentTransformNode() is None:
        return []
    return [
        "The segmentation is under a transform: the surfaces are where the scene shows them, label maps and .seg.nrrd "
        "are in the volume's own coordinates."
    ]
