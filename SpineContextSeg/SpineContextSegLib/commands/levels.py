"""`spinecontextseg levels`: which levels a label file has, and putting them right."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputRefused
from ..interruption import Interruption
from ..labels import (
    DISC_OFFSET,
    FIRST_OWN_VALUE,
    SACRUM,
    SEGMENT_ID_PREFIX,
    STRUCTURES,
    VERTEBRA_LEVEL_UNKNOWN,
    VERTEBRAE,
    Segment,
    level_name,
    levels_known,
    value_called,
)
from ..outputs import Outputs, check_replaceable, check_target, print_if_possible
from .arguments import add_numbering, named_path

if TYPE_CHECKING:
    from ..volume import Volume

_OPERATIONS = ("shift", "this", "swap", "merge", "split")

DESCRIPTION = """\
List the levels of a label file from top to bottom, or put them right. Names, colors, codes and discs follow, but for
names, colors and codes that a person gave a segment; sacrum and spinal canal stay as they are."""

EPILOG = """\
LABELS is a label map in VerSe's numbering: .nii.gz, .nii, .nrrd, .mha, .seg.nrrd or a DICOM SEG. One in
TotalSegmentator's becomes VerSe's with --numbering, and its other organs are left out. Vertebrae are given by their
name (C7, T13, L5, "L5 vertebra") or number (7, 28, 24). Without --output nothing is written, only shown. The output may
be the input file itself, but for a DICOM SEG. Without --thoracic and --lumbar a column has 12 thoracic vertebrae (13
where there is a T13) and 5 lumbar ones (6 where there is an L6).

