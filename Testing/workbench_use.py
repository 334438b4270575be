"""The workbench without a browser: what a person does on it, as calls, in a process of its own with the real core."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from Testing.store_use import finished, start


def play(scenario: Callable[..., Awaitable[None]], data: Path, model: object = "", *arguments: object) -> str:
    """Awaits `scenario(bench, *arguments)` of a test's module, texts as arguments, on a workbench with `data`.

    Returns:
        What it printed; where it failed, its error is an AssertionError here.
    """
    code = "import sys; from Testing.workbench_use import main; main(*sys.argv[1:])"
    module = Path(scenario.__code__.co_filename).stem
    return finished(start(code, module, scenario.__name__, data, model, *arguments))


def main(module: str, name: str, data: str, model: str, *arguments: str) -> None:
    """In the process of `play`."""
    sys.argv[1:] = []
    from Workbench.workbench import Workbench

    scenario = getattr(importlib.import_module(f"Testing.{module}"), name)
    bench = Workbench(Path(data), by="tester", token="secret", upload_bytes=1, model=model, threads=1)
    asyncio.run(scenario(bench, *arguments))


def paint(bench, k: int) -> np.ndarray:
    """A stroke in slice `k`, of a new segment where none is chosen; returns the mask (k, j, i) of all that is there."""
    if not bench.scene.editor.active_segment_id:
        bench.segments.add()
    segment_id, modifier = bench.scene.editor.active_segment_id, bench.scene.editor.active_segment_modifier
    mask = np.zeros(bench.scene.volume().array.shape, np.uint8)
    labels, *_ = bench.scene.labels()
    mask[labels.array != 0] = 1
    mask[k, 3:6, 3:6] = 1
    modifier.set_segment_labelmap(segment_id, mask)
    return mask != 0
