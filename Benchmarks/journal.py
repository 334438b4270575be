"""Finished runs on disk, so that a bench that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from .measured import Measurement


class Journal:
    """A line for every run, under a name. Runs of another program don't count: the first line says of which it was."""

    def __init__(self, path: Path, program: str):
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if not lines or json.loads(lines[0]) != program:
            lines = [json.dumps(program)]
            path.write_text(f"{lines[0]}\n", encoding="utf-8")
        self._done = {entry["name"]: Measurement(**entry["run"]) for entry in map(json.loads, lines[1:])}

    def once(self, name: str, run: Callable[[], Measurement]) -> Measurement:
        """What is noted under the name; else the run, which is noted then."""
        if name not in self._done:
            self._done[name] = run()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"name": name, "run": asdict(self._done[name])}) + "\n")
        return self._done[name]

    def close(self) -> None:
        """The bench is complete: the next one measures anew."""
        self._path.unlink()


def fingerprint(folders: list[Path]) -> str:
    """Of all programs and cards in the folders (cards name the SHA-256 of weights)."""
    files = sorted({file for folder in folders for end in ("*.py", "card.json") for file in folder.rglob(end)})
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
