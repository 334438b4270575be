"""The workbench as a process for tests, with a window into its scene that the page itself doesn't have.

python -m Testing.workbench_server DATA MODEL [SCAN]
"""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

TOKEN = "secret"
UPLOAD_BYTES = 3_000_000
START_SECONDS = 300.0
END_SECONDS = 60.0


class WorkbenchServer:
    """A running workbench; `address` is the printed one."""

    def __init__(
        self, data_folder: Path, model: str | Path, scan: Path | None = None, temporary: Path | None = None
    ) -> None:
        """
        Args:
            temporary: where it and its runs keep what they exchange; the system's own place by default.
        """
        command = [sys.executable, "-m", "Testing.workbench_server", data_folder, model, *([scan] if scan else [])]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1], env={**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})},
        )  # fmt: skip
        self._errors: list[str] = []
        threading.Thread(target=lambda: self._errors.extend(self.process.stderr), daemon=True).start()
        guard = threading.Timer(START_SECONDS, self.process.kill)
        guard.start()
        line = self.process.stdout.readline()
        guard.cancel()
        if not line:
            raise RuntimeError("".join(self._errors))
        self.address = line.split()[-1]
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def errors(self) -> list[str]:
        """Lines on stderr so far."""
        return list(self._errors)

    def kill(self) -> None:
        """As the system does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def end(self, how: int = signal.SIGTERM) -> None:
        """As Ctrl+C does, or by another signal; where that doesn't end it, an error says what it is doing."""
        self.process.send_signal(how)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            self.kill()
            raise RuntimeError(f"did not end within {END_SECONDS:.0f} s: {''.join(self._errors)}") from None


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    data, model, *scan = sys.argv[1:]
    sys.argv[1:] = []
    from aiohttp import web

    from Workbench.__main__ import serve
    from Workbench.workbench import Workbench

    workbench = Workbench(Path(data), by="tester", token=TOKEN, upload_bytes=UPLOAD_BYTES, model=model, threads=1)
    if scan:
        workbench.open_paths([Path(path) for path in scan])

    async def scene(_: web.Request) -> web.Response:
        """Name -> mask (k, j, i) of every segment, as Slicer's own export of a label map sees them."""
        import slicer

        node, volume = workbench.scene.segmentation_node, workbench.scene.volume_node
        segmentation = node.GetSegmentation()
        masks = {
            segmentation.GetSegment(name).GetName(): slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) != 0
            for name in segmentation.GetSegmentIDs()
        }
        file = io.BytesIO()
        np.savez_compressed(file, **masks)
        return web.Response(body=file.getvalue())

    async def look(_: web.Request) -> web.Response:
        """What the scene shows and how: middle of the slice views (R, A, S in mm), opacity, surfaces."""
        node = workbench.scene.segmentation_node
        views = workbench.scene.app.view_manager.get_slice_views()
        shown = {
            "fields_mm": [list(view.get_view_node().GetFieldOfView()[:2]) for view in views],
            "offsets": [view.get_slice_value() for view in views],
            "middles": [[view.get_view_node().GetSliceToRAS().GetElement(n, 3) for n in range(3)] for view in views],
            "surfaces_seen": _seen(workbench.scene),
            "zoom": _camera(workbench.scene).GetViewAngle(),
            "opacity": node.GetDisplayNode().GetOpacity2DFill(),
            "surfaces": node.GetSegmentation().ContainsRepresentation("Closed surface"),
        }
        return web.json_response(shown)

    def add_windows(server) -> None:
        server.app.router.add_get("/test/scene", scene)
        server.app.router.add_get("/test/look", look)

    workbench.server.controller.on_server_bind.add(add_windows)
    serve(workbench, "127.0.0.1", 0, TOKEN)


def _camera(scene):
    [view] = scene.app.view_manager.get_threed_views()
    return view.renderer().GetActiveCamera()


def _seen(scene) -> bool:
    """Whether the surfaces lie in their view as a whole."""
    [view] = scene.app.view_manager.get_threed_views()
    renderer = view.renderer()
    low, high = np.array(renderer.ComputeVisiblePropBounds()).reshape(3, 2).T
    on_view = []
    for corner in np.ndindex(2, 2, 2):
        renderer.SetWorldPoint(*np.where(corner, high, low), 1)
        renderer.WorldToView()
        on_view.append(renderer.GetViewPoint()[:2])
    return bool(np.abs(on_view).max() <= 1)


if __name__ == "__main__":
    main()
