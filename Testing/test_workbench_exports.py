"""Exports are called as their scans are, so that those of two scans are told apart."""

import pytest

from Testing.dicom_series import SeriesWriter
from Testing.store_use import *  # noqa: F403
from Testing.store_use import write_scan
from Testing.workbench_use import paint, play
from Workbench.store.scan_names import without_ending
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")

SCANS = ("1.3.6.1.4", "1.3.6.1.5", "chest.5.nii.gz")


def test_only_endings_go():
    names = (*SCANS, "A.NII", "b.nrrd", ".nii", "v1.2.mha")
    short = ("1.3.6.1.4", "1.3.6.1.5", "chest.5", "A", "b", ".nii", "v1.2")
    assert tuple(map(without_ending, names)) == short


async def export_all(bench):
    for entry in bench.worklist.entries():
        await bench.open_entry(entry.number)
        paint(bench, 3)
        for form in ("seg.nrrd", "nii.gz", "stl"):
            key, _ = bench.exports.make(bench.scene, form)
            print(bench.exports.file(key).name)


def test_exports_bear_the_whole_name(data, sample_scan):
    for name in SCANS[:2]:
        SeriesWriter(data / name).write(sample_scan.volume, list(range(20)))
    write_scan(data / SCANS[2], 1)
    Worklist.open(data, "tester").add([data / name for name in SCANS])
    said = play(export_all, data).splitlines()
    names = ("1.3.6.1.4 spine", "1.3.6.1.5 spine", "chest.5 spine")
    # Of an STL with one surface there is one file.
    assert said == [f"{name}{end}" for name in names for end in (".seg.nrrd", ".zip", "_Segment_1.stl")]
