"""What a person does with the panel, for tests that click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.panel.runs import FOLDER_PREFIX
from Testing.processes import working_on
from Testing.scene_nodes import mask_of


@dataclass
class User:
    """Looks at the panel and clicks on it; waits where a person would."""

    panel: object
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

    def wait_for_windows(self) -> None:
        """Until the network works."""
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
        from pathlib import Path

        folder = Path(slicer.app.temporaryPath)
        assert not working_on(folder)
        assert not list(folder.glob(f"{FOLDER_PREFIX}*"))


def labels_of(node, volume_node) -> np.ndarray:
    """Our segments as one label map (k, j, i)."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    for value, segment_id in our_values(node).items():
        labels[mask_of(node, segment_id, volume_node)] = value
    return labels
