"""What can be chosen in the panel, and what the choices mean for a run and for an export."""

import enum
import os
from typing import Annotated

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from ..labels import STRUCTURES
from ..shipped import DEFAULT_MODEL
from .runs import RunOptions

# Parameter -> kind of structure that it stands for, see `labels.Kind`.
STRUCTURE_KINDS = {"vertebrae": "vertebra", "sacrum": "sacrum", "discs": "disc", "canal": "canal"}
# Parameter -> format, see `mrml.export.FORMATS`.
EXPORT_FORMATS = {
    "exportSegNrrd": "seg.nrrd",
    "exportNifti": "nii.gz",
    "exportNrrd": "nrrd",
    "exportStl": "stl",
    "exportObj": "obj",
}


class Runtime(enum.Enum):
    """What runs the network."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"

    def label(self) -> str:
        """What Slicer's parameter node shows for it."""
        return {"auto": _("Automatic"), "openvino": "OpenVINO", "torch": "PyTorch"}[self.value]


class Device(enum.Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """What Slicer's parameter node shows for it."""
        return {
            "auto": _("Automatic"), "cpu": _("Processor"), "cuda": _("NVIDIA GPU"), "mps": _("Apple GPU"),
        }[self.value]  # fmt: skip


@parameterNodeWrapper
class SpineContextSegParameterNode:
    """What is chosen in the panel; saved with the scene.

    inputVolume - The scan to segment.
    outputSegmentation - Where the result goes; None makes a new segmentation.
    region - Limits the run to a box; None for the whole volume.
    vertebrae, sacrum, discs, canal - Structures to write. Segments of the others stay as they are.
    allFrames - Segment every frame of the sequence that the volume belongs to.
    show3D - Make surfaces as soon as the segmentation is there.
    model - Name of the model, or its folder.
    runtime, device - What runs the network, and where.
    threadsLeftFree - CPU threads that a run doesn't use.
    exportSegNrrd, exportNifti, exportNrrd, exportStl, exportObj - File formats to export.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    region: vtkMRMLMarkupsROINode
    vertebrae: bool = True
    sacrum: bool = True
    discs: bool = False
    canal: bool = False
    allFrames: bool = False
    show3D: bool = False
    model: str = DEFAULT_MODEL
    runtime: Runtime = Runtime.AUTO
    device: Device = Device.AUTO
    threadsLeftFree: Annotated[int, WithinRange(0, 256)] = 0
    exportSegNrrd: bool = True
    exportNifti: bool = False
    exportNrrd: bool = False
    exportStl: bool = False
    exportObj: bool = False


def chosen_values(parameters: SpineContextSegParameterNode) -> frozenset[int]:
    """The label values of the structures that are checked."""
    kinds = {kind for name, kind in STRUCTURE_KINDS.items() if parameters.getValue(name)}
    return frozenset(value for value, structure in STRUCTURES.items() if structure.kind in kinds)


def chosen_formats(parameters: SpineContextSegParameterNode) -> list[str]:
    """The file formats that are checked."""
    return [ending for name, ending in EXPORT_FORMATS.items() if parameters.getValue(name)]


def threads(left_free: int) -> int | None:
    """How many CPU threads a run takes when it leaves some free; None leaves the choice to the runtime."""
    return max(1, (os.cpu_count() or 1) - left_free) if left_free else None


def run_options(parameters: SpineContextSegParameterNode, *, force: bool, is_sequence: bool) -> RunOptions:
    """The options of a run from the parameter node of the module."""
    return RunOptions(
        model=parameters.model,
        runtime=parameters.runtime.value,
        device=parameters.device.value,
        threads=threads(parameters.threadsLeftFree),
        structures="all" if parameters.discs or parameters.canal else "spine",
        force=force,
        only=chosen_values(parameters),
        region=parameters.region,
        all_frames=parameters.allFrames and is_sequence,
    )
