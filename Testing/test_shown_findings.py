"""Fracture and curve of a generated scan: those of what is judged, not those of the body that it was cut from."""

from dataclasses import replace

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Training.anatomy.plan import draw_plan
from Training.generated_scans import GeneratedScan
from Training.level_scans import level_scan
from Training.shown_findings import shown_findings

SPACING_MM = 3.0


def blocks(vertebrae):
    """Labels in which each body is a block around its middle, 8 mm high."""
    places = np.array([vertebra.center for vertebra in vertebrae])
    low, high = places.min(0) - 30, places.max(0) + 30
    array = np.zeros(np.ceil((high - low) / SPACING_MM).astype(int)[::-1], np.uint8)
    for vertebra in vertebrae:
        k, j, i = ((vertebra.center - low) / SPACING_MM).round().astype(int)[::-1]
        array[k - 1 : k + 2, j - 4 : j + 5, i - 5 : i + 6] = vertebra.value
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = low
    return Volume(array, affine)


def straight(vertebrae):
    return [replace(v, rotation=np.eye(3), height_anterior=v.height_posterior) for v in vertebrae]


def tilted(vertebra, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return replace(vertebra, rotation=np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))


@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_fracture_counts_in_every_vertebra_in_view(place):
    column = straight(draw_plan(1).vertebrae)[10:16]
    assert shown_findings(column, blocks(column)) == []
    column[place] = replace(column[place], height_anterior=0.7 * column[place].height_posterior)
    assert shown_findings(column, blocks(column)) == ["fracture"]
    assert shown_findings(column, blocks([v for v in column if v is not column[place]])) == []


def test_a_curve_is_that_between_bodies_in_view():
    column = straight(draw_plan(1).vertebrae)[10:16]
    column[0], column[-1] = tilted(column[0], 14), tilted(column[-1], -14)
    assert shown_findings(column, blocks(column)) == ["curve"]
    assert shown_findings(column, blocks(column[1:])) == []


def test_findings_of_a_short_piece_are_its_own():
    """Seed 9200107: a chest with a broken T5, judged by a piece below."""
    vertebrae = [v for v in draw_plan(9_200_107).vertebrae if v.name[0] == "T"]
    labels = blocks(vertebrae)
    assert "fracture" in shown_findings(vertebrae, labels)
    image = Volume(np.zeros(labels.array.shape, np.int16), labels.affine)
    view = level_scan(GeneratedScan(9_200_107, "chest", "up to 2 mm", "up to 1 mm", (), image, labels))
    assert view.groups["field of view"] == ["short"] and not (view.labels.array == vertebrae[4].value).any()
    assert vertebrae[4].name == "T5" and view.groups["finding"] == ["plain"]
