"""DICOM SEG, read back by place: every voxel is where the label was, on the image that it was drawn on."""

import sys

import numpy as np
import pydicom
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.dicom_seg import Segment, find_images, network_segments, write_dicom_seg
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import STRUCTURES, structures_of
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import LPS_FROM_RAS, Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter, edit, multi_frame, parts
from Testing.geometry import GRIDS, LPS, SHEARED, centered_grid, rotation

highdicom = pytest.importorskip("highdicom")

VALUES = (8, 24, 26, 61, 124)
MODEL = "tiny 3.1"
STRAIGHT = [name for name in GRIDS if name not in SHEARED]


def scan(grid) -> Volume:
    return Volume(np.random.default_rng(0).integers(-1024, 2000, grid.shape).astype(np.int16), grid.affine)


def labels_on(volume: Volume) -> Volume:
    """Noise in the middle, so that no plane, row or column looks like another; the slices at both ends are empty."""
    array = np.zeros(volume.array.shape, np.uint8)
    inside = array[1:-1]
    inside[:] = np.random.default_rng(1).choice((0, 0, 0, *VALUES), inside.shape)
    return Volume(array, volume.affine)


def written(volume: Volume, folder, writer=None) -> tuple[Volume, pydicom.Dataset]:
    """Labels on a series as it is read, and their DICOM SEG."""
    if writer is None:
        SeriesWriter(folder / "series").write(volume)
    read, _ = read_volume(folder / "series")
    labels = labels_on(read)
    images = find_images(folder / "series", read.grid)
    write_dicom_seg(labels, images, network_segments(labels.array), MODEL, folder / "spine.dcm")
    return labels, pydicom.dcmread(folder / "spine.dcm")


def labels_by_place(file: pydicom.Dataset, labels: Volume) -> np.ndarray:
    """The label map (k, j, i) that the frames say, each voxel put where its frame says that it lies."""
    shared = file.SharedFunctionalGroupsSequence[0]
    columns_mm, rows_mm = (float(n) for n in shared.PixelMeasuresSequence[0].PixelSpacing[::-1])
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    values = {item.SegmentNumber: value_of(item) for item in file.SegmentSequence}
    found = np.zeros(labels.array.shape, np.uint8)
    to_index = np.linalg.inv(LPS_FROM_RAS @ labels.affine)
    for frame, pixels in zip(file.PerFrameFunctionalGroupsSequence, file.pixel_array, strict=True):
        rows, columns = np.nonzero(pixels)
        assert rows.size, "an empty frame"
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        place = corner + np.outer(columns * columns_mm, orientation[:3]) + np.outer(rows * rows_mm, orientation[3:])
        index = place @ to_index[:3, :3].T + to_index[:3, 3]
        assert np.abs(index - np.rint(index)).max() < 0.01
        i, j, k = np.rint(index).astype(int).T
        assert not found[k, j, i].any()
        found[k, j, i] = values[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
    return found


def value_of(item: pydicom.Dataset) -> int:
    return next(s.value for s in structures_of(VALUES) if s.name == item.SegmentLabel)


@pytest.mark.parametrize("name", STRAIGHT)
def test_every_voxel_comes_back_at_its_place(name, tmp_path):
    labels, file = written(scan(GRIDS[name]), tmp_path)
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)
    read = read_labels(tmp_path / "spine.dcm")
    np.testing.assert_array_equal(labels_on_grid_of(read, labels.grid, ("it", "the scan")), labels.array)


@pytest.mark.parametrize("name", STRAIGHT)
def test_every_frame_refers_to_the_image_that_it_was_drawn_on(name, tmp_path):
    """By UID, as viewers do it that show the outline on the source."""
    labels, file = written(scan(GRIDS[name]), tmp_path)
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, (tmp_path / "series").iterdir())}
    assert {ds.SeriesInstanceUID for ds in sources.values()} == {
        item.SeriesInstanceUID for item in file.ReferencedSeriesSequence
    }
    read, _ = read_volume(tmp_path / "series")
    for frame, pixels in zip(file.PerFrameFunctionalGroupsSequence, file.pixel_array, strict=True):
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        hu = sources[uid].pixel_array + sources[uid].RescaleIntercept
        [k] = np.flatnonzero((read.array == hu).all(axis=(1, 2)))
        value = value_of(file.SegmentSequence[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1])
        np.testing.assert_array_equal(pixels == 1, labels.array[k] == value)


