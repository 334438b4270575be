"""What went wrong, in one sentence for the user and in full for a log."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import traceback

from . import __version__
from .errors import InputRefused

_DISK_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
# How ITK, OpenVINO and torch say it; none of them raises MemoryError.
_MEMORY_WORDS = (
    "failed to allocate memory", "bad_alloc", "bad allocation", "can't allocate memory", "can't alloc", "out of memory",
)  # fmt: skip


def in_words(error: BaseException) -> str:
    """What is said to the user: the words of a refusal, one sentence on any other fault."""
    return str(error) if isinstance(error, InputRefused) else describe(error)


def describe(error: BaseException) -> str:
    """One sentence on a fault that isn't the input's."""
    if lacks_memory(error):
        return "There is not enough memory for this scan: close other programs, or crop the scan."
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "The disk is full (or a quota is used up): make room and try again."
    text = _one_line(error)
    if isinstance(error, OSError):
        return _sentence(text)
    return _sentence(f"Something went wrong ({type(error).__name__}: {text})")


def lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out, so that the input isn't to blame and another try may do."""
    return isinstance(error, MemoryError) or any(word in _one_line(error).lower() for word in _MEMORY_WORDS)


def write_log(error: BaseException) -> str | None:
    """Writes versions, the command line and the traceback to a new file; its path, or None where that fails too."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="spinecontextseg-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"spinecontextseg {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
            file.write(f"{' '.join(sys.argv)}\nin {os.getcwd()}\n\n")
            file.writelines(traceback.format_exception(error))
        return file.name
    except OSError:
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
