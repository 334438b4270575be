"""`spinecontextseg models`: which models are there; and registering one's own."""

from __future__ import annotations

import argparse

from ..errors import InputRefused
from ..interruption import Interruption
from ..outputs import print_if_possible
from .arguments import named_path

DESCRIPTION = """\
List the models that 'segment --model' knows: those that ship with the program and your own."""

EPILOG = """\
examples:
  spinecontextseg models
  spinecontextseg models register checkpoint.pth card.json"""

REGISTER = """\
Make a model of a checkpoint of SpineContextResUNet in its published form (.pth with a state dict, bare or under
model_state_dict, or .safetensors) and a model card. The card is a JSON file that states what the weights don't: name,
spacing, intensity range, axis order, activation, classes. Needs torch; nothing in the checkpoint is executed."""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "models", help="list models, register your own", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=formatter,
    )  # fmt: skip
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(title="more", metavar="[register]")
    register = actions.add_parser(
        "register", help="register a checkpoint with its card", description=REGISTER, formatter_class=formatter
    )
    register.add_argument("checkpoint", metavar="CHECKPOINT", type=named_path, help=".pth or .safetensors")
    register.add_argument("card", metavar="CARD", type=named_path, help="the model card (.json)")
    register.set_defaults(run=run_register)


def run_list(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """One line for every model; one that can't be used says why."""
    from ..model import list_models, load_model

    rows = [("Name", "Version", "For", "Spacing mm", "Runtimes", "Where")]
    for name, folder in list_models().items():
        try:
            card = load_model(name).card
        except InputRefused as error:
            rows.append((name, *"----", f"{folder} (can't be used: {error})"))
            continue
        spacing = "x".join(f"{step:g}" for step in card.spacing_ras_mm)
        kinds = {"openvino": card.has_openvino, "torch": "safetensors" in card.weights}
        runtimes = ", ".join(kind for kind, there in kinds.items() if there)
        rows.append((name, card.version, ", ".join(card.modality), spacing, runtimes or "-", str(folder)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*map(str.ljust, cells, widths), where]) for *cells, where in rows]
    if len(rows) == 1:
        lines.append("There are no models: install spinecontextseg again, or register one.")
    print_if_possible("\n".join(lines))


def run_register(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused when checkpoint or card can't be used, or the name is taken."""
    from ..model import register_model

    for path in (arguments.checkpoint, arguments.card):
        if not path.is_file():
            raise InputRefused(f"'{path}' is no file: check the path.")
    model = register_model(arguments.checkpoint, arguments.card)
    print_if_possible(
        f"Registered {model.card.name} {model.card.version} in {model.folder}\n"
        f"Use it with: spinecontextseg segment INPUT -o OUTPUT --model {model.card.name}"
    )
