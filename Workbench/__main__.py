"""`python -m Workbench [SCAN] [--data FOLDER]`: the annotation workbench in the browser. Research use only."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.faults import describe

from .guard import is_loopback, new_token

REFUSED, FAILED = 2, 1


def parser() -> argparse.ArgumentParser:
    """What can be given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m Workbench", description=__doc__)
    parser.add_argument("scan", nargs="?", type=Path, help="a scan, or a folder of scans, to list and open")
    parser.add_argument("--data", type=Path, help="folder of worklist and uploads (default: SpineContextSeg at home)")
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="any other than loopback needs a token, which is printed")
    parser.add_argument("--by", default=user_name(), help="your name in saved versions (default: that of the login)")
    parser.add_argument("--model", default="spinecontext-ct", help="name of a model (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="processor threads of a run (default: all)")
    parser.add_argument("--upload-limit", type=float, default=4.0, metavar="GB", help="(default: %(default)s)")
    return parser


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
    from .workbench import Workbench, default_folder

    token = None if is_loopback(options.host) else new_token()
    data = options.data or default_folder()
    try:
        data.mkdir(parents=True, exist_ok=True)
        workbench = Workbench(
            data, by=options.by, token=token, upload_bytes=int(options.upload_limit * 1e9), model=options.model,
            threads=options.threads,
        )  # fmt: skip
        if options.scan is not None:
            workbench.open_path(options.scan)
    except InputRefused as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(describe(error), file=sys.stderr)
        return FAILED
    serve(workbench, options.host, options.port, token)
    return 0


def serve(workbench, host: str, port: int, token: str | None) -> None:
    """Blocks until the server ends."""

    def announce(**_) -> None:
        address = f"http://{'[' + host + ']' if ':' in host else host}:{workbench.server.port}/"
        print(f"The workbench runs at {address}{'?token=' + token if token else ''}", flush=True)
        print(f"Worklist and uploads: {workbench.worklist.folder}. Ctrl+C ends it. Research use only.", flush=True)

    workbench.server.controller.on_server_ready.add(announce)
    try:
        workbench.server.start(
            host=host, port=port, open_browser=False, show_connection_info=False, timeout=0, disable_logging=True
        )
    finally:
        workbench.close()


if __name__ == "__main__":
    sys.exit(main())
