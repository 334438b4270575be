"""DICOM SEG to and from dcmqi, the program with which Slicer reads and writes it: the real one, on every grid."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.dicom_seg import Segment, find_images, write_dicom_seg
from SpineContextSegLib.labels import structures_of
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.reading import from_sitk, read_labels, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter
from Testing.geometry import GRIDS, SHEARED

pytest.importorskip("highdicom")
dcmqi = pytest.importorskip("dcmqi")

PROGRAMS = Path(dcmqi.__file__).parent / "bin"
# As in the files of TotalSegmentator's users: an own piece, in another language, between two of ours.
SEGMENTS = [
    Segment(s.value, s.name, s.color, s.terminology_entry, "AUTOMATIC") for s in structures_of((8, 24, 26, 61, 124))
] + [Segment(40, "Größe, Läsion", (1.0, 0.5, 0.0), "", "MANUAL")]


def run(program, **options):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([PROGRAMS / program, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=[name for name in GRIDS if name not in SHEARED])
def case(request, tmp_path):
    """A series of DICOM files, and labels on it as it is read: noise, so that no plane, row or column is like another;
    the slices at both ends are empty."""
    grid = GRIDS[request.param]
    SeriesWriter(tmp_path / "series").write(Volume(np.zeros(grid.shape, np.int16), grid.affine))
    scan, _ = read_volume(tmp_path / "series")
    labels = np.zeros(scan.array.shape, np.uint8)
    values = [0, 0, 0, *(segment.value for segment in SEGMENTS)]
    labels[1:-1] = np.random.default_rng(1).choice(values, labels[1:-1].shape)
    return tmp_path, Volume(labels, scan.affine)


def written(folder, labels):
    write_dicom_seg(labels, find_images(folder / "series", labels.grid), SEGMENTS, "spine 1", folder / "spine.dcm")
    return folder / "spine.dcm"


def read_by_dcmqi(file, folder):
    """Labels in our numbers, what it says of the segments by their names, and what it prints."""
    folder.mkdir()
    printed = run("segimage2itkimage", inputDICOM=file, outputDirectory=folder, outputType="nrrd")
    content = json.loads((folder / "meta.json").read_text("utf-8"))
    stated = [item for group in content["segmentAttributes"] for item in group]
    labels = None
    for path in folder.glob("*.nrrd"):
        image = from_sitk(sitk.ReadImage(path))
        labels = Volume(np.zeros(image.array.shape, np.uint8), image.affine) if labels is None else labels
        for item in stated:
            here = image.array == item["labelID"]
            assert not labels.array[here].any()
            labels.array[here] = next(s.value for s in SEGMENTS if s.name == item["SegmentLabel"])
    return labels, {item["SegmentLabel"]: item for item in stated}, printed


def test_dcmqi_reads_ours_to_the_voxel(case):
    folder, labels = case
    found, stated, printed = read_by_dcmqi(written(folder, labels), folder / "found")
    np.testing.assert_array_equal(labels_on_grid_of(found, labels.grid, ("it", "the scan")), labels.array)
    assert "absent" not in printed, "an attribute that the standard wants"
    assert set(stated) == {segment.name for segment in SEGMENTS}
    for segment in SEGMENTS:
        item, code = stated[segment.name], segment.terminology_entry.split("~")
        assert np.abs(np.array(item["recommendedDisplayRGBValue"]) / 255 - segment.color).max() < 0.01
        assert item["SegmentAlgorithmType"] == segment.made_by
        if segment.terminology_entry:
            assert item["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == code[2].split("^")[1]


def test_what_dcmqi_writes_is_read_to_the_voxel(case):
    """Of the same segments, under their numbers in a label map, as Slicer's export hands them over."""
    folder, labels = case
    read_by_dcmqi(written(folder, labels), folder / "found")
    content = json.loads((folder / "found" / "meta.json").read_text("utf-8"))
    known = {segment.name: segment.value for segment in SEGMENTS if segment.terminology_entry}
    stated = [item for group in content["segmentAttributes"] for item in group if item["SegmentLabel"] in known]
    content["segmentAttributes"] = [[item | {"labelID": known[item["SegmentLabel"]]} for item in stated]]
    (folder / "meta.json").write_text(json.dumps(content | {"ContentCreatorName": "Reader"}), "utf-8")
    labels.array[labels.array == 40] = 0
    write_volume(labels, folder / "labels.nrrd")
    run("itkimage2segimage", inputDICOMDirectory=folder / "series", inputImageList=folder / "labels.nrrd",
        inputMetadata=folder / "meta.json", outputDICOM=folder / "theirs.dcm")  # fmt: skip
    found = labels_on_grid_of(read_labels(folder / "theirs.dcm"), labels.grid, ("it", "the scan"))
    np.testing.assert_array_equal(found, labels.array)
