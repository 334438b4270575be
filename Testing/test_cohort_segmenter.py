"""What the process of a scan finds when it is done, perhaps hours after the plan was made."""

import json
import os
import shutil
from functools import partial

import pytest
import SimpleITK as sitk
from cohorts import change, fill

from SpineContextSegLib import batch_records
from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.cohort import segmenter
from SpineContextSegLib.cohort.places import place_scans
from SpineContextSegLib.cohort.plan import Options, make_plan, result_stays
from SpineContextSegLib.cohort.records import PLACING, make_record, model_digest, write_record
from SpineContextSegLib.cohort.scans import find_scans
from SpineContextSegLib.cohort.segmenter import NOT_AS_PLANNED, Segmenter
from SpineContextSegLib.model import load_model
from SpineContextSegLib.reading import read_labels
from Testing.dicom_series import SeriesWriter


class Cohort:
    """One scan; its plan is made anew each time."""

    def __init__(self, folder, scan, model):
        self.source, self.output, self.model = fill(folder / "in", scan, "a.nii.gz"), folder / "out", model
        self.staging = self.output / ".running" / "batch"
        self.staging.mkdir(parents=True)
        self.segmentation, self.record = self.output / "a.seg.nrrd", self.output / "a.json"

    def plan(self, preview=False):
        model = load_model(str(self.model))
        scans = find_scans(self.source, modalities=model.card.modality).scans
        options = Options(str(self.model), model_digest(model), "spine", False, preview)
        places = place_scans(scans, self.output, ".seg.nrrd", partial(result_stays, options=options))
        return make_plan(scans, places, options, self.staging)

    def job(self, preview=False):
        (job,) = self.plan(preview).jobs
        return job

    def result(self, preview=False):
        return Segmenter(1).run(self.job(preview))


@pytest.fixture
def cohort(tmp_path, sample_scan, tiny_model):
    return Cohort(tmp_path, sample_scan.path, tiny_model)


def while_segmenting(monkeypatch, act):
    """Something happens while the network computes."""
    segment = segmenter.segment

    def slowly(*arguments, **options):
        act()
        return segment(*arguments, **options)

    monkeypatch.setattr(segmenter, "segment", slowly)


def test_a_correction_saved_while_the_batch_runs_is_kept(cohort, monkeypatch):
    cohort.result()
    cohort.record.write_text(cohort.record.read_text().replace('"done"', f'"{PLACING}"'))
    job, before = cohort.job(), cohort.record.read_bytes()
    while_segmenting(monkeypatch, lambda: cohort.segmentation.write_bytes(b"a correction"))
    result = Segmenter(1).run(job)
    assert cohort.segmentation.read_bytes() == b"a correction" and cohort.record.read_bytes() == before
    assert result["state"] == "refused" and "saved by hand while the batch ran" in result["message"]
    (refusal,) = cohort.plan().settled.values()
    assert refusal["state"] == "refused"
    monkeypatch.undo()
    cohort.segmentation.rename(cohort.output / "corrected.nrrd")
    assert cohort.result()["state"] == "done" and read_labels(cohort.segmentation).array.any()


def test_a_file_that_appears_while_the_batch_runs_is_kept(cohort, monkeypatch):
    job = cohort.job()
    while_segmenting(monkeypatch, lambda: cohort.segmentation.write_bytes(b"of somebody"))
    assert Segmenter(1).run(job)["state"] == "refused" and not cohort.record.exists()
    monkeypatch.undo()
    assert cohort.result()["state"] == "done" and cohort.segmentation.read_bytes() == b"of somebody"


def test_what_an_earlier_try_has_put_in_place_is_no_correction(cohort):
    job = cohort.job()
    cohort.segmentation.write_bytes(b"of the try before")
    written = [file_digest(cohort.segmentation)]
    write_record(make_record(job.key, job.fingerprint, PLACING, written=written), cohort.record, cohort.staging)
    assert Segmenter(1).run(job)["state"] == "done" and read_labels(cohort.segmentation).array.any()


def test_a_result_whose_picture_found_no_place_is_still_ours(cohort, monkeypatch):
    while_segmenting(monkeypatch, (cohort.output / "a.png").mkdir)
    assert cohort.result(preview=True)["state"] == "failed" and cohort.segmentation.is_file()
    monkeypatch.undo()
    (cohort.output / "a.png").rmdir()
    assert cohort.result(preview=True)["state"] == "done" and (cohort.output / "a.png").is_file()


def test_a_scan_that_goes_and_comes_back_is_tried_again(cohort):
    job, (scan,), aside = cohort.job(), cohort.source.iterdir(), cohort.output / "aside"
    scan.rename(aside)
    result = Segmenter(1).run(job)
    assert result["state"] == "failed" and result["message"] == NOT_AS_PLANNED.format(name="a.nii.gz")
    aside.rename(scan)
    assert cohort.result()["state"] == "done"


