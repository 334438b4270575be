"""The panel with vertebrae in it and its section "Levels" open, for `from Testing.panel_levels_use import *`."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from SpineContextSegLib.labels import structure
from SpineContextSegLib.mrml.ours import our_values
from Testing.scene_nodes import add_volume, remove_views
from Testing.scene_results import SMALL, add_result, blocks

# The fixtures.
__all__ = ["node", "volume"]

LUMBAR = (26, 124, 24, 123, 23, 122, 22)


@pytest.fixture
def volume(user):
    yield add_volume(SMALL)
    remove_views()


@pytest.fixture
def node(user, volume):
    """L3 to L5 from top to bottom, discs and sacrum, shown in the panel with the section open."""
    node = add_result(volume, blocks(*LUMBAR))
    user.parameters.outputSegmentation = node
    user.ui.levelsCollapsibleButton.collapsed = False
    return node


def texts(box) -> list[str]:
    return [box.itemText(row) for row in range(box.count)]


def levels(node) -> list[int]:
    return [value for value in our_values(node) if structure(value).kind == "vertebra"]


def choose(user, vertebra: str, level: str | None = None, thoracic: int = 12, lumbar: int = 5) -> None:
    ui = user.ui
    ui.thoracicComboBox.setCurrentText(str(thoracic))
    ui.lumbarComboBox.setCurrentText(str(lumbar))
    assert vertebra in texts(ui.vertebraComboBox)
    ui.vertebraComboBox.setCurrentText(vertebra)
    if level:
        assert level in texts(ui.levelComboBox)
        ui.levelComboBox.setCurrentText(level)


def point_at(volume_node, mask) -> None:
    """Puts the crosshair into the middle of a mask (k, j, i)."""
    k, j, i = np.argwhere(mask).mean(axis=0)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair = crosshair or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(*SMALL.world(np.array([i, j, k])))
