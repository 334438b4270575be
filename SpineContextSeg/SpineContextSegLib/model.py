"""Models: a card and its weights in a folder; found, listed, verified, registered."""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.util
import json
import os
import sys
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .card import NAMING, SEGMENTING, ModelCard, WeightFile
from .errors import InputRefused
from .labels import BINARY_SPINE

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

CARD_FILE = "card.json"
FOLDER_VARIABLE = "SPINECONTEXTSEG_MODELS"
LONGEST_NAME = 200


@dataclass(frozen=True)
class Model:
    """A card and the folder that holds its weights."""

    card: ModelCard
    folder: Path | Traversable

    @property
    def locator(self) -> Model | None:
        """The model that says where the spine is, from the folder that the card names; None without one.

        Raises InputRefused when it is missing or can't be used.
        """
        locator = self._helper(self.card.locator, SEGMENTING)
        if locator and not BINARY_SPINE & set(locator.card.structures):
            raise InputRefused(
                f"The {self.card.locator} of the model {self.card.name} finds no spine, so it can't say where one is;"
                " correct its card."
            )
        return locator

    @property
    def namer(self) -> Model | None:
        """The model that says which vertebra is which, from the folder that the card names; None without one.

        Raises InputRefused when it is missing or can't be used.
        """
        namer, locator = self._helper(self.card.namer, NAMING), self.locator
        if namer and locator and namer.card.spacing_ras_mm != locator.card.spacing_ras_mm:
            raise InputRefused(
                f"The {self.card.locator} and the {self.card.namer} of the model {self.card.name} have different"
                " spacings; correct their cards."
            )
        return namer

    def _helper(self, name: str | None, architecture: str) -> Model | None:
        if name is None:
            return None
        folder = self.folder / name
        if not _has_card(folder):
            raise InputRefused(f"The model {self.card.name} lacks its folder {name}; install it again.")
        card = read_card(folder / CARD_FILE)
        if card.architecture != architecture:
            raise InputRefused(f"The {name} of the model {self.card.name} must be a {architecture}; correct the card.")
        return Model(card, folder)

    def read(self, kind: str) -> bytes:
        """The content of a file of weights; `kind` is one of `card.WEIGHTS`, such as "openvino.xml".

        Raises InputRefused when the card names no such file, it is missing, or its SHA-256 isn't the card's.
        """
        weight = self.card.weights.get(kind)
        if weight is None:
            raise InputRefused(f"The model {self.card.name} has no {kind} weights; choose another runtime or model.")
        try:
            content = (self.folder / weight.file).read_bytes()
        except OSError as error:
            raise InputRefused(
                f"The file {weight.file} of the model {self.card.name} can't be read; install the model again."
            ) from error
        if hashlib.sha256(content).hexdigest() != weight.sha256:
            raise InputRefused(
                f"The file {weight.file} of the model {self.card.name} isn't the one that its card names (the SHA-256"
                " differs); install the model again."
            )
        return content


def user_models_folder() -> Path:
    """Where registered models are looked for: $SPINECONTEXTSEG_MODELS, else the system's place for a user's data."""
    if os.environ.get(FOLDER_VARIABLE):
        return Path(os.environ[FOLDER_VARIABLE])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "SpineContextSeg" / "models"


def list_models() -> dict[str, Path | Traversable]:
    """Name -> folder of the embedded models, then of the user's; an embedded name can't be taken by a user's model."""
    found: dict[str, Path | Traversable] = {}
    for place in (importlib.resources.files(__package__) / "models", user_models_folder()):
        if place.is_dir():
            for folder in sorted(place.iterdir(), key=lambda entry: entry.name):
                if _has_card(folder):
                    found.setdefault(folder.name, folder)
    return found


def _has_card(folder: Path | Traversable) -> bool:
    try:
        return (folder / CARD_FILE).is_file()
    except (OSError, ValueError):
        return False  # not ours to read, or no name that a disk knows


def load_model(name_or_folder: str | Path) -> Model:
    """The model of this name, or the one in this folder. Its weights are verified when they are read.

    Raises InputRefused when there is none, or its card can't be used.
    """
    models = list_models()
    folder = models.get(str(name_or_folder), Path(name_or_folder))
    if not _has_card(folder):
        known, asked = ", ".join(models) or "none", textwrap.shorten(str(name_or_folder), LONGEST_NAME)
        raise InputRefused(f"There is no model {asked}; give one of these ({known}) or a folder with a card.")
    return Model(read_card(folder / CARD_FILE), folder)


def read_card(path: Path | Traversable) -> ModelCard:
    """Raises InputRefused when the file is no JSON or no card."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputRefused(f"The model card {path.name} can't be read as JSON ({error}); correct it.") from error
    if not isinstance(content, dict):
        raise InputRefused(f"The model card {path.name} must be a JSON object; correct it.")
    return ModelCard.from_dict(content)


def check_is_new(destination: Path) -> None:
    """Raises InputRefused where a model's folder, or anything else, is there already."""
    if destination.exists():
        raise InputRefused(f"{destination} is there already; remove it or choose another folder for the model.")


def write_model(card: dict, weights: dict[str, tuple[str, bytes]], destination: Path) -> Model:
    """Write a model's folder: `card` with the SHA-256 of `weights` (kind -> file name and content), and the files.

    The folder appears at once and complete. Raises InputRefused when it is there already or the card can't be used.
    """
    destination = Path(destination)
    check_is_new(destination)
    content = {key: value for key, value in card.items() if key != "weights"}
    unweighted = ModelCard.from_dict(content)
    files = {kind: WeightFile(name, hashlib.sha256(data).hexdigest()) for kind, (name, data) in weights.items()}
    complete = replace(unweighted, weights=files)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as temporary:
        folder = Path(temporary) / destination.name
        folder.mkdir()
        for name, data in weights.values():
            (folder / name).write_bytes(data)
        text = json.dumps(complete.to_dict(), indent=2, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        folder.rename(destination)
    return Model(complete, destination)


def register_model(checkpoint: str | Path, card_json: str | Path) -> Model:
    """Make a model of a checkpoint (`.pth` or `.safetensors`) in the published form and a card. Needs torch.

    It is this user's, under the card's name. The weights are stored as safetensors, so the model runs with torch.
    Raises InputRefused when the checkpoint can't be read safely, doesn't fit the card, or the name is taken.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputRefused("Registering a checkpoint needs torch, which isn't installed (pip install torch).")
    from safetensors.torch import save

    from .network import load_checkpoint, network_for, network_from_state

    card = read_card(Path(card_json))
    state = load_checkpoint(checkpoint)
    network = network_from_state(state, network_for(card))
    if card.name in list_models():
        raise InputRefused(f"A model named {card.name} is there already; change the name in the card.")
    weights = {"safetensors": ("model.safetensors", save(network.state_dict()))}
    return write_model(card.to_dict(), weights, user_models_folder() / card.name)