def test_a_scan_that_is_copied_while_the_batch_runs_is_tried_again_and_a_broken_one_refused(cohort):
    job, (scan,) = cohort.job(), cohort.source.iterdir()
    whole = scan.read_bytes()
    scan.write_bytes(whole[:5000])
    assert Segmenter(1).run(job)["state"] == "failed"
    assert cohort.result()["state"] == "refused"
    os.utime(scan, (1, 1))
    assert not cohort.plan().jobs
    scan.write_bytes(whole)
    assert cohort.result()["state"] == "done"


def test_a_scan_that_is_replaced_while_it_is_segmented_is_segmented_again(cohort, monkeypatch):
    while_segmenting(monkeypatch, lambda: change(cohort.source / "a.nii.gz"))
    assert cohort.result()["state"] == "done"
    assert cohort.job().work == "segment"


def test_a_series_isnt_segmented_without_the_slices_that_have_gone(cohort, sample_scan):
    (scan,) = cohort.source.iterdir()
    scan.unlink()
    SeriesWriter(cohort.source).write(sample_scan.volume)
    job, lost = cohort.job(), min(cohort.source.iterdir())
    lost.rename(cohort.output / "aside")
    assert Segmenter(1).run(job)["state"] == "failed"
    (cohort.output / "aside").rename(lost)
    assert cohort.result()["state"] == "done"


def test_a_series_is_read_as_one_of_the_modality_that_the_model_was_made_for(cohort, sample_scan, tmp_path):
    cohort.model = shutil.copytree(cohort.model, tmp_path / "mr model")
    card = json.loads((cohort.model / "card.json").read_text())
    (cohort.model / "card.json").write_text(json.dumps(card | {"modality": ["MR"]}))
    (scan,) = cohort.source.iterdir()
    scan.unlink()
    writer = SeriesWriter(cohort.source, modality="MR")
    writer.write(sample_scan.volume, [0, 1])
    writer.write(sample_scan.volume, [1])
    result = cohort.result()
    assert result["state"] == "refused" and "Only 2 slices" in result["message"]
    assert "the whole MR series" in result["message"]


def test_a_refusal_says_what_force_is_for(tmp_path, sample_scan):
    result = Cohort(tmp_path, sample_scan.path, "spinecontext-mr").result()
    assert result["state"] == "refused" and result["message"].endswith("If it is an MR all the same, use --force.")


def test_a_result_that_cant_be_read_stops_no_other_scan(cohort, monkeypatch):
    cohort.result()
    change(cohort.source / "a.nii.gz")
    fill(cohort.source, cohort.source / "a.nii.gz", "b.nii.gz")

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(batch_records, "file_digest", closed)
    plan = cohort.plan()
    assert [job.key for job in plan.jobs] == ["b.nii.gz"]
    (refusal,) = plan.settled.values()
    assert refusal["state"] == "refused" and "'a.seg.nrrd' can't be read (Permission denied)" in refusal["message"]


def test_a_picture_whose_record_has_gone_is_reported(cohort):
    cohort.result()
    job = cohort.job(preview=True)
    before = cohort.segmentation.read_bytes()
    cohort.record.unlink()
    result = Segmenter(1).run(job)
    assert result["state"] == "failed" and "'a.json' has gone" in result["message"]
    assert cohort.segmentation.read_bytes() == before


def test_a_lack_of_memory_is_tried_again(cohort, monkeypatch):
    def run_out_of_memory(*_):
        raise RuntimeError("itk: Failed to allocate memory for image.")

    with monkeypatch.context() as patched:
        patched.setattr(sitk.ImageFileReader, "Execute", run_out_of_memory)
        result = cohort.result()
    assert result["state"] == "failed" and "not enough memory" in result["message"]
    assert cohort.result()["state"] == "done"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_who_shares_a_result_goes_on_sharing_the_one_that_replaces_it(cohort):
    """Of a batch that is run again into a folder of several people."""
    cohort.result(preview=True)
    picture = cohort.output / "a.png"
    files = (cohort.segmentation, cohort.record, picture)

    def rights():
        return [path.stat().st_mode & 0o777 for path in files]

    before = os.umask(0o022)
    try:
        for path in files:
            path.chmod(0o664)
        change(cohort.source / "a.nii.gz")
        job = cohort.job(preview=True)
        assert job.work == "segment" and Segmenter(1).run(job)["state"] == "done" and rights() == [0o664] * 3
        picture.unlink()
        job = cohort.job(preview=True)
        picture.write_bytes(b"of another run")
        picture.chmod(0o664)
        assert job.work == "preview" and Segmenter(1).run(job)["state"] == "done" and rights() == [0o664] * 3
        assert picture.read_bytes() != b"of another run"
    finally:
        os.umask(before)


def test_the_picture_of_an_earlier_result_goes_with_it(cohort):
    picture = cohort.output / "a.png"
    cohort.result(preview=True)
    (scan,) = cohort.source.iterdir()
    change(scan)  # perhaps another patient's by now
    assert cohort.result(preview=False)["state"] == "done" and not picture.exists()
    assert cohort.job(preview=True).work == "preview"
    cohort.result(preview=True)
    assert picture.is_file() and not cohort.plan(preview=False).jobs
