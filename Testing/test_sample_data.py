"""The samples in Slicer's Sample Data module; with SLICER_SOURCE set, in Slicer's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import slicer

from SpineContextSegLib.panel import sample_data
from Testing.slicer_env.application import load_module
from Testing.slicer_env.fixtures import MODULE, unload_extension

ICONS = Path(__file__).resolve().parents[1] / "SpineContextSeg" / "Resources" / "Icons"


@pytest.fixture
def listed(application):
    """The samples under the module's heading, once registered."""
    for _ in range(2):
        sample_data.register(ICONS)
    return slicer.modules.sampleDataSources[sample_data.CATEGORY]


def test_every_sample_is_listed_once(listed):
    names = [source.sampleName for source in listed]
    assert names == ["SpineContextSegPhantom", "CTChest", "CTACardio", "CTAAbdomenPanoramix"]


def test_the_phantom_comes_from_this_computer(listed):
    phantom = listed[0]
    assert phantom.uris == [sample_data.PHANTOM_FILE.as_uri()] and phantom.uris[0].startswith("file:///")
    assert phantom.checksums == [f"SHA256:{sample_data.PHANTOM_SHA256}"]
    assert phantom.fileNames[0].endswith(".nii.gz") and phantom.nodeNames == ["SpineContextSegPhantom"]
    assert Path(phantom.thumbnailFileName).is_file()


def test_the_others_are_slicers_own(listed):
    general = {source.sampleName: source for source in slicer.modules.sampleDataSources["General"]}
    assert all(source is general[source.sampleName] for source in listed[1:])


def test_they_are_listed_where_the_module_was_added_to_a_running_application(scene, application, monkeypatch):
    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    load_module(MODULE, after_startup=True)
    assert sample_data.CATEGORY not in slicer.modules.sampleDataSources
    slicer.modules.spinecontextseg.widgetRepresentation()
    assert len(slicer.modules.sampleDataSources[sample_data.CATEGORY]) == 4
    unload_extension(application)


def test_an_application_without_sample_data(monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    sample_data.register(ICONS)
