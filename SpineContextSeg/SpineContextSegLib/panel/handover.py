"""One volume on its way to the process and its labels on their way back, by way of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..checks import CUT_VERTEBRAE, border_warnings, check_result, cut_sentence
from ..labels import levels_known, structure
from ..roi import Box, crop, paste
from ..volume import Grid, Volume, count_labels
from ..worker import VOLUME, Request, read_result, write_request

CUT_BY_REGION = "cut by the border of the region."


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
            # The part ends around the box, which is no end of the scan; of the labels, only what is in the box stays.
            of_part = self.of_part.union(check_result(result.labels))
            others = [
                sentence
                for sentence in self.report["warnings"]
                if sentence not in of_part and not sentence.endswith(CUT_VERTEBRAE)
            ]
            self.report["warnings"] = others + check_result(labels) + self._cut_vertebrae(labels)

    def _cut_vertebrae(self, labels: Volume) -> list[str]:
        """Sentences on those that the border of the scan cuts, and on those that only the box cuts."""
        # They bring SimpleITK, and Slicer imports this module at every start.
        from ..field_of_view import FieldOfView
        from ..seen_vertebrae import seen_vertebrae

        if not levels_known(self.found):
            return []
        by_scan, by_any = (
            [structure(one.value).abbreviation for one in seen_vertebrae(labels, view)[0] if one.partial]
            for view in (FieldOfView(self.grid), FieldOfView(self.grid, regions=[self.box]))
        )
        by_box = [name for name in by_any if name not in by_scan]
        return [
            cut_sentence(names, by) for names, by in ((by_scan, CUT_VERTEBRAE), (by_box, CUT_BY_REGION)) if names
        ]

    def labels(self) -> Volume:
        """Labels (k, j, i) on the grid of the whole volume, 0 outside of the box."""
        labels = read_result(self.folder).labels
        return labels if self.box is None else paste(labels, self.slices_kji, self.grid, self.box)
