"""The process boundary: a folder with a request goes in, one JSON line per event comes out, labels land in the folder.

The computation has a process of its own, so that it can be ended at once, and so that neither a crash nor a lack of
memory takes the caller along. The caller starts it with `worker_arguments` and holds the pipe to its stdin open. When
that pipe closes, also because the caller was killed, the process removes the folder, where told so with others of the
same caller, and ends, whatever it is doing.

Its stdout carries nothing but these lines; whatever else prints there goes to stderr:

    {"event": "started", "pid": 4711}
    {"event": "stage", "name": "read" | "load model" | "segment"}
    {"event": "progress", "done": 3, "total": 27}
    {"event": "done"}
    {"event": "refused", "message": "...", "forcible": true | false}
    {"event": "failed", "message": "...", "log": "..."}

One of the last three is the last line; a process that ends without it was killed or has crashed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn

from .errors import InputRefused, UnlikelyValues
from .faults import describe
from .outputs import write_complete
from .threads import limit_threads

if TYPE_CHECKING:
    import numpy as np

    from .volume import Volume

REQUEST, VOLUME, LABELS, REPORT = "request.json", "volume.npy", "labels.npy", "report.json"
PARTIAL = ".partial"
DONE, FAILED, REFUSED, CALLER_GONE = 0, 1, 2, 3

# Not -m, as the package needn't be installed. What a folder that happens to be the current one holds is not imported,
# also where an empty entry of PYTHONPATH means that folder. os._exit skips the destructors of native libraries, where a
# finished run could still crash or hang.
_START = (
    "import os, sys; here = os.getcwd(); "
    "sys.path[:] = [sys.argv.pop(1), *(p for p in sys.path if p and os.path.abspath(p) != here)]; "
    "from SpineContextSegLib.{module} import main; os._exit(main(sys.argv[1:]))"
)
_WINDOWS_POLL_SECONDS = 0.1
# For the environment of a process of this package. Unbuffered, so that a crash doesn't take the last words with it.
ENVIRONMENT = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
# Of what a process wrote to stderr, so many from the end are kept.
LOG_BYTES = 20_000


@dataclass(frozen=True)
class Request:
    """What is asked of the process.

    Attributes:
        model: a name that `model.list_models` knows, or a model's folder.
        runtime, device, threads: as in `runtime.choose_runtime`; `threads` also limits everything else.
        structures, force: as in `pipeline.segment`.
    """

    model: str
    runtime: str
    device: str
    threads: int | None
    structures: Literal["spine", "all"]
    force: bool


@dataclass(frozen=True)
class WorkerResult:
    """labels: uint8 (k, j, i) on the grid of the volume handed over. report: see `pipeline.Result.report`."""

    labels: Volume
    report: dict


class HandoverError(OSError):
    """A file that caller and process exchange is missing or damaged; the message is one sentence for the user."""


def worker_arguments(request_folder: Path, whole: Path | None = None) -> list[str]:
    """What to start a Python interpreter with, so that it works on a folder filled by `write_request`.

    Args:
        whole: a folder with the request, and with whatever else the caller keeps there, that goes when the caller does.
    """
    return process_arguments("worker", *map(str, filter(None, (request_folder, whole))))


def process_arguments(module: str, *arguments: str) -> list[str]:
    """What to start a Python interpreter with, so that it runs `main(arguments)` of a module of this package."""
    return ["-c", _START.format(module=module), str(Path(__file__).resolve().parents[1]), *arguments]


def event_in(line: bytes) -> dict | None:
    """The event that a line from the process tells; None where it is of others, as before the process has its stdout
    for itself."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def write_request(folder: Path, volume: Volume, request: Request) -> None:
    """Fills an empty folder for the process.

    Args:
        folder: exists; its name may hold any character.
        volume: HU (k, j, i) in any number type, written without a copy; the affine arrives to the last bit.
        request: what is asked.

    Raises:
        OSError: disk full or not writable.
    """
    _write(folder / VOLUME, lambda file: _save_array(file, volume.array))
    content = {"shape": volume.array.shape, "affine": volume.affine.tolist(), "request": asdict(request)}
    _write_json(folder / REQUEST, content)


def read_result(folder: Path) -> WorkerResult:
    """What the process left in the folder after its event "done".

    Raises:
        HandoverError: a file is missing, damaged or doesn't fit the request.
    """
    from .volume import Volume

    _, shape, affine = _read_request(folder)
    labels = _load_array(folder / LABELS, shape)
    return WorkerResult(Volume(labels, affine), _read_json(folder / REPORT))


def remove_request(folder: Path) -> None:
    """Removes the files that were exchanged, then the folder unless it holds anything else."""
    for name in (REQUEST, VOLUME, LABELS, REPORT):
        for path in (folder / name, folder / (name + PARTIAL)):
            _remove(path.unlink)
    _remove(folder.rmdir)