examples:
  spinecontextseg levels spine.nii.gz
  spinecontextseg levels spine.nii.gz --this L4=L5 --output corrected.nii.gz
  spinecontextseg levels spine.nii.gz --shift -1 --output spine.nii.gz
  spinecontextseg levels spine.nii.gz --this L1=T13 --output corrected.nii.gz        (a 13th thoracic vertebra)
  spinecontextseg levels spine.nii.gz --this L1=L1 --thoracic 11 -o corrected.nii.gz (no T12; right from L1 down)
  spinecontextseg levels spine.nii.gz --this T12=L1 --thoracic 11 -o corrected.nii.gz (no T12; right down to T11)
  spinecontextseg levels spine.seg.nrrd --split L2 12.5 -30 141 -o spine.seg.nrrd
  spinecontextseg levels total.nii.gz --numbering totalsegmentator -o spine.nii.gz"""


def add_parser(commands: argparse._SubParsersAction, formatter: type[argparse.HelpFormatter]) -> None:
    parser = commands.add_parser(
        "levels", help="list levels, put them right", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter
    )
    parser.add_argument("labels", metavar="LABELS", type=named_path, help="the file of labels")
    operations = parser.add_mutually_exclusive_group()
    operations.add_argument("--shift", metavar="N", type=int,
                            help="all vertebrae are N levels further down (negative: up)")  # fmt: skip
    operations.add_argument("--this", metavar="V=LEVEL", type=_renaming,
                            help="vertebra V is LEVEL, and those above and below it follow without gaps")  # fmt: skip
    operations.add_argument("--swap", metavar=("V", "W"), nargs=2, type=_vertebra, help="V and W exchange their levels")
    operations.add_argument("--merge", metavar=("V", "W"), nargs=2, type=_vertebra_or_sacrum,
                            help="W becomes part of V, its neighbor; V may be the sacrum")  # fmt: skip
    operations.add_argument("--split", metavar=("V", "R", "A", "S"), nargs=4, action=_Split,
                            help="cut V across the column at a point (RAS, mm)")  # fmt: skip
    parser.add_argument("--thoracic", metavar="N", type=int, help="number of thoracic vertebrae: 11, 12 or 13")
    parser.add_argument("--lumbar", metavar="N", type=int, help="number of lumbar vertebrae: 4, 5 or 6")
    add_numbering(parser)
    parser.add_argument("-o", "--output", metavar="OUTPUT", type=named_path, help="the label file to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, interruption: Interruption) -> None:
    """Raises InputRefused before anything is written."""
    from ..level_remarks import remarks_on_levels, remarks_on_renaming, runs_upward
    from ..repair import order_of
    from ..segment_list import remarks_on_doubt, remarks_on_segments
    from ..stated_geometry import UNSTATED_ORIENTATION
    from ..volume import count_labels
    from ..writing import check_output, write_segmentation
    from .label_input import read_vertebrae

    _check_options(arguments)
    labels, counts, segments, remarks = read_vertebrae(arguments.labels, arguments.numbering)
    order_before = order_of(labels) if arguments.this else []
    if runs_upward(order_before) and any(UNSTATED_ORIENTATION in remark for remark in remarks):
        raise InputRefused(
            f"'{arguments.labels.name}' does not state how the patient lies in it, and its levels run from the feet to "
            "the head: give labels that state it, such as .seg.nrrd."
        )
    before = _described(segments, counts)
    if arguments.output:
        check_output(arguments.output, labels.grid)
        _check_nameable(arguments.output, counts, before)
    sequence = _sequence(arguments, set(counts))
    result = _repaired(labels, arguments, SACRUM in counts, sequence)
    order = order_of(result)
    _check_telling(order)
    changes = _changes(labels, result)
    after = _described_anew(before, changes)
    with Outputs(interruption) as outputs:
        if arguments.output:
            write_segmentation(result, outputs.stage(arguments.output), after)
    remarks += remarks_on_segments(arguments.labels.name, segments)
    if not _operation(arguments):
        remarks += remarks_on_doubt(segments)
    remarks += remarks_on_renaming(order_before, order, sequence) if arguments.this else []
    order += [SACRUM] if SACRUM in counts else []
    # Of the column as it is now: whoever makes L6 a part of L5 says that there is none.
    for sentence in remarks + remarks_on_levels(order, _sequence(arguments, set(order))):
        print_if_possible(f"Warning: {sentence}", sys.stderr)
    voxel_ml = result.grid.voxel_volume_mm3 / 1000
    volumes_ml = {value: voxels * voxel_ml for value, voxels in count_labels(result.array).items()}
    lines = _table(order, volumes_ml, changes)
    if arguments.output:
        if given := _given_by_hand(after, changes):
            lines.append(f"Names that were given by hand stay: {', '.join(map(repr, given))}.")
        if left_out := _without_voxels(before, counts, arguments.output):
            lines.append(f"Left out, as they hold no voxel: {', '.join(map(repr, left_out))}.")
        lines.append(f"Written to {arguments.output}")
    elif _operation(arguments):
        lines.append("Nothing was written: add --output FILE to write this.")
    print_if_possible("\n".join(lines))


def _level(text: str, possible: frozenset[int], words: str) -> int:
    value = value_called(text) or {str(value): value for value in possible}.get(text.strip())
    if value in possible:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is no {words}: use a name such as C7, T13 or L5, or VerSe's number")


def _vertebra(text: str) -> int:
    return _level(text, VERTEBRAE, "vertebra")


def _vertebra_or_sacrum(text: str) -> int:
    return _level(text, VERTEBRAE | {SACRUM}, "vertebra or sacrum")


def _renaming(text: str) -> tuple[int, int]:
    which, equals, level = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be a vertebra and its level, such as L4=L5, not {text!r}")
    return _vertebra(which), _vertebra(level)


class _Split(argparse.Action):
    """A vertebra and three coordinates become (value, (R, A, S))."""

    def __call__(self, parser, namespace, texts, option=None) -> None:
        try:
            setattr(namespace, self.dest, (_vertebra(texts[0]), tuple(float(text) for text in texts[1:])))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from error
        except ValueError as error:
            raise argparse.ArgumentError(self, f"R, A and S must be numbers, not {' '.join(texts[1:])}") from error


def _operation(arguments: argparse.Namespace) -> str | None:
    return next((name for name in _OPERATIONS if getattr(arguments, name) is not None), None)


def _check_options(arguments: argparse.Namespace) -> None:
    """Everything that can be said before the file is read."""
    from ..writing import WRITABLE_ENDINGS

    operation = _operation(arguments)
    if arguments.output:
        if not operation and arguments.numbering == "verse":
            raise InputRefused("Nothing to write: say what to put right, see 'spinecontextseg levels --help'.")
        check_target(arguments.output, WRITABLE_ENDINGS)
        check_replaceable(arguments.output)
    counts_given = arguments.thoracic is not None or arguments.lumbar is not None
    if counts_given and operation not in ("shift", "this", "split"):
        raise InputRefused("--thoracic and --lumbar only go with --shift, --this or --split: give one of these too.")


def _described(segments: Iterable[Segment], values: Iterable[int]) -> dict[int, Segment]:
    """Value -> what the file says of its segment, or would say of a person's own one; other files say nothing."""
    own = [value for value in values if value >= FIRST_OWN_VALUE]
    found = {value: Segment(value, f"Segment_{value}", f"Segment {value}", (0.5, 0.5, 0.5), {}) for value in own}
    return found | {segment.value: segment for segment in segments if segment.value is not None}


def _check_nameable(output: Path, values: Iterable[int], described: Mapping[int, Segment]) -> None:
    nameless = sorted(set(values) - set(STRUCTURES) - set(described))
    if nameless and output.name.lower().endswith(".seg.nrrd"):
        raise InputRefused(
            f"A .seg.nrrd needs a name for every value, and there is none for {', '.join(map(str, nameless[:8]))}: "
            "write to .nii.gz or .nrrd."
        )


