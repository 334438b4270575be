"""`python -m Workbench [SCAN...] [--data FOLDER]`: the annotation workbench in the browser. Research use only."""

from __future__ import annotations

import argparse
import asyncio
import errno
import getpass
import math
import os
import signal
import sys
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.faults import describe
from SpineContextSegLib.shipped import DEFAULT_MODEL
from SpineContextSegLib.threads import positive_number

from .guard import new_token

REFUSED, FAILED = 2, 1
GREATEST_PORT = 65535


def parser() -> argparse.ArgumentParser:
    """What can be given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m Workbench", description=__doc__)
    parser.add_argument("scans", nargs="*", type=Path, metavar="SCAN", help="scans or folders of scans, to be listed")
    parser.add_argument("--data", type=Path, help="folder of worklist and uploads (default: SpineContextSeg in the "
                        "folder of scans, or at home)")  # fmt: skip
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="of `spinecontextseg batch`, to be listed and "
                        "corrected")  # fmt: skip
    parser.add_argument("--port", type=port_number, default=8765, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="any other than loopback lets other computers in, with the "
                        "printed address (default: %(default)s)")  # fmt: skip
    parser.add_argument("--by", default="", help="your name in saved versions (default: that of the login)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of a model (default: %(default)s)")
    parser.add_argument("--threads", type=positive_number, help="processor threads of a run (default: all)")
    parser.add_argument("--upload-limit", type=gigabytes, default=4.0, metavar="GB", help="(default: %(default)s)")
    return parser


def port_number(text: str) -> int:
    """For `type=`; 0 too, which takes any free one."""
    if not text.isdecimal() or int(text) > GREATEST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {GREATEST_PORT}, not {text!r}")
    return int(text)


def gigabytes(text: str) -> float:
    """For `type=`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def user_name() -> str:
    """Of the login; a process in a container may have none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is interrupted; the exit code."""
    options = parser().parse_args(arguments)
    # trame would read our arguments as its own.
    sys.argv[1:] = []
    os.environ["WSLINK_READY_MSG"] = ""
    from .data_folder import default_folder

    try:
        from .workbench import Workbench
    except ModuleNotFoundError as missing:
        print(f"This installation lacks {missing.name}: install the workbench with `pip install '.[workbench]'` in the "
              "project's folder. Intel Macs and Linux on ARM have no Slicer core for it.", file=sys.stderr)  # fmt: skip
        return REFUSED

    token = new_token()
    data = options.data or default_folder(options.scans)
    try:
        data.mkdir(parents=True, exist_ok=True)
        workbench = Workbench(
            data, by=options.by.strip() or user_name(), token=token, upload_bytes=int(options.upload_limit * 1e9),
            model=options.model, threads=options.threads,
        )  # fmt: skip
        if options.results is not None:
            workbench.take_over(options.results, lambda problem: print(problem, file=sys.stderr))
        if options.scans:
            workbench.open_paths(options.scans)
        serve(workbench, options.host, options.port, token)
    except InputRefused as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(describe(error), file=sys.stderr)
        return FAILED
    return 0


def serve(workbench, host: str, port: int, token: str) -> None:
    """Blocks until the server ends.

    Raises:
        InputRefused: there can be none at this address; one sentence.
    """

    def announce(**_) -> None:
        address = f"http://{'[' + host + ']' if ':' in host else host}:{workbench.server.port}/"
        print(f"The workbench runs at {address}?token={token}", flush=True)
        print(f"Worklist and uploads: {workbench.worklist.folder}. Ctrl+C ends it. Research use only.", flush=True)

    workbench.server.controller.on_server_ready.add(announce)
    workbench.server.controller.on_server_ready.add(lambda **_: ignore_closed_pages())
    # The terminal was closed; `nohup` has it ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        workbench.server.start(
            host=host, port=port, open_browser=False, show_connection_info=False, timeout=0, disable_logging=True
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = (
                f"Port {port} is taken: use the address that the workbench there printed, or choose another port "
                "(--port 0 for a free one)."
            )
        else:
            sentence = f"The workbench can't be served at '{host}', port {port}: choose another --host or --port."
        raise InputRefused(sentence) from error
    finally:
        workbench.close()


def ignore_closed_pages() -> None:
    """A page that is left while something is sent to it is no fault to be told on the terminal."""
    loop = asyncio.get_running_loop()

    def tell(loop: asyncio.AbstractEventLoop, context: dict) -> None:
        if not isinstance(context.get("exception"), ConnectionResetError):
            loop.default_exception_handler(context)

    loop.set_exception_handler(tell)


if __name__ == "__main__":
    sys.exit(main())
