"""A run: volumes go to a process one by one, their labels come back into the scene, nothing stays behind."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..checks import NO_SPINE
from ..errors import InputRefused
from ..faults import describe
from ..labels import BINARY_SPINE, STRUCTURES
from ..mrml import belonging, ours, regions
from ..mrml.composition import NothingToWrite
from ..run_words import TimeLeft, done_text, in_frames, progress_text, stage_text
from ..runtime import DEVICES, RUNTIMES
from ..shipped import DEFAULT_MODEL
from ..worker import Request
from .handover import Handover
from .run_folder import RunFolder
from .tasks import FramesTask, Task, VolumeTask, edited_values
from .watch import Watch
from .worker_process import Outcome, WorkerProcess

if TYPE_CHECKING:
    from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

NO_FOLDER = (
    "Nothing can be written to Slicer's temporary folder '{folder}' ({reason}): choose another in Edit > Application "
    "Settings."
)


@dataclass(frozen=True)
class RunOptions:
    """What is asked of a run.

    Attributes:
        model: a name that `model.list_models` knows, or a model's folder.
        runtime, device: as in `runtime.choose_runtime`.
        threads: CPU threads, None for all.
        structures: "spine" for vertebrae and sacrum, "all" for every structure of the model.
        force: segment values that don't look like Hounsfield units.
        only: label values to write; every other segment stays as it is. None for all that the model finds.
        region: a markups ROI that limits the run, None for the whole volume.
        all_frames: segment every frame of the sequence that the volume belongs to.
        overwrite_edits: replace our segments even where a person has edited them.

    Raises:
        InputRefused: a value is impossible; one sentence.
    """

    model: str = DEFAULT_MODEL
    runtime: str = "auto"
    device: str = "auto"
    threads: int | None = None
    structures: Literal["spine", "all"] = "spine"
    force: bool = False
    only: frozenset[int] | None = None
    region: vtkMRMLMarkupsROINode | None = None
    all_frames: bool = False
    overwrite_edits: bool = False

    def __post_init__(self):
        for name, value, allowed in (
            ("runtime", self.runtime, RUNTIMES),
            ("device", self.device, DEVICES),
            ("choice of structures", self.structures, ("spine", "all")),
        ):
            if value not in allowed:
                raise InputRefused(f"There is no {name} named {value}; choose one of {', '.join(allowed)}.")
        if self.threads is not None and self.threads < 1:
            raise InputRefused(f"The number of threads must be at least 1, not {self.threads}.")
        if self.only is not None and not self.only:
            raise InputRefused("No structure is chosen; choose at least one.")
        unknown = sorted(self.only - set(STRUCTURES)) if self.only else []
        if unknown:
            raise InputRefused(f"There is no structure with the label value {unknown[0]}; choose other values.")
        if self.only and self.structures == "spine" and not self.only & BINARY_SPINE:
            raise InputRefused("Discs and spinal canal are not looked for: choose structures=\"all\".")

    def would_lose_edits(self, segmentation_node: vtkMRMLSegmentationNode | None) -> bool:
        """Whether a run into this segmentation would overwrite what a person did there."""
        edited = edited_values(segmentation_node, all_frames=self.all_frames)
        return bool(edited if self.only is None else edited & self.only)


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        kind: "done"; "nothing_found" (the scene is as before); "refused" (the input can't be segmented); "failed";
            "cancelled".
        message: one sentence for the user.
        warnings: sentences that the user must see.
        log: what a developer needs after a fault.
        forcible: whether `force` would help a refused input.
        segmentation_node: what was written, None unless "done".
        reports: of the worker, one for each volume, see `pipeline.Result.report`.
    """

    kind: Literal["done", "nothing_found", "refused", "failed", "cancelled"]
    message: str
    warnings: list[str] = field(default_factory=list)
    log: str = ""
    forcible: bool = False
    segmentation_node: vtkMRMLSegmentationNode | None = None
    reports: list[dict] = field(default_factory=list)


