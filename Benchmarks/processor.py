"""What the figures were measured on, in words that mean something on another computer."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from SpineContextSegLib.cohort.here import usable_cores

# What convolutions get faster by, in the words of /proc/cpuinfo.
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")
_PACKAGES = ("torch", "monai", "openvino", "numpy", "SimpleITK", "spinecontextseg")


def machine() -> dict:
    """Processor, its flags that matter, cores, memory, system, load at this moment, and versions of packages."""
    name, flags = _processor()
    return {
        "processor": name,
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": usable_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
        "versions": {
            "Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}
        },
    }  # fmt: skip


def _processor() -> tuple[str, set[str]]:
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip(), set()
    facts = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags") or facts.get("Features") or ""
    return facts.get("model name") or platform.machine(), set(flags.split())
