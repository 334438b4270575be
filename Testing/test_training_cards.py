"""The cards that training starts from are those of the shipped weights, as Training/README.md says."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "SpineContextSeg" / "SpineContextSegLib" / "models"
SHIPPED = {
    "ct": "spinecontext-ct", "ct_locator": "spinecontext-ct/locator", "ct_namer": "spinecontext-ct/namer",
    "mr": "spinecontext-mr", "mr_namer": "spinecontext-mr/namer",
}  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_what_a_card_says_stands_in_the_shipped_one(name):
    card, shipped = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "Training" / "cards" / f"{name}.json", MODELS / SHIPPED[name] / "card.json")
    )
    assert {key: shipped.get(key) for key in card} == card
