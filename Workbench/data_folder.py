"""Where worklist and uploads are kept unless another folder is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from SpineContextSegLib.dicom_folder import is_dicom_file

from .store.database import DATABASE

FOLDER = "SpineContextSeg"


def default_folder(scans: Sequence[Path] = ()) -> Path:
    """In a folder of scans, so that each cohort has a list of its own; at home for single scans and where nothing can
    be written."""
    if len(scans) == 1 and scans[0].is_dir() and os.access(scans[0], os.W_OK):
        [folder] = scans
        if (folder / DATABASE).exists():
            return folder
        # A DICOM series is the files of its folder, all of them.
        if not any(path.is_file() and is_dicom_file(path) for path in folder.iterdir()):
            return folder / FOLDER
    return Path(os.path.expanduser("~")) / FOLDER