def test_slices_from_head_to_feet_and_by_highdicom_itself(tmp_path):
    """Files whose order runs against that of the volume, oblique, anisotropic; read with the library of others."""
    volume = scan(centered_grid((0.7, 0.9, 2.3), (40, 36, 50), rotation(12, 0) @ rotation(-20, 1) @ LPS))
    SeriesWriter(tmp_path / "series").write(volume, only=list(range(len(volume.array)))[::-1])
    labels, file = written(volume, tmp_path, writer="done")
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)
    read = highdicom.seg.segread(tmp_path / "spine.dcm")
    order = sorted(
        map(pydicom.dcmread, (tmp_path / "series").iterdir()),
        key=lambda ds: np.linalg.inv(LPS_FROM_RAS @ labels.affine)[2] @ [*ds.ImagePositionPatient, 1],
    )
    pixels = read.get_pixels_by_source_instance([ds.SOPInstanceUID for ds in order], combine_segments=True,
                                                ignore_spatial_locations=False, assert_missing_frames_are_empty=True)
    table = np.array([0, *(value_of(item) for item in file.SegmentSequence)])
    np.testing.assert_array_equal(table[pixels], labels.array)


@pytest.mark.parametrize("turned", [False, True])
def test_frames_of_an_enhanced_ct(turned, tmp_path):
    volume = scan(GRIDS["oblique_thick"])
    if turned:
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = len(volume.array) - 1
        volume = Volume(volume.array[::-1], volume.affine @ flip)
    multi_frame(volume, tmp_path / "series" / "ct.dcm")
    labels, file = written(volume, tmp_path, writer="done")
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)


def test_of_blocks_with_a_gap_between_each_plane_is_on_its_own_image(tmp_path):
    """Those of the longest block, which is all that was read."""
    volume = scan(GRIDS["thick"])
    SeriesWriter(tmp_path / "series").write(volume, only=[0, 1, 2, *range(7, 12)])
    labels, file = written(volume, tmp_path, writer="done")
    assert len(labels.array) == 5
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)
    order = sorted(map(pydicom.dcmread, (tmp_path / "series").iterdir()), key=lambda ds: ds.ImagePositionPatient[2])
    uids = {frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for frame in file.PerFrameFunctionalGroupsSequence}  # fmt: skip
    assert uids == {ds.SOPInstanceUID for ds in order[4:7]}


def test_of_frames_with_a_gap_between_each_plane_is_on_its_own_frame(tmp_path):
    volume = scan(GRIDS["thick"])
    multi_frame(volume, tmp_path / "series" / "ct.dcm")

    def move_the_first(ds):
        for frame in ds.PerFrameFunctionalGroupsSequence[:4]:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] -= 30

    edit(tmp_path / "series", move_the_first)
    labels, file = written(volume, tmp_path, writer="done")
    assert len(labels.array) == len(volume.array) - 4
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)
    frames = {frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
              for frame in file.PerFrameFunctionalGroupsSequence}  # fmt: skip
    assert frames == set(range(6, len(volume.array)))


def test_what_is_said_of_the_segments(tmp_path):
    labels, file = written(scan(GRIDS["thick"]), tmp_path)
    assert file.Modality == "SEG" and file.SegmentationType == "BINARY"
    assert file.PatientName == "Müller^Jürgen" and file.StudyInstanceUID == "1.2.826.0.1.3680043.8.498.1"
    assert [item.SegmentLabel for item in file.SegmentSequence] == [s.name for s in structures_of(VALUES)]
    for item in file.SegmentSequence:
        structure = STRUCTURES[value_of(item)]
        [kind], [category] = item.SegmentedPropertyTypeCodeSequence, item.SegmentedPropertyCategoryCodeSequence
        assert (kind.CodingSchemeDesignator, kind.CodeValue) == ("SCT", structure.snomed_code)
        assert kind.CodeMeaning == structure.snomed_meaning and category.CodeValue == "123037004"
        color = highdicom.color.CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue).to_rgb(clip=True)
        assert np.abs(np.array(color) - 255 * np.array(structure.color)).max() <= 1
        assert item.SegmentAlgorithmType == "AUTOMATIC" and item.SegmentAlgorithmName == "SpineContextSeg, tiny"
        [algorithm] = item.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("SpineContextSeg, tiny", "3.1")
    measures = file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == pytest.approx(5.0)


