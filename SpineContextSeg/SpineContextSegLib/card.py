"""The model card: everything about a network that isn't its weights, read from and written to JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from .errors import InputRefused
from .labels import STRUCTURES, VERTEBRA_LEVEL_UNKNOWN
from .windows import CELL, MARGIN_CELLS

SEGMENTING, NAMING = "SpineContextResUNet", "SpineContextLevels"
"""Architectures, see `network.py`."""
MODALITIES = "CT", "MR"
SIZE_MULTIPLE = 8  # the network halves its input three times
LEAST_ALONG_SPINE = (2 * MARGIN_CELLS + 1) * CELL  # of a window, in voxels
OFFSETS = 3  # outputs that say where the middle of a vertebra's body lies, one along each axis
COARSEST_MM = 20.0  # a vertebra is no larger
BACKGROUND = "background"
VOLUME_AXES = "SAR"  # of Volume.array after RAS reorientation: (k, j, i)
OPPOSITE = {"L": "R", "P": "A", "I": "S"}
WEIGHTS = ("safetensors", "openvino.xml", "openvino.bin", "openvino_int8.xml", "openvino_int8.bin")


@dataclass(frozen=True)
class WeightFile:
    """A file beside the card, and the SHA-256 (hexadecimal) that it must have."""

    file: str
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """What stands in `card.json`. Everything with three entries is in the order of `axis_order`.

    Attributes:
        name, version, description: identity, for the report and the list.
        modality: what the network was made for, of MODALITIES; a scan is taken for the first of them.
        architecture: SEGMENTING says of each voxel what it is, NAMING says which vertebra is in the middle of a window.
        base_filters, in_channels: of the architecture; its output channels are the classes.
        activation: "softmax" over the classes, the first of which is "background" where they segment, or "sigmoid" for
            each of them.
        classes: names in the order of the first output channels.
        spine_from: the probability from which on a voxel belongs to the spine, chosen so that volumes come out right.
        offset_unit_mm: when set, three more outputs say for each voxel of a vertebra how far it is to the middle of
            that vertebra's body, along the network's axes, in this unit; None for a network that doesn't.
        structures: label value in files -> the classes whose union it is, such as {1: ("vertebral_body", ...)}.
        spacing_mm: of the grid that the network sees.
        axis_order: the direction in which each of the network's axes increases, such as "RAS".
        range_hu, scale: HU are clipped to `range_hu`, which is mapped linearly onto `scale`.
        air_hu: a window with no voxel above it holds no tissue and needn't be run.
        pad_value: what surrounds the volume, in the network's intensities: the lower end of `scale`.
        roi_size, overlap: of the sliding window, in voxels and as a fraction.
        locator: the folder beside the card with the model that says where to look; None to look everywhere.
        namer: the folder beside the card with the model that says which vertebra is which; None for no levels.
        weights: "safetensors", "openvino.xml", "openvino.bin" (float32), "openvino_int8.xml" and "openvino_int8.bin"
            (8 bits) -> file and SHA-256; empty before registration.
        training, results: data, licenses, cost; what was measured. For people.

    Raises:
        InputRefused: when a value is impossible; the message names the field.
    """

    name: str
    version: str
    description: str
    modality: tuple[str, ...]
    architecture: str
    base_filters: int
    in_channels: int
    activation: str
    classes: tuple[str, ...]
    structures: dict[int, tuple[str, ...]]
    spacing_mm: tuple[float, float, float]
    axis_order: str
    range_hu: tuple[float, float]
    scale: tuple[float, float]
    air_hu: float
    pad_value: float
    roi_size: tuple[int, int, int]
    overlap: float
    spine_from: float = 0.5
    offset_unit_mm: float | None = None
    locator: str | None = None
    namer: str | None = None
    weights: dict[str, WeightFile] = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)

    def __post_init__(self):
        _expect(re.fullmatch(r"\w[\w.-]*", self.name), "name", "must be one word of letters, digits, '.', '_' or '-'")
        possible = self.modality and set(self.modality) <= set(MODALITIES)
        _expect(possible, "modality", f"must be a list of {', '.join(MODALITIES)} or both")
        architectures = SEGMENTING, NAMING
        _expect(self.architecture in architectures, "architecture.name", f"must be {' or '.join(architectures)}")
        _expect(self.in_channels == 1, "architecture.in_channels", "must be 1: one volume is segmented at a time")
        _expect(self.base_filters > 0, "architecture.base_filters", "must be positive")
        _expect(self.activation in ("softmax", "sigmoid"), "activation", "must be softmax or sigmoid")
        _expect(self.classes and len(set(self.classes)) == len(self.classes), "classes", "must be different names")
        if self.activation == "softmax" and self.architecture == SEGMENTING:
            _expect(self.classes[0] == BACKGROUND and len(self.classes) > 1, "classes", "must begin with background")
        named = [name for names in self.structures.values() for name in names]
        _expect(named and len(set(named)) == len(named), "structures", "must name classes, each of them once")
        _expect(set(named) <= set(self.classes) - {BACKGROUND}, "structures", "must name classes of the card")
        unknown = ", ".join(map(str, sorted(self.structures.keys() - STRUCTURES.keys())))
        _expect(not unknown, "structures", f"must not have label values that stand for nothing ({unknown})")
        _expect(len(self.spacing_mm) == 3 and 0 < min(self.spacing_mm) <= max(self.spacing_mm) <= COARSEST_MM,
                "spacing_mm", f"must be three positive numbers up to {COARSEST_MM:g}")  # fmt: skip
        letters = sorted(OPPOSITE.get(letter, letter) for letter in self.axis_order)
        _expect(letters == ["A", "R", "S"], "axis_order", "must be three directions such as RAS")
        _expect(len(self.range_hu) == 2 and self.range_hu[0] < self.range_hu[1], "intensity.range_hu", "must increase")
        _expect(len(self.scale) == 2 and self.scale[0] < self.scale[1], "intensity.scale", "must increase")
        _expect(self.pad_value == self.scale[0], "pad_value", "must be the lower end of intensity.scale, air")
        _expect(
            len(self.roi_size) == 3 and min(self.roi_size) > 0 and not any(n % SIZE_MULTIPLE for n in self.roi_size),
            "roi_size",
            f"must be three multiples of {SIZE_MULTIPLE}",
        )
        _expect(0 <= self.overlap < 1, "overlap", "must be at least 0 and below 1")
        _expect(0 < self.spine_from < 1, "spine_from", "must lie between 0 and 1")
        if self.offset_unit_mm is not None:
            _expect(0 < self.offset_unit_mm < float("inf"), "offset_unit_mm", "must be a positive number or null")
            rule = f"must be null where the structures have no {VERTEBRA_LEVEL_UNKNOWN}, the vertebrae to tell apart"
            _expect(VERTEBRA_LEVEL_UNKNOWN in self.structures, "offset_unit_mm", rule)
        if self.namer is not None:
            _expect(self.offset_unit_mm, "namer", "is of no use without an offset_unit_mm")
        for name in ("locator", "namer"):
            folder = getattr(self, name)
            rule = "must be the name of a folder beside it"
            _expect(folder is None or re.fullmatch(r"\w[\w.-]*", folder), name, rule)
        if self.locator is not None:
            _expect(min(self.roi_size) >= LEAST_ALONG_SPINE, "roi_size", f"must be at least {LEAST_ALONG_SPINE}")
        for kind, weight in self.weights.items():
            plain = weight.file and PurePath(weight.file).name == weight.file
            _expect(plain, f"weights.{kind}.file", "must be a file name")
            _expect(re.fullmatch("[0-9a-f]{64}", weight.sha256), f"weights.{kind}.sha256", "must be 64 hex digits")

    @classmethod
    def from_dict(cls, content: dict) -> ModelCard:
        """A card from the content of its JSON. Raises InputRefused when a field is missing or of the wrong type."""
        try:
            architecture, intensity = content["architecture"], content["intensity"]
            classes = tuple(map(str, content["classes"]))
            offset_unit_mm = content.get("offset_unit_mm")
            outputs = len(classes) + (OFFSETS if offset_unit_mm is not None else 0)
            _expect(
                architecture["out_channels"] == outputs,
                "architecture.out_channels",
                f"must be the number of classes, and {OFFSETS} more with an offset_unit_mm",
            )
            range_hu = tuple(map(float, intensity["range_hu"]))
            return cls(
                name=str(content["name"]),
                version=str(content["version"]),
                description=str(content["description"]),
                modality=tuple(map(str, content["modality"])),
                architecture=str(architecture["name"]),
                base_filters=int(architecture["base_filters"]),
                in_channels=int(architecture["in_channels"]),
                activation=content["activation"],
                classes=classes,
                structures={int(value): tuple(names) for value, names in content["structures"].items()},
                spacing_mm=tuple(map(float, content["spacing_mm"])),
                axis_order=str(content["axis_order"]),
                range_hu=range_hu,
                scale=tuple(map(float, intensity["scale"])),
                air_hu=float(intensity.get("air_hu", range_hu[0])),
                pad_value=float(content["pad_value"]),
                roi_size=tuple(map(int, content["roi_size"])),
                overlap=float(content["overlap"]),
                spine_from=float(content.get("spine_from", cls.spine_from)),
                offset_unit_mm=None if offset_unit_mm is None else float(offset_unit_mm),
                locator=None if content.get("locator") is None else str(content["locator"]),
                namer=None if content.get("namer") is None else str(content["namer"]),
                weights=_flat_weights(content.get("weights", {})),
                training=dict(content.get("training", {})),
                results=dict(content.get("results", {})),
            )
        except KeyError as error:
            raise InputRefused(f"The model card lacks the field {error.args[0]}; add it.") from error
        except InputRefused:
            raise
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputRefused(f"The model card has a field of the wrong type ({error}); correct it.") from error

    def to_dict(self) -> dict:
        """The content of the card's JSON."""
        weights: dict = {}
        for kind, weight in self.weights.items():
            *group, last = kind.split(".")
            place = weights.setdefault(group[0], {}) if group else weights
            place[last] = {"file": weight.file, "sha256": weight.sha256}
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "modality": list(self.modality),
            "architecture": {
                "name": self.architecture,
                "base_filters": self.base_filters,
                "in_channels": self.in_channels,
                "out_channels": self.out_channels,
            },
            "activation": self.activation,
            "classes": list(self.classes),
            "structures": {str(value): list(names) for value, names in self.structures.items()},
            "spacing_mm": list(self.spacing_mm),
            "axis_order": self.axis_order,
            "intensity": {"range_hu": list(self.range_hu), "scale": list(self.scale), "air_hu": self.air_hu},
            "pad_value": self.pad_value,
            "roi_size": list(self.roi_size),
            "overlap": self.overlap,
            "spine_from": self.spine_from,
            "offset_unit_mm": self.offset_unit_mm,
            "locator": self.locator,
            "namer": self.namer,
            "weights": weights,
            "training": self.training,
            "results": self.results,
        }

    @property
    def out_channels(self) -> int:
        """Of the network: the classes, then the offsets."""
        return len(self.classes) + (OFFSETS if self.offset_unit_mm is not None else 0)

    @property
    def inside(self) -> int:
        """`spine_from` of probabilities that are stored as 0..255."""
        return round(255 * self.spine_from)

    @property
    def has_openvino(self) -> bool:
        return {"openvino.xml", "openvino.bin"} <= set(self.weights)

    @property
    def has_openvino_int8(self) -> bool:
        return {"openvino_int8.xml", "openvino_int8.bin"} <= set(self.weights)

    @property
    def spacing_ras_mm(self) -> tuple[float, float, float]:
        """Spacing along R, A and S, the order of a RAS-aligned Grid's (i, j, k)."""
        return tuple(self.spacing_mm[n] for n in np.argsort(self._volume_axes())[::-1])

    def normalize(self, hu: np.ndarray) -> np.ndarray:
        """HU of any number type and shape -> the network's intensities, float32."""
        (low, high), (a, b) = self.range_hu, self.scale
        result = np.clip(hu, low, high, dtype=np.float32)
        result -= np.float32(low)
        result *= np.float32((b - a) / (high - low))
        result += np.float32(a)
        return result

    def known_outputs(self, hu: np.ndarray) -> np.ndarray | None:
        """The outputs (outputs,) in a window that holds no tissue, None for one that the network must see."""
        if hu.max() > self.air_hu:
            return None
        known = np.zeros(self.out_channels, np.float32)
        known[: len(self.classes)] = [name == BACKGROUND for name in self.classes]
        return known

    def structure_matrix(self, values: Sequence[int]) -> np.ndarray:
        """(values, outputs) float32: times the network's outputs, the probabilities of these label values."""
        matrix = np.zeros((len(values), self.out_channels), np.float32)
        matrix[:, : len(self.classes)] = [[name in self.structures[v] for name in self.classes] for v in values]
        return matrix

    def offset_matrix(self) -> np.ndarray:
        """(3, outputs) float32: times the network's outputs, the offsets in mm along R, A, S; (0, outputs) without."""
        if self.offset_unit_mm is None:
            return np.zeros((0, self.out_channels), np.float32)
        matrix = np.zeros((OFFSETS, self.out_channels), np.float32)
        for number, letter in enumerate(self.axis_order, start=len(self.classes)):
            sign = -1 if letter in OPPOSITE else 1
            matrix["RAS".index(OPPOSITE.get(letter, letter)), number] = sign * self.offset_unit_mm
        return matrix

    def to_network_axes(self, array: np.ndarray) -> np.ndarray:
        """A view of a RAS-aligned Volume's array (k, j, i), or of (classes, k, j, i), in the network's axis order."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + n for n in self._volume_axes()))
        return moved[(..., *self._flips())]

    def to_volume_axes(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_network_axes`, a view."""
        lead = array.ndim - 3
        flipped = array[(..., *self._flips())]
        return flipped.transpose(*range(lead), *(lead + int(n) for n in np.argsort(self._volume_axes())))

    @property
    def window_kji(self) -> tuple[int, int, int]:
        """Size of the window along the axes (k, j, i) of an upright array."""
        return tuple(self.roi_size[int(n)] for n in np.argsort(self._volume_axes()))

    def network_sizes(self, shape_kji: tuple[int, int, int]) -> tuple[int, int, int]:
        """Sizes along the network's axes of an upright array of this shape (k, j, i)."""
        return tuple(shape_kji[n] for n in self._volume_axes())

    def to_network_indices(self, indices_kji: np.ndarray, shape_kji: tuple[int, int, int]) -> np.ndarray:
        """Voxel indices (n, 3) in an upright array (k, j, i) of this shape -> in its view in the network's axes."""
        last = np.array(shape_kji) - 1
        mirrored = [letter in OPPOSITE for letter in self.axis_order]
        axes = self._volume_axes()
        return np.where(mirrored, (last - indices_kji)[:, axes], indices_kji[:, axes])

    def to_volume_region(self, region: tuple, shape_kji: tuple[int, int, int]) -> tuple:
        """Slices of the view in the network's axes of an upright array (k, j, i) of this shape -> of that array."""
        sizes = self.network_sizes(shape_kji)
        unmirrored = [
            slice(size - bounds.stop, size - bounds.start) if letter in OPPOSITE else bounds
            for letter, bounds, size in zip(self.axis_order, region, sizes)
        ]
        return tuple(unmirrored[int(n)] for n in np.argsort(self._volume_axes()))

    def _volume_axes(self) -> list[int]:
        return [VOLUME_AXES.index(OPPOSITE.get(letter, letter)) for letter in self.axis_order]

    def _flips(self) -> list[slice]:
        return [slice(None, None, -1 if letter in OPPOSITE else 1) for letter in self.axis_order]


def _expect(condition: object, name: str, rule: str) -> None:
    if not condition:
        raise InputRefused(f"The model card's {name} {rule}; correct it.")


def _flat_weights(content: dict) -> dict[str, WeightFile]:
    """{"safetensors": file, "openvino": {"xml": file, "bin": file}} -> the card's `weights`."""
    found = {}
    for kind in WEIGHTS:
        entry = content
        for part in kind.split("."):
            entry = entry.get(part) if entry else None
        if entry is not None:
            found[kind] = WeightFile(str(entry["file"]), str(entry["sha256"]))
    return found
