"""The graph of a chain of causes: a picture (SVG) or a page (HTML) that needs no network, and in which nothing acts.

Names and data were written by strangers: whatever is drawn is made printable and escaped, and the page's own policy lets
nothing be loaded and no script run.
"""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.card import printable

__all__ = ["graph_page", "graph_svg"]

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 270, 62, 60, 16, 24  # of a box, and between boxes; pixels
_LETTERS = 36  # of a line in a box
_LONGEST = 2_000  # letters of data in a list
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --line: #aab2bc; --ground: #ffffff; --panel: #f5f7f9;
  --cause: #0b66c3; --effect: #a8500a; --itself: #2f7d32; --who: #6b4fa0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b0; --line: #55606c; --ground: #14181d;
  --panel: #1d232a; --cause: #6cb6ff; --effect: #f0a35e; --itself: #7fc983; --who: #b9a3e3; } }
body { margin: 0; padding: 1rem 1.25rem 3rem; font: 14px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--ground); }
h1 { font-size: 1.25rem; margin: 0 0 .35rem; overflow-wrap: anywhere; }
.note { color: var(--soft); max-width: 110ch; }
.frame { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; }
table { border-collapse: collapse; font-size: 13px; }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem; border-top: 1px solid var(--line); overflow-wrap: break-word; }
td { max-width: 26rem; }
svg { display: block; font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; background: var(--ground); }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .name { font-weight: 600; }
svg rect { fill: var(--panel); stroke-width: 1.5; } svg path { fill: none; stroke: var(--line); stroke-width: 1.5; }
svg .cause { stroke: var(--cause); } svg .effect { stroke: var(--effect); }
svg .itself { stroke: var(--itself); stroke-width: 3; } svg .who { stroke: var(--who); }
"""
_Row = Mapping[str, Any]


def graph_svg(rows: Sequence[_Row], *, title: str) -> str:
    """Return the picture: causes to the left of the write that is asked about, effects to its right, its writer above it.

    Args:
        rows: the rows of one chain (`analysis.questions.why.WhyQuery.to_arrow`), as Python values.
        title: what the picture is called.
    """
    drawing, width, height = _drawing(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{_said(title)}</title><style>{_STYLE}</style>{drawing}</svg>\n"
    )


def graph_page(rows: Sequence[_Row], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return the page: the picture, and each link with its rules and its evidence.

    Args:
        rows: as of `graph_svg`.
        title: the title.
        notes: sentences below it.
    """
    policy = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    drawing, width, height = _drawing(rows)
    said = "".join(f'<p class="note">{_said(note)}</p>' for note in notes)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{policy}'\">"
        f"<title>{_said(title)}</title><style>{_STYLE}</style></head><body><h1>{_said(title)}</h1>{said}"
        f'<div class="frame"><svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="the chain of causes">{drawing}</svg></div>{_table(rows)}</body></html>\n'
    )


def _drawing(rows: Sequence[_Row]) -> tuple[str, int, int]:
    """Return the boxes and lines, and the size of the drawing."""
    if not rows:
        return (
            f'<text x="{_MARGIN}" y="{2 * _MARGIN}">no write is known</text>',
            _WIDTH + 2 * _MARGIN,
            3 * _MARGIN,
        )
    by_number = {row["link"]: row for row in rows}
    columns = {number: _column(row, by_number) for number, row in by_number.items()}
    places = _places(rows, columns)
    left = min(columns.values())
    corners = {
        number: (
            _MARGIN + (columns[number] - left) * (_WIDTH + _ACROSS),
            _MARGIN + round(place * (_HEIGHT + _DOWN)),
        )
        for number, place in places.items()
    }
    lines = [
        _line(corners[row["of"]], corners[number], row)
        for number, row in by_number.items()
        if row["of"] is not None
    ]
    boxes = [_box(corners[number], row) for number, row in by_number.items()]
    width = max(x for x, _ in corners.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in corners.values()) + _HEIGHT + _MARGIN
    return "".join((*lines, *boxes)), width, height


def _column(row: _Row, by_number: Mapping[int, _Row]) -> int:
    """Return how many links a row is to the right of the write; causes are to its left."""
    sign = {"cause": -1, "effect": 1}.get(row["direction"], 0)
    column = 0
    while row["of"] is not None:
        row = by_number[row["of"]]
        column += sign
    return column


