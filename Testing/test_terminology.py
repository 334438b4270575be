"""The list of codes that Slicer's terminology selector shows for our segments, against the one table of labels."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from SpineContextSegLib.labels import DISC_LEVEL_UNKNOWN, STRUCTURES, TERMINOLOGY_CONTEXT, structure

TERM_FILE = (
    Path(__file__).parents[1]
    / "SpineContextSeg/Resources/SegmentationCategoryTypeModifier-SpineContextSeg.term.json"
)


def expected_terminology() -> dict:
    """One type for each code; where many structures share a code, the one that has no level stands for it."""
    shared = [structure(1, levels_known=False), STRUCTURES[DISC_LEVEL_UNKNOWN]]
    with_level = [s for s in STRUCTURES.values() if s.snomed_code not in {item.snomed_code for item in shared}]
    scheme, code, meaning = shared[0].terminology_entry.split("~")[1].split("^")
    return {
        "SegmentationCategoryTypeContextName": TERMINOLOGY_CONTEXT,
        # As in Slicer's own files; any other value is refused.
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#",
        "SegmentationCodes": {
            "Category": [{
                "CodeMeaning": meaning,
                "CodingSchemeDesignator": scheme,
                "CodeValue": code,
                "showAnatomy": False,
                "Type": [
                    {
                        "recommendedDisplayRGBValue": [round(255 * part) for part in item.color],
                        "CodeMeaning": item.snomed_meaning,
                        "CodingSchemeDesignator": "SCT",
                        "CodeValue": item.snomed_code,
                        "3dSlicerLabel": item.name,
                    }
                    for item in [*with_level, *shared]
                ],
            }]
        },
    }


def test_the_file_says_what_the_table_of_labels_says():
    assert json.loads(TERM_FILE.read_text(encoding="utf-8")) == expected_terminology()


def test_the_file_is_plain_ascii():
    """Slicer's parser reads bytes; names with accents would depend on the system."""
    assert TERM_FILE.read_bytes().isascii()


def test_codes_fit_into_dicom():
    """Short strings of 16 and long strings of 64 characters (DICOM PS3.5), as dcmqi's schema asks too."""
    types = expected_terminology()["SegmentationCodes"]["Category"][0]["Type"]
    assert len({item["CodeValue"] for item in types}) == len(types) == 28
    for item in types:
        assert len(item["CodeValue"]) <= 16 and len(item["CodeMeaning"]) <= 64


@pytest.fixture
def terminologies(scene, monkeypatch):
    """The logic of Slicer's Terminologies module, without our list."""
    slicer = pytest.importorskip("slicer")
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    monkeypatch.setattr(slicer.modules, "terminologies", SimpleNamespace(logic=lambda: logic))
    return logic


def test_slicer_finds_every_structure_in_the_list(terminologies):
    import slicer

    from SpineContextSegLib.mrml.segmentations import load_terminology

    load_terminology(TERM_FILE)
    assert terminologies.IsTerminologyContextLoaded(TERMINOLOGY_CONTEXT)
    types = expected_terminology()["SegmentationCodes"]["Category"][0]["Type"]
    color_of_code = {item["CodeValue"]: item["recommendedDisplayRGBValue"] for item in types}
    for item in [*STRUCTURES.values(), structure(1, levels_known=False)]:
        entry = slicer.vtkSlicerTerminologyEntry()
        assert terminologies.DeserializeTerminologyEntry(item.terminology_entry, entry)
        assert terminologies.SerializeTerminologyEntry(entry) == item.terminology_entry
        # Only what was found in the list brings a color along.
        found = entry.GetTypeObject()
        assert not found.GetSlicerLabel()
        assert terminologies.UpdateEntryFromLoadedTerminologies(entry, [TERMINOLOGY_CONTEXT], [])
        assert (found.GetCodeValue(), found.GetCodeMeaning()) == (item.snomed_code, item.snomed_meaning)
        assert list(found.GetRecommendedDisplayRGBValue()) == color_of_code[item.snomed_code]
        assert entry.GetTerminologyContextName() == TERMINOLOGY_CONTEXT


def test_every_name_in_the_list_is_found_by_slicer(terminologies):
    import slicer

    from SpineContextSegLib.mrml.segmentations import load_terminology

    load_terminology(TERM_FILE)
    for item in expected_terminology()["SegmentationCodes"]["Category"][0]["Type"]:
        entry = slicer.vtkSlicerTerminologyEntry()
        assert terminologies.FindTypeInTerminologyBy3dSlicerLabel(TERMINOLOGY_CONTEXT, item["3dSlicerLabel"], entry)
        assert entry.GetTypeObject().GetCodeValue() == item["CodeValue"]


def test_list_is_loaded_once(terminologies, tmp_path):
    from SpineContextSegLib.mrml.segmentations import load_terminology

    load_terminology(TERM_FILE)
    load_terminology(tmp_path / "missing.term.json")


@pytest.mark.parametrize("content", [None, "no JSON", '{"@schema": "other"}'])
def test_a_list_that_can_not_be_read_is_an_error(terminologies, vtk_errors, tmp_path, content):
    from SpineContextSegLib.mrml.segmentations import load_terminology

    path = tmp_path / "list.term.json"
    if content:
        path.write_text(content)
    with pytest.raises(OSError, match="install the extension again"):
        load_terminology(path)
    assert "LoadTerminologyFromFile" in vtk_errors.take()[0]
