"""What was measured, in files: a table that names its units, and centroids that come back on any grid."""

import csv
import dataclasses
import json

import nibabel
import numpy as np
import pytest
from geometry import GRIDS
from known_sizes import *  # noqa: F403
from known_sizes import MARROW_HU, by_value, lower_planes_lost, painted_ct
from level_values import L3

from SpineContextSegLib.centroids import directions, read_centroids, write_centroids
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.measure import TABLE_TITLES, vertebra_rows, write_table
from SpineContextSegLib.volume import Volume


def test_the_table_names_its_units_and_leaves_empty_what_is_not_known(lumbar, tmp_path):
    _, labels = lumbar
    rows = vertebra_rows(painted_ct(labels), lower_planes_lost(labels, L3, 0.0))[1:-1]
    rows = [dataclasses.replace(rows[0], value=28, partial=True, height_front_mm=float("nan")), *rows[1:]]
    write_table(rows, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == TABLE_TITLES
    plain = {"level", "label", "front/back", "middle/back", "partial", "metal in body", "remark"}
    assert all(title.endswith(("(mm)", "(ml)", "(HU)")) for title in set(TABLE_TITLES) - plain)
    assert (lines[0]["level"], lines[0]["label"], lines[0]["partial"]) == ("T13", "28", "yes")
    assert lines[0]["body height front (mm)"] == lines[0]["front/back"] == ""
    assert float(lines[1]["volume (ml)"]) == pytest.approx(rows[1].volume_ml, abs=0.01)
    assert float(lines[1]["body interior mean (HU)"]) == pytest.approx(MARROW_HU, abs=3)
    assert float(lines[1]["front/back"]) == pytest.approx(rows[1].height_front_mm / rows[1].height_back_mm, abs=1e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_centroids_come_back_on_any_grid(name, lumbar, tmp_path):
    _, labels = lumbar
    grid, rows = GRIDS[name], vertebra_rows(None, labels)
    path = tmp_path / "centroids.json"
    write_centroids(rows, grid, path)
    content = json.loads(path.read_text())
    assert content[0] == {"direction": list(nibabel.aff2axcodes(grid.affine))}
    assert [set(entry) for entry in content[1:]] == [{"label", "X", "Y", "Z"}] * len(rows)
    first = nibabel.affines.apply_affine(grid.affine, [content[1][axis] for axis in "XYZ"])
    assert first == pytest.approx(rows[0].center_mm, abs=0.03)
    back = read_centroids(path, grid)
    assert list(back) == [row.value for row in rows]
    for row in rows:
        assert back[row.value] == pytest.approx(row.center_mm, abs=0.03)


def test_centroids_of_an_image_that_was_turned_since(lumbar, tmp_path):
    """VerSe's files may have other axes than the image at hand; what nibabel makes of it is the reference."""
    _, labels = lumbar
    rows = vertebra_rows(None, labels)
    path = tmp_path / "centroids.json"
    write_centroids(rows, labels.grid, path)
    image = nibabel.Nifti1Image(labels.array.T, labels.affine)
    for codes in ("PIR", "LPS", "SAL"):
        to = nibabel.orientations.axcodes2ornt(codes)
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), to))
        grid = dataclasses.replace(labels.grid, shape=turned.shape[::-1], affine=turned.affine)
        assert "".join(directions(grid)) == codes
        for value, center in read_centroids(path, grid).items():
            assert center == pytest.approx(by_value(rows)[value].center_mm, abs=0.02)


def test_a_file_of_the_published_kind_is_read(tmp_path):
    path = tmp_path / "ctd.json"
    entries = [{"label": 19, "X": 2, "Y": 7.5, "Z": 1}, {"label": 20, "X": float("nan"), "Y": 1, "Z": 1}]
    path.write_text(json.dumps([{"direction": ["P", "I", "R"]}, *entries]))
    affine = np.diag([2.0, 3.0, 5.0, 1.0])  # upright: the axes go to R, A and S
    grid = Volume(np.zeros((20, 10, 4)), affine).grid
    assert read_centroids(path, grid) == {19: (2.0 * 1, 3.0 * (9 - 2), 5.0 * (19 - 7.5))}


@pytest.mark.parametrize(
    "text",
    ["", "{", "7", "[]", "{}", '[{"label": 1, "X": 1, "Y": 1, "Z": 1}]', '[{"direction": ["P", "A", "R"]}]',
     '[{"direction": ["P", "I"]}]', '[{"direction": 3}]', '[{"direction": ["P", "I", "R"]}, {"label": 1, "X": 1}]',
     '[{"direction": ["P", "I", "R"]}, {"label": 1, "X": "a", "Y": 1, "Z": 1}]'],
)  # fmt: skip
def test_files_of_another_kind_are_refused_in_words(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputRefused, match="other.json"):
        read_centroids(path, GRIDS["lps"])
    with pytest.raises(InputRefused, match="none.json"):
        read_centroids(tmp_path / "none.json", GRIDS["lps"])
