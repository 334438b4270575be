"""The raw header of a NIfTI-1 file, and what such a file can hold: ITK reads the voxels well, but hides shear and
contradictions of the header.

Field offsets: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import InputRefused
from .volume import Grid

HEADER_BYTES = 348
# The quaternion of a qform is stored as float32 and may misplace the far corner of a large scan by this much.
HEADER_AGREEMENT_MM = 0.1
# Of the directions of a sform times their transpose, beside the identity: what ITK takes for rounding
# (itkNiftiImageIO.cxx). Beyond, it goes by the qform, and without one it refuses the file.
ITK_ROUNDING = 1e-4
# What a packed file begins with, and a plain one of either byte order.
_GZIP, _PLAIN = b"\x1f\x8b", [struct.pack(f"{order}i", HEADER_BYTES) for order in "<>"]
# Of DT_UINT8, INT16, INT32, FLOAT32, FLOAT64, INT8, UINT16, UINT32, INT64 and UINT64.
_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}


@dataclass(frozen=True)
class NiftiHeader:
    """What a header states about place and size.

    voxel_offset: byte of the unpacked file where the voxels begin. bytes_per_voxel: in the file, before slope and
    intercept are applied. number_type: of the voxels in the file, None for whole numbers. void_intercept: what ITK adds
    to all voxels though a slope of 0 says that they aren't scaled; 0 where it adds nothing. sform, qform: 4x4 IJK ->
    RAS in mm, None where its code declares it void.
    """

    voxel_offset: int
    bytes_per_voxel: int
    number_type: np.dtype | None
    void_intercept: float
    sform: np.ndarray | None
    qform: np.ndarray | None


def is_read_as_stated(sform: np.ndarray) -> bool:
    """Whether ITK can read a file with this transform alone, 4x4, IJK -> RAS in mm."""
    directions = Grid((1, 1, 1), sform).directions
    return bool(np.abs(directions @ directions.T - np.eye(3)).max() <= ITK_ROUNDING)


def is_overshadowed(path: Path) -> bool:
    """Whether ITK would read another file in the place of this one: its NIfTI library takes the voxels of `x.nii.gz`
    from an `x.nii` that lies beside it (nifti_findimgname in nifti1_io.c)."""
    if path.suffix.lower() != ".gz":
        return False
    plain = path.with_suffix("")
    return any(plain.with_suffix(ending).exists() for ending in (plain.suffix, ".nii", ".NII"))


def holds(grid: Grid) -> bool:
    """Whether voxels that ITK writes as NIfTI stay where they are: it takes the nearest axes at right angles."""
    u, _, v = np.linalg.svd(grid.directions)
    written = grid.affine.copy()
    written[:3, :3] = u @ v * grid.spacing_mm
    return not grid.is_sheared and grid.same_as(Grid(grid.shape, written), HEADER_AGREEMENT_MM)


def read_nifti_header(path: Path) -> NiftiHeader:
    """Reads a `.nii` or `.nii.gz` header of either byte order.

    Raises:
        InputRefused: the file is no NIfTI-1 file, is damaged, or is packed against what its ending says.
    """
    _check_ending(path)
    try:
        with _unpacked(path) as file:
            raw = file.read(HEADER_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raw = b""
    if len(raw) < HEADER_BYTES:
        raise InputRefused(f"'{path.name}' is damaged or not a NIfTI file: copy or export it again.")
    order = next((o for o in "<>" if struct.unpack_from(o + "i", raw)[0] == HEADER_BYTES), None)
    if order is None or raw[344:347] != b"n+1":
        raise InputRefused(f"'{path.name}' is not a NIfTI-1 file: save it as NIfTI-1 (.nii.gz) or as .nrrd.")
    pixdim = np.array(struct.unpack_from(order + "8f", raw, 76), dtype=np.float64)
    offset, slope, intercept = struct.unpack_from(order + "3f", raw, 108)
    datatype, bitpix = struct.unpack_from(order + "2h", raw, 70)
    qform_code, sform_code = struct.unpack_from(order + "2h", raw, 252)
    quaternion_and_offset = struct.unpack_from(order + "6f", raw, 256)
    sform = np.eye(4)
    sform[:3] = np.reshape(struct.unpack_from(order + "12f", raw, 280), (3, 4))
    return NiftiHeader(
        voxel_offset=max(int(offset) if np.isfinite(offset) else 0, HEADER_BYTES),
        # Of the type and not of bitpix: where the two disagree, ITK goes by the type.
        bytes_per_voxel=_BYTES.get(datatype, bitpix // 8),
        number_type=_number_type(order, datatype),
        void_intercept=intercept if slope == 0 and np.isfinite(intercept) else 0.0,
        sform=sform if sform_code > 0 else None,
        qform=_qform(quaternion_and_offset, pixdim) if qform_code > 0 else None,
    )


def non_finite_voxels(path: Path, header: NiftiHeader, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Mask (k, j, i) of the voxels that are NaN or infinite, None where there are none; ITK reads them as 0.

    The file is whole, as `integrity.check_voxels` says.
    """
    if header.number_type is None:
        return None
    with _unpacked(path) as file:
        file.seek(header.voxel_offset)
        planes = [
            ~np.isfinite(np.frombuffer(file.read(shape[1] * shape[2] * header.bytes_per_voxel), header.number_type))
            for _ in range(shape[0])
        ]
    mask = np.stack(planes).reshape(shape)
    return mask if mask.any() else None


def _check_ending(path: Path) -> None:
    """ITK goes by the ending, and so would whoever opens a copy."""
    with open(path, "rb") as file:
        start = file.read(4)
    named_packed = path.name.lower().endswith(".gz")
    if start[:2] == _GZIP and not named_packed:
        raise InputRefused(f"'{path.name}' is packed: name it '{path.name}.gz'.")
    if start in _PLAIN and named_packed:
        raise InputRefused(f"'{path.name}' isn't packed: name it '{path.name[:-3]}'.")


def _unpacked(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else open(path, "rb")


def _number_type(order: str, datatype: int) -> np.dtype | None:
    # DT_FLOAT32 and DT_FLOAT64.
    return {16: np.dtype(order + "f4"), 64: np.dtype(order + "f8")}.get(datatype)


def _qform(quaternion_and_offset: tuple[float, ...], pixdim: np.ndarray) -> np.ndarray:
    """4x4 IJK -> RAS from the unit quaternion (b, c, d), offset and pixdim, as nifti1.h defines it ("method 2")."""
    b, c, d = quaternion_and_offset[:3]
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])
    spacing = np.abs(pixdim[1:4])
    if pixdim[0] < 0:
        spacing[2] = -spacing[2]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = quaternion_and_offset[3:]
    return matrix
