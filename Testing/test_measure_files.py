"""What was measured, in files: a table that names its units, and centroids that come back on any grid."""

import csv
import dataclasses

import pytest
from centroid_files import read_centroids
from geometry import GRIDS
from known_sizes import *  # noqa: F403
from known_sizes import MARROW_HU, lower_planes_lost, painted_ct
from level_values import L3

from SpineContextSegLib.centroids import write_centroids
from SpineContextSegLib.measure import TABLE_TITLES, vertebra_rows, write_table


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
    back = read_centroids(path, grid)
    assert list(back) == [row.value for row in rows]
    for row in rows:
        assert back[row.value] == pytest.approx(row.center_mm, abs=0.03)
