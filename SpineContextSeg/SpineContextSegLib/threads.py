"""How many CPU threads a process may use for numpy and SimpleITK; the runtimes are told on their own."""

from __future__ import annotations

import os


def limit_threads(threads: int | None) -> None:
    """Call it before numpy is imported, whose linear algebra reads the environment once; None limits nothing."""
    if threads is None:
        return
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads)))
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
