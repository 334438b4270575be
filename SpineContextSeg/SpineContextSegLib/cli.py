"""The command `spinecontextseg`: what the user typed, and which exit code answers it.

0 = done; 2 = refused before any work, with one line that says what to do; 1 = anything else, with one line and a log,
or, of many scans, some that were refused or failed; 130 = interrupted, nothing left half done.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import batch, evaluate, finetune, levels, measure, models, phantom, segment
from .errors import Cancelled, Incomplete, InputRefused
from .faults import describe, write_log
from .interruption import Interruption
from .outputs import print_if_possible

PROGRAM = "spinecontextseg"
DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Spine segmentation in CT and MR on an ordinary PC, without a GPU and without a network connection.
Research use only: not for diagnosis or treatment."""

EXAMPLES = """\
examples:
  spinecontextseg segment chest.nii.gz -o chest.seg.nrrd --preview chest.png
  spinecontextseg segment dicom_folder -o spine.nii.gz --structures all --report report.json
  spinecontextseg batch cohort results
  spinecontextseg evaluate spine.nii.gz truth.nii.gz
  spinecontextseg levels spine.nii.gz --this L4=L5 --output corrected.nii.gz
  spinecontextseg measure chest.nii.gz chest.seg.nrrd --table vertebrae.csv
  spinecontextseg finetune dataset --from spinecontext-ct --name our-scanner
  spinecontextseg phantom -o sample

exit codes:
  0 done, 2 refused before any work, 130 interrupted, 1 anything else

'spinecontextseg COMMAND --help' says more."""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one line instead of the whole usage."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        # To argparse "-30." and "-1e1" are options.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{PROGRAM}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each command's module adds its own part."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EXAMPLES, formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__} (research use only)")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (segment, batch, evaluate, measure, levels, finetune, models, phantom):
        command.add_parser(commands, formatter)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` None takes those of the process. Returns the exit code."""
    for name in ("stdout", "stderr"):
        # Closed by the caller: Python has none then, and every print would fail.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        # A file name that the terminal can't show must not stop the work.
        getattr(sys, name).reconfigure(errors="backslashreplace")
    parsed = build_parser().parse_args(arguments)
    with Interruption() as interruption:
        try:
            parsed.run(parsed, interruption)
            sys.stdout.flush()
            return DONE
        except InputRefused as error:
            _say(error)
            return REFUSED
        except (KeyboardInterrupt, Cancelled) as error:
            _say(str(error) or "interrupted, nothing was written.")
            return INTERRUPTED
        except Incomplete as error:
            _say(error)
            return FAILED
        except Exception as error:  # noqa: BLE001, the last place that can turn a fault into words
            log = write_log(error)
            _say(f"{describe(error)} {f'The log is {log}' if log else 'No log could be written'}.")
            return FAILED


def _say(message: object) -> None:
    print_if_possible(f"{PROGRAM}: {' '.join(str(message).split())}", sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