def test_segments_of_ones_own(tmp_path):
    volume = scan(GRIDS["lps"])
    SeriesWriter(tmp_path / "series").write(volume)
    read, _ = read_volume(tmp_path / "series")
    array = np.zeros(read.array.shape, np.uint16)
    array[3:6, 4:9, 5:7], array[10, 11, 12] = 300, 24
    segments = [
        Segment(24, STRUCTURES[24].name, (1.0, 0.0, 0.0), STRUCTURES[24].terminology_entry, "SEMIAUTOMATIC"),
        Segment(300, "Größe 脊椎 \\ " + 80 * "x", (0.0, 0.5, 1.0), "", "MANUAL"),
        Segment(301, "empty", (0.0, 0.5, 1.0), "", "MANUAL"),
    ]
    write_dicom_seg(Volume(array, read.affine), find_images(tmp_path / "series", read.grid), segments, None,
                    tmp_path / "spine.dcm")  # fmt: skip
    file = pydicom.dcmread(tmp_path / "spine.dcm")
    vertebra, own = file.SegmentSequence
    assert own.SegmentLabel.startswith("Größe 脊椎 / xx") and len(own.SegmentLabel) == 64
    assert own.SegmentAlgorithmType == "MANUAL" and own.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert vertebra.SegmentAlgorithmType == "SEMIAUTOMATIC" and vertebra.SegmentAlgorithmName == "SpineContextSeg"
    assert file.NumberOfFrames == 4 and file.pixel_array.sum() == (array > 0).sum()