class SegmentationRun:
    """Segments the volumes of a task in child processes, without blocking.

    Whatever happens, `on_end` is called once; by then the process and its folder are gone.
    """

    def __init__(
        self,
        volume_node: vtkMRMLScalarVolumeNode | None,
        options: RunOptions,
        *,
        segmentation_node: vtkMRMLSegmentationNode | None = None,
        temporary_root: Path,
        on_status: Callable[[str], None],
        on_progress: Callable[[int, int, float | None], None],
        on_end: Callable[[RunEnd], None],
    ) -> None:
        """
        Args:
            volume_node: the scan; it is only read.
            options: what is asked.
            segmentation_node: where the result goes; None makes a new one beside the volume.
            temporary_root: folder for the folder that the process works in.
            on_status: gets one line of words.
            on_progress: gets windows done, windows in total, and seconds left or None.
            on_end: gets how the run ended; called within `start` where it ends there.
        """
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._options, self._temporary_root = options, Path(temporary_root)
        self._on_status, self._on_progress, self._on_end = on_status, on_progress, on_end
        self._folder: RunFolder | None = None
        self._process: WorkerProcess | None = None
        self._watch: Watch | None = None
        self._handovers: list[Handover] = []
        self._windows = self._windows_before = 0
        self._time_left = TimeLeft()
        self._stopped_because = "The run was cancelled, nothing was changed."

    @property
    def is_running(self) -> bool:
        return self._watch is not None

    def start(self) -> None:
        """Checks the task, hands the first volume over and starts a process."""
        self._started_at = time.monotonic()
        self._advance(self._begin)

    def cancel(self, wait: bool = False) -> None:
        """Ends the run; `wait` blocks until the process is gone, a second at most."""
        if self.is_running:
            self._on_status("Cancelling...")
            self._process.cancel(wait=wait)

    def _stop(self, because: str, at_once: bool) -> None:
        self._stopped_because = because
        self.cancel(wait=at_once)

    def _advance(self, step: Callable[[], RunEnd | None]) -> None:
        """Takes a step that ends the run or makes the next process ready; faults of it end the run too."""
        try:
            end = step()
        except InputRefused as refusal:
            end = RunEnd("refused", str(refusal))
        except Exception as error:  # noqa: BLE001, whatever it is becomes one sentence, and the folder goes
            end = RunEnd("failed", describe(error), log="".join(traceback.format_exception(error)))
        if end is None:
            self._process.start()
        else:
            self._end(end)

    def _begin(self) -> None:
        region = self._options.region
        make_task = FramesTask if self._options.all_frames else VolumeTask
        self._task: Task = make_task(self._volume_node, self._segmentation_node)
        self._box = None if region is None else regions.box_in_volume(region, self._volume_node)
        self._voxels_at_start = self._task.voxels()
        self._folder = self._make_folder()
        self._hand_over()
        self._watch = Watch(self._volume_node, self._segmentation_node, self._stop)

    def _make_folder(self) -> RunFolder:
        try:
            return RunFolder(self._temporary_root)
        except OSError as error:
            raise OSError(NO_FOLDER.format(folder=self._temporary_root, reason=error.strerror or error)) from error

    def _hand_over(self) -> None:
        """Makes a process ready for the volume that is next."""
        options, number = self._options, len(self._handovers)
        self._on_status(stage_text("read"))
        request = Request(
            model=options.model, runtime=options.runtime, device=options.device, threads=options.threads,
            structures=options.structures, force=options.force,
        )  # fmt: skip
        handover = Handover.send(self._task.volume(number), self._box, request, self._folder.path / str(number))
        self._handovers.append(handover)
        self._process = WorkerProcess(
            handover.folder, whole=self._folder.path,
            on_stage=self._on_stage, on_progress=self._count, on_end=self._on_process_end,
        )  # fmt: skip

    def _on_stage(self, name: str) -> None:
        # Once windows are counted, the count says more.
        if not self._windows_before:
            self._on_status(stage_text(name))

    def _count(self, done: int, total: int) -> None:
        number, count = len(self._handovers), self._task.count
        self._windows = total
        done_in_all = self._windows_before + done
        total_in_all = self._windows_before + (count - number + 1) * total
        seconds_left = self._time_left.update(done_in_all, total_in_all)
        self._on_progress(done_in_all, total_in_all, seconds_left)
        self._on_status(progress_text(done, total, seconds_left, (number, count) if count > 1 else None))

    def _on_process_end(self, outcome: Outcome) -> None:
        if outcome.kind == "done":
            self._advance(self._receive)
        elif outcome.kind == "cancelled":
            self._end(RunEnd("cancelled", self._stopped_because))
        else:
            message = in_frames(outcome.message, [len(self._handovers)], self._task.count)
            self._end(RunEnd(outcome.kind, message, log=outcome.log, forcible=outcome.forcible))

    def _receive(self) -> RunEnd | None:
        """A volume is done: go on with the next one, or put all labels into the scene."""
        self._handovers[-1].receive()
        if len(self._handovers) == self._task.count:
            return self._write()
        self._windows_before += self._windows
        self._hand_over()
        return None

    def _write(self) -> RunEnd:
        only, reports = self._options.only, [handover.report for handover in self._handovers]
        warnings = _warnings(reports)
        found = set().union(*(handover.found for handover in self._handovers))
        others = [sentence for sentence in warnings if sentence != NO_SPINE]
        results = ((number, each.labels(), each.report) for number, each in enumerate(self._handovers))
        try:
            node = self._task.write(results, self._target(warnings), only, self._box)
        except NothingToWrite:
            # Which labels are among the chosen ones is told by the levels of the segmentation that they go to.
            return RunEnd("nothing_found", self._nothing_found(found), others, reports=reports)
        written, kept = _names(node, found, only)
        region = self._options.region and self._options.region.GetName()
        message = done_text(node.GetName(), written, time.monotonic() - self._started_at, kept, region)
        return RunEnd("done", message, warnings, segmentation_node=node, reports=reports)

    def _target(self, warnings: list[str]) -> vtkMRMLSegmentationNode | None:
        """The node to write into, None for a new one; a warning says why it isn't the one that was asked for."""
        node, options = self._segmentation_node, self._options
        if node is None:
            return None
        if self._task.voxels() != self._voxels_at_start:
            reason = "was edited during the run"
        elif not options.overwrite_edits and options.would_lose_edits(node):
            reason = "holds edits"
        elif belonging.volume_of(node) not in (None, self._volume_node):
            reason = "belongs to another volume"
        elif node.GetTransformNodeID() != self._volume_node.GetTransformNodeID() and ours.has_segments(node):
            reason = "is under another transform than the volume"
        else:
            return node
        warnings.append(f"'{node.GetName()}' {reason}, so the result went to a new segmentation.")
        return None

    def _nothing_found(self, found: set[int]) -> str:
        if found:
            return "None of the chosen structures was found: choose others, or check that the scan shows them."
        if self._box is not None:
            return "No spine was found inside the region: check its place, or segment the whole volume."
        return NO_SPINE

    def _end(self, end: RunEnd) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        if self._folder is not None:
            self._folder.remove()
        if end.log:
            logging.error("%s\n%s", end.message, end.log)
        self._on_end(end)


def _names(node: vtkMRMLSegmentationNode, found: set[int], only: frozenset[int] | None) -> tuple[list[str], list[str]]:
    """Of the chosen segments those that a run has filled, and those that stay as nothing of their kind was found."""
    kinds = {STRUCTURES[value].kind for value in found}
    written, kept = [], []
    for value, segment_id in ours.our_values(node).items():
        if only is None or value in only:
            stays = only is not None and STRUCTURES[value].kind not in kinds
            (kept if stays else written).append(node.GetSegmentation().GetSegment(segment_id).GetName())
    return written, kept


def _warnings(reports: list[dict]) -> list[str]:
    """Every sentence once, with the frames that it is about."""
    frames: dict[str, list[int]] = {}
    for number, report in enumerate(reports, start=1):
        for sentence in report["warnings"]:
            frames.setdefault(sentence, []).append(number)
    return [in_frames(sentence, numbers, len(reports)) for sentence, numbers in frames.items()]
