"""One run of pip: it leaves the packages alone that are there already, and its failures become one sentence."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from .kits import InstallFailed, why_unfit

Pip = Callable[[list[str]], None]

LOG_CHARACTERS = 20_000
# What pip (23 to 26) writes into its log -> what to tell, the first that is found. Trouble with a connection comes
# late, as pip also logs the attempts after which it went on with another index or another try.
_SIGNS = (
    (
        r"No space left on device|\[Errno 28\]|not enough space on the disk",
        "{what} could not be installed, the disk is full: make room and try again.",
    ),
    (
        r"Permission denied|Access is denied|\[WinError (5|32)\]",
        "{what} could not be installed, Slicer's folder can't be changed: close other windows of Slicer, or start it"
        " once as the user who installed it.",
    ),
    (
        r"conflicting dependencies",
        "{what} could not be installed, no version of it goes with the packages that Slicer has ({reason}): update"
        " Slicer, or choose another runtime.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|problem confirming the ssl certificate",
        "{what} could not be downloaded, the certificate of the connection isn't trusted (as behind some proxies): set"
        " PIP_CERT to your network's certificate file, or install from a folder of wheels.",
    ),
    (
        r"ProxyError|[Cc]annot connect to proxy|Tunnel connection failed|Proxy Authentication Required",
        "{what} could not be downloaded, the proxy refused: set HTTPS_PROXY to your network's proxy, or install from a"
        " folder of wheels.",
    ),
    (
        r"connection error: |NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ConnectionResetError"
        r"|IncompleteRead|not enough bytes were received|Max retries exceeded",
        "{what} could not be downloaded, the internet can't be reached: check the connection, set HTTPS_PROXY where"
        " there is a proxy, or install from a folder of wheels.",
    ),
    (
        r"No matching distribution found",
        "{what} could not be installed, there is no version of it for this system and Slicer's Python: choose another"
        " runtime.",
    ),
)


def slicer_pip(arguments: list[str]) -> None:
    """Runs "pip install" in Slicer's Python, without the windows that Slicer has for it from 5.12 on: a failure would
    be told twice, first in pip's words."""
    import slicer

    try:
        from slicer.packaging import pip_install
    except ImportError:
        slicer.util.pip_install(arguments)
    else:
        pip_install(arguments, show_progress=False)


@contextmanager
def pip_run(what: str, *, replaced: tuple[str, ...], folder: Path | None = None) -> Iterator[None]:
    """Whatever runs pip inside keeps every installed package at its version.

    pip is told through its environment variables, as they reach it through other people's code too.

    Args:
        what: is installed, for the sentence.
        replaced: packages that may change version; patterns with * are allowed.
        folder: of wheels, where they come from one.

    Raises:
        InstallFailed: when anything is raised inside, or there is no room for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="spinecontextseg-pip-", ignore_cleanup_errors=True) as temporary:
            pins, log = Path(temporary, "constraints.txt"), Path(temporary, "pip.log")
            pins.write_text(constraints(replaced), encoding="utf-8")
            # As an address, since pip would split a path at its spaces.
            options = {"PIP_CONSTRAINT": pins.as_uri(), "PIP_LOG": str(log), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            with _environment(options), _told_in_one_sentence(what, log, folder):
                yield
    except OSError as error:
        raise InstallFailed(
            f"{what} could not be installed, no temporary file can be written ({error.strerror}): make room and try"
            " again."
        ) from error


@contextmanager
def _told_in_one_sentence(what: str, log: Path, folder: Path | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what runs pip raises all kinds of things
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        details = f"{said}\n{traceback.format_exc()}"[-LOG_CHARACTERS:]
        raise InstallFailed(_sentence(what, said, folder), details) from error


def constraints(replaced: tuple[str, ...]) -> str:
    """Every installed package at its version, in the format of pip's constraints, but for those `replaced`."""
    pins = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name and not any(fnmatchcase(name, pattern) for pattern in replaced):
            # What is installed twice counts as Python finds it: the first one.
            pins.setdefault(name, str(distribution.version))
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()) if _is_version(version))


def _is_version(text: str) -> bool:
    """Whether pip can compare with it (PEP 440); one line that it can't read would make it refuse the whole file."""
    before = r"([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?"
    after = r"(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?([-_.]?dev[-_.]?\d*)?"
    local = r"(\+[a-z0-9]+([-_.][a-z0-9]+)*)?"
    return bool(re.fullmatch(rf"v?(\d+!)?\d+(\.\d+)*{before}{after}{local}", text, re.IGNORECASE))


def _sentence(what: str, log: str, folder: Path | None) -> str:
    lacking = re.search(r"No matching distribution found for (\S+)", log)
    if folder and lacking:
        return why_unfit(folder, lacking.group(1))
    for sign, sentence in _SIGNS:
        if re.search(sign, log):
            return sentence.format(what=what, reason=_conflict(log))
    return f"{what} could not be installed: the details tell what pip said."


def _conflict(log: str) -> str:
    """The first line of pip's explanation of a conflict, without the time of day."""
    found = re.search(r"The conflict is caused by:\s*\n\S*\s*(.+)", log)
    return found.group(1).strip() if found else "see the details"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
