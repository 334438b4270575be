"""One volume on its way to the process and its labels on their way back, by way of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..checks import CUT_VERTEBRAE, border_warnings, check_result
from ..roi import Box, crop, paste
from ..volume import Grid, Volume, count_labels
from ..worker import VOLUME, Request, read_result, write_request


@dataclass
class Handover:
    """What is remembered of a volume while its labels are computed.

    Attributes:
        folder: holds the files that are exchanged.
        grid: of the whole volume.
        box: what the run is limited to, or None.
        slices_kji: the part of the volume that was handed over, None for all of it.
        of_part: sentences that the process may say of that part, and that aren't so of the whole volume.
        report: of the worker, see `pipeline.Result.report`; filled by `receive`.
        found: label values that occur; filled by `receive`.
    """

    folder: Path
    grid: Grid
    box: Box | None
    slices_kji: tuple[slice, slice, slice] | None = None
    of_part: set[str] = field(default_factory=set)
    report: dict = field(default_factory=dict)
    found: set[int] = field(default_factory=set)

    @classmethod
    def send(cls, volume: Volume, box: Box | None, request: Request, folder: Path) -> Handover:
        """Makes the folder and writes what the process needs.

        Raises:
            InputRefused: the box holds no voxel of the volume.
            OSError: disk full or not writable.
        """
        handover = cls(folder, volume.grid, box)
        if box is not None:
            whole = volume
            volume, handover.slices_kji = crop(whole, box)
            handover.of_part = set(border_warnings(volume)) - set(border_warnings(whole))
        folder.mkdir()
        write_request(folder, volume, request)
        return handover

    def receive(self) -> None:
        """Takes the report, once the process is done; the labels stay on disk."""
        # Many frames need much room.
        (self.folder / VOLUME).unlink(missing_ok=True)
        result = read_result(self.folder)
        self.report = result.report
        if self.box is None:
            self.found = {entry["value"] for entry in self.report["structures"]}
        else:
            labels = self.labels()
            self.found = {value for value in count_labels(labels.array) if value}
            # The part ends around the box, which is no end of the scan.
            of_part = self.of_part.union(check_result(result.labels))
            others = [
                sentence
                for sentence in self.report["warnings"]
                if sentence not in of_part and not sentence.endswith(CUT_VERTEBRAE)
            ]
            self.report["warnings"] = others + check_result(labels)

    def labels(self) -> Volume:
        """Labels (k, j, i) on the grid of the whole volume, 0 outside of the box."""
        labels = read_result(self.folder).labels
        return labels if self.box is None else paste(labels, self.slices_kji, self.grid, self.box)