def _places(rows: Sequence[_Row], columns: Mapping[int, int]) -> dict[int, float]:
    """Return how far down each row stands, in boxes: the leaves of a side below each other, the rest beside its leaves."""
    below: dict[int, list[int]] = {}
    for row in rows:
        if row["of"] is not None and columns[row["link"]]:
            below.setdefault(row["of"], []).append(row["link"])
    who = [row["link"] for row in rows if not columns[row["link"]] and row["of"] is not None]
    root = rows[0]["link"]
    places: dict[int, float] = {}
    for sign in (-1, 1):
        free = 0
        tops = [number for number in below.get(root, []) if columns[number] == sign]
        order: list[int] = []
        stack = tops[::-1]
        while stack:
            number = stack.pop()
            order.append(number)
            stack += below.get(number, [])[::-1]
        for number in order:
            if number not in below:
                places[number] = free
                free += 1
        for number in reversed(order):
            if number in below:
                own = [places[one] for one in below[number]]
                places[number] = (own[0] + own[-1]) / 2
    # The writer stands above the write, its parents above it.
    lowest = max(places.values(), default=0.0)
    places[root] = max(lowest / 2, float(len(who)))
    for place, number in enumerate(who, 1):
        places[number] = places[root] - place
    return places


def _line(start: tuple[int, int], end: tuple[int, int], row: _Row) -> str:
    (x, y), (u, v) = start, end
    if row["direction"] == "who":
        middle = x + _WIDTH // 2
        return f'<path class="who" d="M{middle} {y}L{middle} {v + _HEIGHT}"/>'
    right = u > x
    x, u = (x + _WIDTH, u) if right else (x, u + _WIDTH)
    y, v = y + _HEIGHT // 2, v + _HEIGHT // 2
    half = (x + u) // 2
    said = f'<text class="soft" x="{half}" y="{(y + v) // 2 - 3}" text-anchor="middle">{int(row["weight"] or 0)}</text>'
    return f'<path class="{_word(row)}" d="M{x} {y}C{half} {y} {half} {v} {u} {v}"/>{said}'


def _box(corner: tuple[int, int], row: _Row) -> str:
    x, y = corner
    lines = [("name", _head(row)), ("", _subject(row)), ("soft", _content(row))]
    texts = "".join(
        f'<text class="{style}" x="{x + 8}" y="{y + 18 + 18 * place}">{_said(_short(text))}</text>'
        for place, (style, text) in enumerate(lines)
        if text
    )
    told = "\n".join(
        filter(
            None,
            (
                _head(row),
                row["display_key"],
                _content(row),
                row["rules"],
                row["evidence"],
                row["command_line"],
            ),
        )
    )
    return (
        f'<g><title>{_said(_short(told, _LONGEST))}</title><rect class="{_word(row)}" x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="6"/>{texts}</g>'
    )


def _word(row: _Row) -> str:
    return row["direction"] if row["direction"] in ("cause", "effect", "itself", "who") else "who"


def _head(row: _Row) -> str:
    who = f"{row['process'] or '?'} ({'?' if row['pid'] is None else row['pid']})"
    times = f" {row['times']:,} times" if row["times"] and row["times"] > 1 else ""
    verb = {"write": "wrote", "delete": "deleted", "read": "read", "missing": "missed"}.get(row["what"], "")
    return f"{who} {verb}{times}".strip()


def _subject(row: _Row) -> str:
    if row["what"] == "process":
        return row["command_line"] or "command line unknown"
    key = row["display_key"] or "(no key)"
    name = "" if row["value_name"] is None else row["value_name"] or "(default)"
    room = max(_LETTERS - len(name) - 3, 12)
    return f"{key if len(key) <= room else '…' + key[1 - room :]} : {name}" if name else key


def _content(row: _Row) -> str:
    return (
        ""
        if row["what"] != "write" and row["what"] != "read"
        else f"= {'?' if row['data_text'] is None else row['data_text']}"
    )


def _table(rows: Sequence[_Row]) -> str:
    head = "".join(
        f"<th>{name}</th>"
        for name in ("link", "of", "what", "key and value", "data", "weight", "rules", "evidence")
    )
    body = []
    for row in rows:
        name = "" if row["value_name"] is None else row["value_name"] or "(default)"
        cells = (
            str(row["link"]), "" if row["of"] is None else str(row["of"]), _head(row),
            row["command_line"] or "" if row["what"] == "process" else f"{row['display_key'] or '(no key)'} : {name}",
            _short(_content(row), _LONGEST), "" if row["weight"] is None else str(row["weight"]), row["rules"] or "",
            row["evidence"] or "",
        )  # fmt: skip
        body.append("<tr>" + "".join(f"<td>{_said(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _short(text: str, most: int = _LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _said(text: str) -> str:
    return html.escape("\n".join(printable(line) for line in text.split("\n")))
