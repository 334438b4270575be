"""Folders that hold an exported set: their scans are copies of finished ones, and no work to be done."""

from __future__ import annotations

import json
from pathlib import Path

from SpineContextSegLib.bids_names import DESCRIPTION

PROGRAM = "SpineContextSeg workbench"


def without_exported(paths: list[Path], root: Path) -> list[Path]:
    """Those that lie in no exported set below `root`, which may be one itself: whoever names it wants its scans."""
    known = {root: False}

    def lies_in_one(folder: Path) -> bool:
        if folder not in known:
            known[folder] = _is_one(folder) or lies_in_one(folder.parent)
        return known[folder]

    return [path for path in paths if path == root or not lies_in_one(path.parent)]


def _is_one(folder: Path) -> bool:
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return any(program["Name"] == PROGRAM for program in content["GeneratedBy"])
    except (OSError, ValueError, KeyError, TypeError):  # no dataset, or another program's
        return False
