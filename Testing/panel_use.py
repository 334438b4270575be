"""What a person does with the panel, for tests that click."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import slicer

from SpineContextSegLib.model import FOLDER_VARIABLE
from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.panel.run_folder import FOLDER_PREFIX
from Testing.processes import working_on
from Testing.scene_nodes import add_volume, mask_of

# The fixtures, for `from Testing.panel_use import *`.
__all__ = ["ct", "labels_of", "models", "user"]


@dataclass
class User:
    """Looks at the panel and clicks on it; waits where a person would."""

    wait_until: object

    @property
    def ui(self):
        # Of the panel that is there now: reloading the module makes a new one.
        return slicer.modules.SpineContextSegWidget.ui

    @property
    def parameters(self):
        return slicer.modules.SpineContextSegWidget.logic.getParameterNode()

    @property
    def is_running(self) -> bool:
        return self.ui.segmentButton.text == "Cancel"

    def click_segment(self) -> None:
        assert not self.is_running and self.ui.segmentButton.enabled, self.ui.statusLabel.text
        self.ui.segmentButton.click()

    def start_slow_run(self) -> None:
        """Clicks, and waits until a network works that has much to do."""
        self.parameters.model = "slow"
        self.click_segment()
        started = time.monotonic()
        self.wait_for_windows()
        # Before that, another click passes for the second one of a double click.
        self.wait_until(lambda: time.monotonic() - started > sys.modules["SpineContextSeg"].DOUBLE_CLICK_SECONDS)

    def wait_for_windows(self) -> None:
        self.wait_until(lambda: self.ui.progressBar.maximum > 0 and "Window" in self.ui.statusLabel.text, 60)

    def wait_for_end(self) -> None:
        self.wait_until(lambda: not self.is_running, 60)

    def segment(self):
        """Clicks, waits, and returns the segmentation that the panel shows then."""
        self.click_segment()
        self.wait_for_end()
        return self.parameters.outputSegmentation

    def reason(self) -> str:
        """Why the button is disabled; it says so itself, and so does the status line."""
        assert not self.ui.segmentButton.enabled
        assert self.ui.segmentButton.toolTip == self.ui.statusLabel.text
        return self.ui.statusLabel.text

    def notice(self) -> str:
        """What the colored frame says, "" where it isn't shown."""
        return self.ui.noticeLabel.text if self.ui.noticeFrame.visible else ""

    def assert_clean(self) -> None:
        """No process, no folder."""
        folder = Path(slicer.app.temporaryPath)
        assert not working_on(folder)
        assert not list(folder.glob(f"{FOLDER_PREFIX}*"))


def labels_of(node, volume_node) -> np.ndarray:
    """Our segments as one label map (k, j, i)."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    for value, segment_id in our_values(node).items():
        labels[mask_of(node, segment_id, volume_node)] = value
    return labels


@pytest.fixture
def models(monkeypatch, tiny_model, slow_model, tmp_path) -> None:
    """The test models among the user's own, as "tiny" and "slow"."""
    folder = tmp_path / "models"
    folder.mkdir()
    for model in (tiny_model, slow_model):
        (folder / model.name).symlink_to(model)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))


@pytest.fixture
def user(models, panel, wait_until) -> User:
    """Somebody before the panel, with the quick model chosen; nothing may be left of what he does."""
    user = User(wait_until)
    user.parameters.model = "tiny"
    yield user
    user.assert_clean()


@pytest.fixture
def ct(user, sample_scan):
    """The sample scan in the scene, and so in the panel."""
    return add_volume(sample_scan.volume.grid, "CTChest", sample_scan.volume.array)