def test_headers_with_gaps_are_enough(tmp_path):
    """As they come from programs that take names away: what may be empty is left out, and the sex is none."""
    volume = scan(GRIDS["lps"])
    SeriesWriter(tmp_path / "series").write(volume)
    for path in (tmp_path / "series").iterdir():
        ds = pydicom.dcmread(path)
        del ds.PatientName, ds.PatientID
        ds.PatientSex = "U"
        # A last digit that differs from slice to slice.
        ds.ImageOrientationPatient = [1, 1e-7 * int(ds.InstanceNumber), 0, 0, 1, 0]
        ds.save_as(path)
    labels, file = written(volume, tmp_path, writer="done")
    assert file.PatientSex is None or file.PatientSex == ""
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("PatientBirthDate", value) for value in ("00000000", "19500000", "ANON", "unknown")),
        *(("StudyDate", value) for value in ("00000000", "2020/01/01")),
        ("StudyTime", "12:00:00"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_dates_that_are_none_are_left_out(keyword, value, tmp_path):
    """As a date of birth after an anonymization."""
    SeriesWriter(tmp_path / "series").write(scan(GRIDS["lps"]))
    element = pydicom.DataElement(keyword, pydicom.datadict.dictionary_VR(keyword), value, validation_mode=0)
    edit(tmp_path / "series", lambda ds: ds.add(element))
    labels, file = written(scan(GRIDS["lps"]), tmp_path, writer="done")
    assert not file[keyword].value
    np.testing.assert_array_equal(labels_by_place(file, labels), labels.array)


def test_dates_are_kept(tmp_path):
    dates = {"PatientBirthDate": "19500102", "StudyDate": "20200304", "StudyTime": "120000.5"}
    SeriesWriter(tmp_path / "series").write(scan(GRIDS["lps"]))
    edit(tmp_path / "series", lambda ds: ds.update(dates))
    _, file = written(scan(GRIDS["lps"]), tmp_path, writer="done")
    assert {keyword: file[keyword].value for keyword in dates} == dates


def test_headers_that_lack_what_matters_are_refused(tmp_path):
    SeriesWriter(tmp_path / "series").write(scan(GRIDS["lps"]))
    for path in (tmp_path / "series").iterdir():
        ds = pydicom.dcmread(path)
        del ds.StudyInstanceUID
        ds.save_as(path)
    assert "write .seg.nrrd" in refusal(lambda: written(scan(GRIDS["lps"]), tmp_path, writer="done"))
    assert not (tmp_path / "spine.dcm").exists()


def refusal(act) -> str:
    with pytest.raises(InputRefused) as refused:
        act()
    text = str(refused.value)
    assert "\n" not in text and "Error" not in text
    return text


@pytest.mark.parametrize("name", SHEARED)
def test_a_tilted_gantry_is_refused(name, tmp_path):
    SeriesWriter(tmp_path / "series").write(scan(GRIDS[name]))
    read, _ = read_volume(tmp_path / "series")
    assert "tilted gantry" in refusal(lambda: find_images(tmp_path / "series", read.grid))


def test_missing_slices_are_refused(tmp_path):
    volume = scan(GRIDS["lps"])
    SeriesWriter(tmp_path / "series").write(volume, only=[k for k in range(len(volume.array)) if k not in (5, 6)])
    read, _ = read_volume(tmp_path / "series")
    assert "missing" in refusal(lambda: find_images(tmp_path / "series", read.grid))


def test_another_series_in_its_place_is_refused(tmp_path):
    SeriesWriter(tmp_path / "series").write(scan(GRIDS["lps"]))
    assert "not the series" in refusal(lambda: find_images(tmp_path / "series", GRIDS["thick"]))


def test_what_is_no_dicom_is_refused(tmp_path):
    write_volume(scan(GRIDS["lps"]), tmp_path / "scan.nii.gz")
    assert "'scan.nii.gz' is none" in refusal(lambda: find_images(tmp_path / "scan.nii.gz", GRIDS["lps"]))


def test_without_voxels_there_is_nothing_to_write(tmp_path):
    SeriesWriter(tmp_path / "series").write(scan(GRIDS["lps"]))
    read, _ = read_volume(tmp_path / "series")
    images = find_images(tmp_path / "series", read.grid)
    empty = Volume(np.zeros(read.array.shape, np.uint8), read.affine)
    assert "no labels" in refusal(lambda: write_dicom_seg(empty, images, [], None, tmp_path / "spine.dcm"))


def test_without_highdicom_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert "pip install highdicom" in refusal(lambda: find_images(tmp_path, GRIDS["lps"]))


def test_beside_it_its_series_is_still_what_is_read(tmp_path):
    """With more frames than the series has slices, each as large, and whatever was asked for."""
    volume = scan(GRIDS["sagittal_thick"])
    SeriesWriter(tmp_path / "series", modality="MR").write(volume)
    labels, file = written(volume, tmp_path, writer="done")
    assert file.NumberOfFrames > len(volume.array)
    for modality in ("CT", "MR"):
        read, _ = read_volume(tmp_path, modality)
        assert read.grid.same_as(labels.grid) and read.array.max() > 255


def test_the_command_line_writes_it(tiny_model, sample_scan, tmp_path, capsys):
    SeriesWriter(tmp_path / "series").write(sample_scan.volume)
    arguments = ["--model", str(tiny_model), "--threads", "1"]
    assert main(["segment", str(tmp_path / "series"), "-o", str(tmp_path / "spine.dcm"), *arguments]) == 0
    assert main(["segment", str(tmp_path / "series"), "-o", str(tmp_path / "spine.nrrd"), *arguments]) == 0
    labels, _ = read_volume(tmp_path / "spine.nrrd")
    file = pydicom.dcmread(tmp_path / "spine.dcm")
    [segment] = file.SegmentSequence
    assert segment.SegmentLabel == "Vertebrae" and segment.SegmentAlgorithmName == "SpineContextSeg, tiny"
    assert file.pixel_array.sum() == (labels.array == 1).sum() > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series", "spine.dcm", "spine.nrrd"]


def test_the_command_line_refuses_it_before_the_work(tiny_model, sample_scan, tmp_path, capsys):
    assert main(["segment", str(sample_scan.path), "-o", str(tmp_path / "spine.dcm"), "--model", str(tiny_model)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "'scan.nii.gz' is none" in said.err and len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
def test_the_command_line_refuses_headers_that_lack_what_matters_before_the_work(
    frames, tiny_model, sample_scan, tmp_path, capsys, monkeypatch
):
    series, output = tmp_path / "series", tmp_path / "spine.dcm"
    multi_frame(sample_scan.volume, series / "ct.dcm") if frames else SeriesWriter(series).write(sample_scan.volume)
    monkeypatch.setattr("SpineContextSegLib.pipeline.segment", lambda *_, **__: pytest.fail("the network ran"))
    arguments = ["segment", str(series), "-o", str(output), "--model", str(tiny_model), "--threads", "1"]
    with pytest.raises(pytest.fail.Exception):
        main(arguments)
    edit(series, lambda ds: delattr(ds, "FrameOfReferenceUID"))
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and "write .seg.nrrd instead" in said.err and len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [series]


def test_a_series_in_several_multi_frame_files_is_refused(tmp_path):
    """Frames are counted within a file, and highdicom takes one such file at most."""
    volume = scan(GRIDS["lps"])
    parts(volume, tmp_path / "series", [0, len(volume.array) // 2, len(volume.array)])
    assert "write .seg.nrrd" in refusal(lambda: written(volume, tmp_path, writer="done"))
    assert not (tmp_path / "spine.dcm").exists()
