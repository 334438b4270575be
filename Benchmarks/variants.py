"""The ways that are compared: the command of each, from file to file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from .measured import Measurement, measure

PLAIN, FULL, DEFAULT = "a", "b", "c"
_SEGMENT = (str(Path(sys.executable).with_name("spinecontextseg")), "segment")


@dataclass(frozen=True)
class Variant:
    """`program` is what stands before the scan on the command line, `options` what stands behind it."""

    title: str
    program: tuple[str, ...]
    options: tuple[str, ...] = ()


VARIANTS = {
    PLAIN: Variant(
        "plain: PyTorch float32, MONAI's sliding window over the whole scan, overlap 0.5",
        (sys.executable, "-m", "Benchmarks.plain_way"),
    ),
    FULL: Variant(
        "full sweep: `spinecontextseg segment --everywhere --precision fp32 --runtime openvino`",
        _SEGMENT,
        ("--everywhere", "--precision", "fp32", "--runtime", "openvino"),
    ),
    DEFAULT: Variant("default: `spinecontextseg segment`", _SEGMENT),
}


def run(variant: Variant, scan: Path, output: Path, model: str, threads: int) -> Measurement:
    """Segment a scan in a fresh process; `output` is written, and an earlier one is gone where that fails."""
    report = output.with_suffix(".json")
    for earlier in (output, report):
        earlier.unlink(missing_ok=True)
    files = (str(scan), "-o", str(output), "--report", str(report))
    ended = measure([*variant.program, *files, "--model", model, "--threads", str(threads), *variant.options])
    if ended.fault:
        return ended
    return replace(ended, stages=json.loads(report.read_text(encoding="utf-8"))["seconds"])
