"""Words of the command line that several commands understand alike."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path


def add_numbering(parser: argparse.ArgumentParser, option: str = "--numbering", whose: str = "LABELS") -> None:
    """How a file numbers vertebrae, see `numbering.Numbering`."""
    parser.add_argument(option, choices=("verse", "totalsegmentator"), default="verse",
                        help=f"how {whose} numbers vertebrae (default verse)")  # fmt: skip


def named_path(text: str) -> Path:
    """A path on the command line."""
    # An empty name, as of a variable that isn't set, would mean the current folder.
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    try:
        os.lstat(text)
    except OSError as error:  # most are for the command, which knows whether the file has to be there
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(f"'{text}' can't be the name of a file ({error.strerror})") from error
    return Path(text)