def _check_telling(order: Iterable[int]) -> None:
    """Raises InputRefused where a file with these vertebrae would no longer tell their levels."""
    if not levels_known(order):
        raise InputRefused(
            f"{level_name(VERTEBRA_LEVEL_UNKNOWN)} can't be the only vertebra, as its value stands for any vertebra "
            "where it is alone: split off C2, or leave the level as it is."
        )


def _described_anew(before: Mapping[int, Segment], changes: Mapping[tuple[int, int], int]) -> dict[int, Segment]:
    """Value -> what is to be said of it, where that was said of a segment before.

    A segment that is split stays the part that keeps its value, one that is merged ends.

    Args:
        changes: (old value, new value) -> number of voxels.
    """
    after: dict[int, Segment] = {}
    for old, segment in before.items():
        parts = {new: voxels for (was, new), voxels in changes.items() if was == old}
        if old in parts:
            # Its ID may be that of another value, from before it was put right in Slicer.
            own_id = f"{SEGMENT_ID_PREFIX}{old}" if old in STRUCTURES else segment.segment_id
            # Who puts levels right has looked at all of them.
            after[old] = replace(segment, segment_id=own_id).with_doubt("")
        elif parts:
            new = max(parts, key=parts.__getitem__)
            if (new, new) not in changes and new not in after:
                after[new] = segment.as_structure(STRUCTURES[new])
    return after


def _given_by_hand(after: Mapping[int, Segment], changes: Iterable[tuple[int, int]]) -> list[str]:
    """Names of segments with another value than before that don't say which one, as a person has chosen them."""
    renamed = {new for old, new in changes if old != new} & after.keys()
    return [after[value].name for value in sorted(renamed) if after[value].name != STRUCTURES[value].name]


def _without_voxels(before: Mapping[int, Segment], values: Iterable[int], output: Path) -> list[str]:
    """Names of a person's own segments that a file of segments had and that will not be in the written one."""
    if not output.name.lower().endswith(".seg.nrrd"):
        return []
    return [before[value].name for value in sorted(before.keys() - set(values) - set(STRUCTURES))]


def _sequence(arguments: argparse.Namespace, values: set[int]) -> tuple[int, ...]:
    """The levels of the whole column: those of the file, where the command line doesn't say otherwise."""
    from ..repair import counts_of, level_sequence

    if arguments.this:
        # Whoever says that T13 is L1 says that there is no T13, and the other way round.
        which, level = arguments.this
        values = values - {which, DISC_OFFSET + which} | {level}
    thoracic, lumbar = counts_of(values)
    thoracic = thoracic if arguments.thoracic is None else arguments.thoracic
    lumbar = lumbar if arguments.lumbar is None else arguments.lumbar
    return level_sequence(thoracic, lumbar)


def _repaired(labels: Volume, arguments: argparse.Namespace, has_sacrum: bool, sequence: tuple[int, ...]) -> Volume:
    """`labels` after what the command line asks for; `labels` itself where it asks for nothing."""
    from .. import repair
    from ..volume import Volume

    order = repair.order_of(labels)
    if arguments.split:
        return repair.split(labels, *arguments.split, sequence=sequence)
    if arguments.shift is not None:
        mapping = repair.shifted(order, arguments.shift, sequence)
    elif arguments.this:
        mapping = repair.renamed(order, *arguments.this, sequence)
    elif arguments.swap:
        repair.require(order, *arguments.swap)
        mapping = repair.swapped(*arguments.swap)
    elif arguments.merge:
        whole = [*order, *([SACRUM] if has_sacrum else [])]
        repair.require(whole, *arguments.merge)
        into, part = arguments.merge
        mapping = repair.merging([part], into)
        repair.require_neighbors(whole, into, part)
    else:
        return labels
    return Volume(repair.apply(labels.array, mapping), labels.affine)


def _changes(before: Volume, after: Volume) -> dict[tuple[int, int], int]:
    """(value in `before`, value in `after`) -> number of voxels; both hold values below 65536."""
    import numpy as np

    voxels: Counter[tuple[int, int]] = Counter()
    for old, new in zip(before.array, after.array):
        used = new != 0
        pairs, counts = np.unique(old[used].astype(np.int64) << 16 | new[used], return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist()):
            voxels[divmod(pair, 1 << 16)] += count
    return voxels


def _table(
    order: Iterable[int], volumes_ml: Mapping[int, float], changes: Iterable[tuple[int, int]]
) -> list[str]:
    """A line for each of `order`: name, value, volume, and what it was before."""
    lines = [f"{'Level':<13} {'Value':>5} {'Volume ml':>9}"]
    for value in order:
        origins = {old for old, new in changes if new == value}
        others = " and ".join(level_name(old) for old in sorted(origins - {value}))
        story = f"  {'now with' if value in origins else 'was'} {others}" if others else ""
        lines.append(f"{STRUCTURES[value].name:<13} {value:>5} {volumes_ml[value]:>9.1f}{story}")
    return lines
