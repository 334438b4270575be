"""Debian's Chromium without a screen, driven as a person would drive it."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest

MISSING = "needs chromium and chromium-driver (make system)"
WIDTH, HEIGHT = 1280, 800
PATIENCE_SECONDS = 60.0
JPEG_QUALITY = 88
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


def require_browser() -> None:
    """Skips the test where there is no browser; with CI set, it fails."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    if os.environ.get("CI"):
        pytest.fail(MISSING)
    pytest.skip(MISSING)


def chromium(downloads: Path):
    """Its driver, to be quit."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in OPTIONS:
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


class Page:
    """One tab with the workbench."""

    def __init__(self, address: str, downloads: Path) -> None:
        self.driver = chromium(downloads)
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self._downloads = downloads
        self.driver.get(address)
        self.until(lambda: self.find("segment"))

    def until(self, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS):
        """What `holds` returns, once it is true; an element that isn't there yet is waited for, too."""
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = holds()
            except WebDriverException:
                found = None
            if found:
                return found
            time.sleep(0.1)
        picture = self._downloads / "in_vain.png"
        self.picture(picture)
        raise AssertionError(f"waited {seconds:.0f} s in vain, see {picture}; {self.said()}")

    def state(self, name: str):
        """A variable of the page's state."""
        return self.driver.execute_script("return trame.state.get(arguments[0])", name)

    def said(self) -> dict:
        """What the page tells its user."""
        return {name: self.state(name) for name in ("status", "notice", "warnings", "remarks")}

    def find(self, name: str):
        """The element with this ID."""
        return self.driver.find_element("id", name)

    def click(self, name: str) -> None:
        """Clicks an element, once it can be clicked."""

        def clicked() -> bool:
            element = self.find(name)
            if not (element.is_displayed() and element.is_enabled()):
                return False
            element.click()
            return True

        self.until(clicked)

    def press(self, selector: str) -> None:
        """Clicks the element that a CSS selector finds."""
        self.until(lambda: self.driver.find_element("css selector", selector)).click()

    def switch(self, name: str) -> None:
        """Clicks a switch by its label; the element with the ID is transparent, which Selenium holds to be hidden."""
        self.press(f"label[for='{name}']")

    def tab(self, title: str) -> None:
        """Shows a tab of the panel."""
        tabs = self.driver.find_elements("css selector", ".v-tab")
        next(tab for tab in tabs if tab.text.lower() == title.lower()).click()

    def view(self, name: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of a view ("Axial") on the page."""
        return self.driver.execute_script(
            "const name = [...document.querySelectorAll('.view-name')]"
            ".find(e => e.textContent.trim() === arguments[0]);"
            "const box = name.parentElement.getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height]", name,
        )  # fmt: skip

    def point_at(self, view: str, x: float, y: float) -> None:
        """Moves the mouse to a point of a view, from 0, 0 (upper left) to 1, 1."""
        from selenium.webdriver import ActionChains

        left, top, width, height = self.view(view)
        chain = ActionChains(self.driver, duration=80)
        chain.w3c_actions.pointer_action.move_to_location(round(left + x * width), round(top + y * height))
        chain.perform()

    def drag(self, view: str, *points: tuple[float, float]) -> None:
        """Draws with the left button through points of a view, from 0, 0 (upper left) to 1, 1."""
        from selenium.webdriver import ActionChains

        left, top, width, height = self.view(view)
        on_page = [(round(left + x * width), round(top + y * height)) for x, y in points]
        chain = ActionChains(self.driver, duration=80)
        mouse = chain.w3c_actions.pointer_action
        mouse.move_to_location(*on_page[0])
        chain.w3c_actions.key_action.pause(0.3)
        mouse.pause(0.3)
        mouse.pointer_down()
        for point in on_page[1:]:
            mouse.move_to_location(*point)
        mouse.pointer_up()
        chain.perform()

    def send_file(self, path: Path) -> None:
        """Chooses a file as the button "Open" does it."""
        self.driver.execute_script("window.workbench.choose(false)")
        self.until(lambda: self.find("choose-file")).send_keys(str(path))

    def drop(self, path: Path) -> None:
        """Drops a file or folder onto the middle of the page."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": WIDTH // 2, "y": HEIGHT // 2, "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def downloaded(self, ending: str) -> Path:
        """The file with this ending, once it has arrived whole."""
        return self.until(lambda: next(self._downloads.glob(f"*{ending}"), None))

    def scene(self) -> dict[str, np.ndarray]:
        """Name -> mask (k, j, i) of every segment in the scene of the server."""
        return dict(np.load(io.BytesIO(self._answer("/test/scene"))))

    def look(self) -> dict:
        """How the server's scene is shown, see `workbench_server`."""
        return json.loads(self._answer("/test/look"))

    def _answer(self, path: str) -> bytes:
        """What the server says, asked beside the page."""
        [cookie] = self.driver.get_cookies()
        request = urllib.request.Request(urljoin(self.driver.current_url, path))
        request.add_header("Cookie", f"{cookie['name']}={cookie['value']}")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def view_picture(self, name: str) -> np.ndarray:
        """What is seen in a view ("Axial"), as (rows, columns, 3) from 0 to 255."""
        import matplotlib.image

        left, top, width, height = (round(number) for number in self.view(name))
        picture = matplotlib.image.imread(io.BytesIO(self.driver.get_screenshot_as_png()))
        return np.rint(255 * picture[top : top + height, left : left + width, :3]).astype(int)

    def faults(self) -> list[str]:
        """What went wrong in the page; trame asks for a launcher that isn't there, which is none."""
        return [
            entry["message"] for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "/paraview/" not in entry["message"] and "/upload" not in entry["message"]
        ]  # fmt: skip

    def picture(self, path: Path) -> None:
        """Saves what is seen (.png or .jpg)."""
        from PIL import Image

        seen = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        seen.save(path, quality=JPEG_QUALITY)

    def close(self) -> None:
        """Ends the browser."""
        self.driver.quit()
