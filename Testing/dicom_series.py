"""Writes DICOM CT series slice by slice, as a scanner would, for tests of reading."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from SpineContextSegLib.volume import Volume
from Testing.geometry import CORONAL, GRIDS, LPS, SAGITTAL, centered_grid, world_positions


@dataclass
class SeriesWriter:
    """One series; `write` stores a volume's slices as files of their own."""

    folder: Path
    description: str = "Thorax"
    modality: str = "CT"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    slope: float = 1.0
    intercept: float = -1024.0
    series_uid: str = field(default_factory=generate_uid)
    instance: int = 0

    def write(self, volume: Volume, only: list[int] | None = None, positions_lps: np.ndarray | None = None) -> None:
        """Writes slices `only` (all by default) of HU (k, j, i); `positions_lps` (n, 3) replaces their positions."""
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        spacing = volume.grid.spacing_mm
        directions = lps[:3, :3] / spacing
        if positions_lps is None:
            positions_lps = np.array([lps[:3, 3] + k * lps[:3, 2] for k in range(len(volume.array))])
        self.folder.mkdir(parents=True, exist_ok=True)
        for k in range(len(volume.array)) if only is None else only:
            self.instance += 1
            stored = np.rint((volume.array[k] - self.intercept) / self.slope).astype(np.int16)
            self._write_slice(stored, positions_lps[k], directions, spacing)

    def _write_slice(self, stored: np.ndarray, position, directions, spacing) -> None:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage if self.modality == "CT" else MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # The names run against the order of the slices, so that only positions can sort them.
        path = self.folder / f"IM{9999 - self.instance:05d}"
        ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1", self.series_uid
        ds.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.2"
        ds.PatientName, ds.PatientID = "Müller^Jürgen", "0"
        ds.Modality, ds.SeriesDescription, ds.ImageType = self.modality, self.description, list(self.image_type)
        ds.AcquisitionNumber, ds.InstanceNumber = 1, self.instance
        ds.ImagePositionPatient = [f"{p:.10g}"[:16] for p in position]
        ds.ImageOrientationPatient = [f"{d:.10g}"[:16] for d in (*directions[:, 0], *directions[:, 1])]
        ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        ds.SliceThickness = float(spacing[2])
        ds.Rows, ds.Columns = stored.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = self.slope, self.intercept
        ds.PixelData = stored.tobytes()
        ds.save_as(path)


def multi_frame(volume: Volume, path: Path) -> None:
    """Writes HU (k, j, i) as one enhanced CT with a position per frame."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    spacing = volume.grid.spacing_mm
    directions = lps[:3, :3] / spacing
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.FrameOfReferenceUID = generate_uid()
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.PatientName, ds.PatientID = "Test", "0"
    ds.NumberOfFrames, ds.Rows, ds.Columns = volume.array.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    shared, measures, orientation, rescale = (pydicom.Dataset() for _ in range(4))
    measures.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    measures.SliceThickness = float(spacing[2])
    orientation.ImageOrientationPatient = [float(d) for d in (*directions[:, 0], *directions[:, 1])]
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024, 1, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [rescale]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in range(len(volume.array)):
        frame, position, content = (pydicom.Dataset() for _ in range(3))
        position.ImagePositionPatient = [float(p) for p in lps[:3, 3] + k * lps[:3, 2]]
        content.DimensionIndexValues = [k + 1]
        content.InStackPositionNumber, content.StackID = k + 1, "1"
        frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.PixelData = (volume.array + 1024).astype(np.int16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)


def edit(path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    """Changes the header of a file, or of all those in a folder."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        ds = pydicom.dcmread(file)
        change(ds)
        ds.save_as(file)


def part(volume: Volume, first: int, last: int) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += first * affine[:3, 2]
    return Volume(volume.array[first:last], affine)


def parts(volume: Volume, folder: Path, bounds: list[int]) -> None:
    """One series in several files, as a scanner splits one that is too large."""
    uids = generate_uid(), generate_uid(), generate_uid()
    for first, last in zip(bounds, bounds[1:]):
        path = folder / f"{first}.dcm"
        multi_frame(part(volume, first, last), path)
        edit(path, lambda ds: ds.update({"StudyInstanceUID": uids[0], "SeriesInstanceUID": uids[1],
                                         "FrameOfReferenceUID": uids[2]}))  # fmt: skip


def localizer(folder: Path, slices: int, **options) -> None:
    """One series of few large pictures, sagittal, coronal and axial, in which nothing says what they are for."""
    writer = SeriesWriter(folder, modality="MR", description="Survey", **options)
    for axes in (SAGITTAL, CORONAL, LPS):
        grid = centered_grid((2.0, 2.0, 12.0), (200.0, 200.0, 120.0), axes)
        values = np.random.default_rng(2).integers(0, 900, grid.shape).astype(np.int16)
        writer.write(Volume(values, grid.affine), only=range(slices))


def scan(name="lps", size=(24.0, 20.0, 30.0), spacing=None) -> Volume:
    """Noise in HU on a small grid with the directions of a known one."""
    grid = GRIDS[name]
    directions, spacing = grid.directions, spacing or grid.spacing_mm
    grid = centered_grid(spacing, size, directions)
    return Volume(np.random.default_rng(0).integers(-1024, 2000, grid.shape).astype(np.int16), grid.affine)


def ramp(volume: Volume) -> Volume:
    """HU that grow along the body, so that interpolated slices have a known value."""
    return Volume(np.rint(world_positions(volume.grid)[..., 2] * 10 - 2000).astype(np.int16), volume.affine)


def assert_same_voxels_in_space(read: Volume, written: Volume) -> None:
    """Equal values at equal world positions; the order of slices is free."""
    if not np.allclose(read.affine[:3, 3], written.affine[:3, 3], atol=1e-3):
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = len(written.array) - 1
        written = Volume(written.array[::-1], written.affine @ flip)
    assert read.grid.same_as(written.grid, tolerance_mm=1e-3)
    np.testing.assert_array_equal(read.array, written.array)
