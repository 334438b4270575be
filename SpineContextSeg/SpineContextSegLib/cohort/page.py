"""The report of a cohort for people: one HTML page that holds its pictures, for the screen and for paper."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ..account import RESEARCH_ONLY
from .records import KEPT
from .rows import Row

# Pictures are shown half as wide; 30 to 60 KB each.
_PICTURE_WIDTH, _PICTURE_QUALITY = 900, 72
_CUT = " (* cut by the border of the scan)"
_STATES = {
    "done": "segmented", KEPT: "corrected, made with other options", "refused": "refused", "failed": "failed",
    "open": "not yet begun",
}  # fmt: skip

TITLE = "Spine segmentation of "

_STYLE = """
:root { color-scheme: light; --ink: #16202b; --quiet: #566472; --line: #d5dce3; --paper: #fff; --ground: #f3f5f7;
  --good: #1d6b45; --warn: #8a5a00; --warn-ground: #fff6df; --bad: #a32121; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 24px 48px; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 19px; margin: 34px 0 12px; }
h3 { font-size: 15px; margin: 0 0 6px; overflow-wrap: anywhere; }
p { margin: 6px 0; } .quiet { color: var(--quiet); } a { color: #0b5cad; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; padding: 0; list-style: none; }
.tiles li { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 10px 18px;
  min-width: 120px; }
.tiles b { display: block; font-size: 26px; line-height: 1.2; }
.good b { color: var(--good); } .warn b { color: var(--warn); } .bad b { color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; background: var(--paper); border: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; padding: 7px 12px; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { color: var(--quiet); font-weight: 600; } th, td:nth-child(2) { white-space: nowrap; }
td:first-child { width: 34%; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(500px, 1fr)); gap: 16px; }
article { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
article img { display: block; width: 100%; height: auto; border-radius: 4px; margin: 8px 0; }
.notice { background: var(--warn-ground); border-left: 4px solid #e0a100; margin: 8px 0 0; padding: 6px 10px 6px 26px; }
@media (max-width: 560px) { .cards { grid-template-columns: 1fr; } }
@media print {
  @page { margin: 14mm; }
  body { background: none; max-width: none; padding: 0; font-size: 10pt; }
  .cards { display: block; } article { margin-bottom: 10pt; }
  article, tr, .tiles li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def write_page(rows: Sequence[Row], facts: Mapping[str, str], notes: Sequence[str], path: Path, folder: Path) -> None:
    """
    Args:
        rows: of all scans, in the order to show them.
        facts: what the run was, such as "Model" -> its name.
        notes: sentences on the whole cohort.
        path: of the file to write.
        folder: where it will lie; links start there.
    """
    count = f"{len(rows)} scan{'s' * (len(rows) != 1)}"
    done, others = ([row for row in rows if row.is_done is wanted] for wanted in (True, False))
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{TITLE}{count}</title>", f"<style>{_STYLE}</style></head>", "<body>",
        f"<h1>{TITLE}{count}</h1>", f'<p class="quiet">{RESEARCH_ONLY}</p>',
        _tiles(rows), "<dl>", *(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items()),
        "</dl>", *(f"<p>{_text(note)}</p>" for note in notes),
    ]  # fmt: skip
    if others:
        parts += ["<h2>Not segmented</h2>", "<table><tr><th>Scan</th><th>State</th><th>Why</th></tr>"]
        parts += [
            f"<tr><td>{_text(row.name)}</td><td>{_STATES[row.state]}</td><td>{_text(row.message)}</td></tr>"
            for row in others
        ]
        parts += ["</table>"]
    if done:
        parts += ["<h2>Segmented</h2>", '<div class="cards">', *(_card(row, folder) for row in done), "</div>"]
    # A name may hold bytes that are no text.
    path.write_text("\n".join([*parts, "</body></html>", ""]), encoding="utf-8", errors="backslashreplace")


def _tiles(rows: Sequence[Row]) -> str:
    states = Counter(row.state for row in rows)
    kinds = {"done": "good", KEPT: "warn", "refused": "bad", "failed": "bad", "open": "warn"}
    tiles = [(kinds[s], states[s], words) for s, words in _STATES.items() if states[s] or s == "done"]
    with_warnings = sum(bool(row.warnings) for row in rows)
    uncertain = sum(row.certain is False for row in rows)
    tiles += [("warn", with_warnings, "with warnings")] * bool(with_warnings)
    tiles += [("warn", uncertain, "levels uncertain")] * bool(uncertain)
    items = (f'<li class="{kind}"><b>{number}</b>{words}</li>' for kind, number, words in tiles)
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _card(row: Row, folder: Path) -> str:
    parts = [f"<article><h3>{_text(row.name)}</h3>"]
    files = {"segmentation": row.segmentation, "details": row.place.record}
    if row.place.preview.is_file():
        files = {"picture": row.place.preview} | files
        source = _picture(row.place.preview)
        if source:
            link = _link(row.place.preview, folder)
            parts.append(f'<a href="{link}"><img src="{source}" alt="Preview of {_text(row.name)}"></a>')
    seconds = row.record["seconds_total"]
    confidence = f", confidence {row.confidence:.0%}" if row.confidence is not None else ""
    facts = {
        "Levels": row.levels + _CUT * ("*" in row.levels) + confidence,
        "Volumes, ml": ", ".join(row.volumes) or "no spine",
        "Model": f"{row.record['model']}, {seconds:.1f} s" + (", in an earlier run" if row.earlier else ""),
    }
    parts += ["<dl>", *(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())]
    links = ", ".join(f'<a href="{_link(path, folder)}">{name}</a>' for name, path in files.items())
    parts.append(f"<dt>Files</dt><dd>{links}</dd></dl>")
    warnings = [*row.warnings, *filter(None, [row.message])]
    if warnings:
        parts.append(f'<ul class="notice">{"".join(f"<li>{_text(text)}</li>" for text in warnings)}</ul>')
    return "\n".join([*parts, "</article>"])


def _picture(path: Path) -> str | None:
    """A smaller picture as the content of a link; None where the file is no picture."""
    try:
        with Image.open(path) as picture:
            height = round(picture.height * _PICTURE_WIDTH / picture.width)
            small = picture.convert("RGB").resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError):
        return None
    data = io.BytesIO()
    small.save(data, "JPEG", quality=_PICTURE_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def _link(path: Path, folder: Path) -> str:
    try:
        return quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))
    except ValueError:  # on another drive
        return escape(path.as_uri())


def _text(text: str) -> str:
    return escape(text, quote=True)
