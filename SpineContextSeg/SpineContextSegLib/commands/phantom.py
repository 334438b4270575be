"""`spinecontextseg phantom`: a sample CT with exact truth, for everyone who has no CT at hand."""

from __future__ import annotations

import argparse

from ..errors import InputRefused
from ..interruption import Interruption
from ..outputs import Outputs, check_target, make_folder, print_if_possible
from ..shipped import SAMPLE_CT, SAMPLE_FOLDER, SAMPLE_LABELS
from .arguments import named_path

DESCRIPTION = f"""\
Copy the sample that ships with the program to a folder: {SAMPLE_CT}, a CT made by a computer (no patient), and
{SAMPLE_LABELS}, its exact truth in VerSe's numbering."""

EPILOG = f"""\
example:
  spinecontextseg phantom -o sample
  spinecontextseg segment sample/{SAMPLE_CT} -o sample/spine.seg.nrrd --preview sample/spine.png
  spinecontextseg evaluate sample/spine.seg.nrrd sample/{SAMPLE_LABELS}"""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "phantom", help="get a sample CT with its truth", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FOLDER", type=named_path, required=True,
                        help="made where it isn't there")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused when the folder can't be made or holds other files of these names."""
    folder = arguments.output
    make_folder(folder)
    contents = {folder / name: (SAMPLE_FOLDER / name).read_bytes() for name in (SAMPLE_CT, SAMPLE_LABELS)}
    missing = {path: content for path, content in contents.items() if not path.exists()}
    for path, content in contents.items():
        if path not in missing and (path.is_dir() or path.read_bytes() != content):
            raise InputRefused(f"'{path}' is there already with another content: choose another folder.")
    for path in missing:
        check_target(path)
    with Outputs(interruption) as outputs:
        for path, content in missing.items():
            outputs.stage(path).write_bytes(content)
    print_if_possible("\n".join(map(str, contents)))