def main(arguments: Sequence[str]) -> int:
    """Works on a folder, see `worker_arguments`; stdin and stdout must be pipes to the caller.

    Returns:
        The exit code: 0 done, 1 failed, 2 refused; 3, without returning, when the caller went away.
    """
    caller = _Caller(*map(Path, arguments))
    # A native crash leaves its place in the code on stderr.
    faulthandler.enable()
    caller.tell("started", pid=os.getpid())
    try:
        _segment(Path(arguments[0]), caller)
        caller.tell("done")
        return DONE
    except InputRefused as refusal:
        caller.tell("refused", message=str(refusal), forcible=isinstance(refusal, UnlikelyValues))
        return REFUSED
    except Exception as error:  # noqa: BLE001, the last place that can turn a fault into words
        caller.tell("failed", message=describe(error), log="".join(traceback.format_exception(error)))
        return FAILED


class _Caller:
    """The process at the other end of both pipes."""

    def __init__(self, folder: Path, whole: Path | None = None) -> None:
        self._folder, self._whole = folder, whole
        self._gone = threading.Event()
        self._pipe = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
        os.dup2(2, 1)
        threading.Thread(target=self._watch, name="caller", daemon=True).start()

    def tell(self, event: str, **details: object) -> None:
        if self._gone.is_set():
            # The other thread tidies up and ends the process; a missing file is no fault then.
            threading.Event().wait()
        try:
            self._pipe.write(json.dumps({"event": event, **details}) + "\n")
            self._pipe.flush()
        except OSError:
            self._leave()

    def _watch(self) -> None:
        if sys.platform == "win32":
            while not stdin_closed_on_windows():
                time.sleep(_WINDOWS_POLL_SECONDS)
        else:
            while os.read(0, 4096):
                pass
        self._leave()

    def _leave(self) -> NoReturn:
        self._gone.set()
        remove_request(self._folder)
        if self._whole is not None:
            shutil.rmtree(self._whole, ignore_errors=True)
        os._exit(CALLER_GONE)


def stdin_closed_on_windows() -> bool:
    """To be asked now and then. A read that waits would hold up whatever else looks at the handle, as the Fortran
    library in numpy's OpenBLAS does when it is loaded (github.com/numpy/numpy/issues/24290)."""
    import _winapi
    import msvcrt

    try:
        _winapi.PeekNamedPipe(msvcrt.get_osfhandle(0), 0)
    except OSError:
        return True
    return False


def _segment(folder: Path, caller: _Caller) -> None:
    caller.tell("stage", name="read")
    request, shape, affine = _read_request(folder)
    limit_threads(request.threads)
    from .model import load_model
    from .pipeline import segment
    from .runtime import choose_helpers, choose_runtime
    from .volume import Volume

    volume = Volume(_load_array(folder / VOLUME, shape), affine)
    caller.tell("stage", name="load model")
    model = load_model(request.model)
    choices = request.runtime, request.device, request.threads
    runtime, helpers = choose_runtime(model, *choices), choose_helpers(model, *choices)
    caller.tell("stage", name="segment")
    result = segment(
        volume, model, runtime, **helpers, structures=request.structures, force=request.force,
        progress=lambda done, total: caller.tell("progress", done=done, total=total),
    )  # fmt: skip
    _write(folder / LABELS, lambda file: _save_array(file, result.labels.array))
    _write_json(folder / REPORT, result.report())


def _read_request(folder: Path) -> tuple[Request, tuple[int, ...], list]:
    """The request, the shape (k, j, i) of the volume and its affine."""
    content = _read_json(folder / REQUEST)
    try:
        return Request(**content["request"]), tuple(content["shape"]), content["affine"]
    except (KeyError, TypeError) as error:
        raise _damaged(folder / REQUEST) from error


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    _write(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def _load_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    if array.shape != shape:
        raise _damaged(path) from ValueError(f"shape {array.shape} instead of {shape}")
    return array


def _save_array(file: BinaryIO, array: np.ndarray) -> None:
    import numpy as np

    # Given a true file, numpy writes past Python, and a full disk becomes an error without a reason.
    np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Whole or not at all, and under a name that `remove_request` knows until then: this process may be killed."""

    def write_partial(partial: Path) -> None:
        with open(partial, "wb") as file:
            write(file)

    write_complete(path, write_partial, path.with_name(path.name + PARTIAL))


def _remove(remove: Callable[[], None]) -> None:
    try:
        remove()
    except OSError:
        pass  # not there, or held open on Windows; whoever made the folder removes it then


def _damaged(path: Path) -> HandoverError:
    return HandoverError(
        f"The file {path.name}, which hands data to or from the segmentation process, is missing or damaged: try "
        "again, and check the disk of the temporary folder."
    )
