"""What the command line left behind, for tests."""

from __future__ import annotations


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(capsys, code):
    """The one line that a refusal prints."""
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("spinecontextseg: ")
    return lines[0]
