"""How many CPU threads a process may use for numpy and SimpleITK; the runtimes are told on their own."""

from __future__ import annotations

import argparse
import os

MOST_THREADS = 1024


def limit_threads(threads: int | None) -> None:
    """Call it before numpy is imported, whose linear algebra reads the environment once; None limits nothing."""
    if threads is None:
        return
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads)))
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def positive_number(text: str) -> int:
    """A number of threads or processes on a command line, for `type=` of argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_THREADS}, not {text!r}")
    return int(text)
