"""What generated scans have shown of a model, in its card: for people, and for whoever compares models."""

from __future__ import annotations

import json
from pathlib import Path

from SpineContextSegLib.scores import BINARY

from .dice_tables import spread
from .level_tables import ScoredScan, figures, grouped
from .surface_tables import surface_spread

_KINDS = "region", "slices", "blur", "finding"


def note_generated(scans: list[ScoredScan], card: Path) -> None:
    """Put the figures of all scans, of each group and of each structure into a model's card, under "generated"."""
    groups = {
        name: of_group for name, of_group in grouped(scans).items() if name == "all" or name.split(":")[0] in _KINDS
    }
    found = {name: _of(of_group) for name, of_group in groups.items()}
    structures = dict.fromkeys(name for scan in scans for name in scan.dice if name != BINARY)
    found["all"]["structures_dice"] = {
        name: spread(scan.dice[name] for scan in scans if name in scan.dice) for name in structures
    }
    content = json.loads(card.read_text(encoding="utf-8"))
    content.setdefault("results", {})["generated"] = found
    card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _of(scans: list[ScoredScan]) -> dict:
    whole = figures(scans)["whole"]
    return {
        "vertebrae": whole["vertebrae"], "identified": whole["identified"], "vertebra_dice": round(whole["dice"], 4),
        "binary_dice": spread(scan.dice[BINARY] for scan in scans),
        **{f"binary_{name}": found for name, found in surface_spread([scan.surface for scan in scans]).items()},
    }  # fmt: skip
