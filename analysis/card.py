"""The summary of a capture: what a person should see first."""

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from tracer.registry.text import plural
from tracer.store.manifest import STRUCTURES, Manifest

__all__ = ["card_html", "card_text", "dataset_html", "dataset_text", "facts", "printable"]

_CARD = (  # colours that are half transparent fit light and dark notebooks
    "display:inline-block;max-width:100%;padding:.8em 1.1em;border:1px solid rgba(128,128,128,.4);border-radius:8px;"
    "line-height:1.35"
)
_BADGE = (
    "margin-left:.7em;padding:.1em .6em;border-radius:1em;font-size:.9em;background:rgba(230,159,0,.25);"
    "border:1px solid rgba(230,159,0,.6)"
)
_LEFT = "text-align:left;padding:.1em .8em .1em 0;vertical-align:top"
_BADGES = ("origin", "losses", "reads", "state")
_FIGURES = ("events", "keys", "processes", "span")
_MOST_BARS = 8
_STEPS = (
    ("when", "capture.plot.activity()"),
    ("what is busy", "capture.hot(limit=20)"),
    ("what changed", "capture.changes()"),
    ("what failed", "capture.errors(limit=20)"),
    ("who touched a key", 'capture.who(r"HKLM\\SOFTWARE\\...", subtree=True)'),
    ("every operation", "capture.timeline(limit=100)"),
)
_REOPEN = (("to ask again", "capture = rt.open(capture.path)"),)
_LONG = ("span", "host", "names")
_NO_LOSS = "none recorded"
_MOST_CAPTURES = 50  # of a dataset that are listed


def facts(manifest: Manifest, *, closed: bool = False) -> dict[str, str]:
    """Return the most important facts by subject, without unknown ones."""
    totals, parts = manifest.totals, manifest.parts
    said = {
        name: f"{totals[name]:,} {name}"
        for name in ("events", "keys", "processes")
        if type(totals.get(name)) is int
    }
    if "keys" in said:
        said["keys"] += " by name"  # spellings are counted one by one, and keys that only stand above others
    if parts:
        first, last = min(part["first_ns"] for part in parts), max(part["last_ns"] for part in parts)
        said["time"] = f"{_moment(first)} to {_moment(last)}"
        said["span"] = _length(last - first)
    if host := _host(manifest):
        said["host"] = host
    names = [printable(str(source.get("name"))) for source in manifest.sources]
    if names:
        said["sources"] = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if by_source := _names(manifest):
        said["names"] = by_source
    if manifest.data_of_reads == STRUCTURES:
        said["reads"] = (
            "made by an older version: what values held when they were read is unknown; ingest the source again"
        )
    if any(source.get("simulated") for source in manifest.sources):
        said["origin"] = "simulated"
    if not manifest.complete:
        said["losses"] = "incomplete: something was lost (see losses)"
        rows = manifest.tables.get("losses", {}).get("rows")
        if type(rows) is int and rows:
            said["losses"] = f"incomplete: {plural(rows, 'loss')} (see losses)"
    elif parts:
        said["losses"] = _NO_LOSS
    if closed:
        said["state"] = "closed"
    return said


def card_text(name: str, said: dict[str, str]) -> str:
    """Return the short facts as one line."""
    short = [text for about, text in said.items() if about not in _LONG and text != _NO_LOSS]
    return f"<Capture {printable(name)}: {'; '.join(short)}>"


def card_html(name: str, said: Mapping[str, str], operations: Mapping[str, int] | None = None) -> str:
    """Return the facts as HTML for a notebook, light or dark; names from a file cannot become markup.

    Args:
        name: path of the capture.
        said: the facts, as `facts` returns them.
        operations: how many rows each operation has; None where that is unknown.
    """
    path = printable(name)
    badges = [said[about] for about in _BADGES if about in said and said[about] != _NO_LOSS]
    short = path.replace("\\", "/").rpartition("/")[2] or path
    head = f'<span style="font-size:1.2em;font-weight:600">{html.escape(short)}</span>' + "".join(
        f'<span style="{_BADGE}">{html.escape(text)}</span>' for text in badges
    )
    figures = "".join(
        f'<span style="display:inline-block;margin:.5em 2em .2em 0"><span style="font-size:1.5em">{html.escape(number)}</span> '
        f'<span style="opacity:.7">{html.escape(unit)}</span></span>'
        for number, _, unit in (said[about].partition(" ") for about in _FIGURES if about in said)
    )
    shown = (*_FIGURES, "origin", "state")
    columns = [
        _table((about, text) for about, text in {"capture": path, **said}.items() if about not in shown),
        _bars(operations or {}),
        _steps(said),
    ]
    body = "".join(f'<div style="margin-right:2.5em">{column}</div>' for column in columns if column)
    return (
        f'<div style="{_CARD}"><div>{head}</div><div>{figures}</div>'
        f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{body}</div></div>'
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """Return two columns of text as a table."""
    cells = (
        f'<tr><th style="{_LEFT};opacity:.7;font-weight:normal;white-space:nowrap">{html.escape(one)}</th>'
        f'<td style="{_LEFT}">{html.escape(text)}</td></tr>'
        for one, text in rows
    )
    return f'<table style="margin:.4em 0">{"".join(cells)}</table>'


def _bars(operations: Mapping[str, int]) -> str:
    """Return a bar for each of the most frequent operations, and one for the others; "" where there are none."""
    ordered = sorted(
        ((name, count) for name, count in operations.items() if type(count) is int and count > 0),
        key=lambda item: (-item[1], item[0]),
    )
    if not ordered:
        return ""
    shown = ordered[:_MOST_BARS]
    if rest := ordered[_MOST_BARS:]:
        kinds = f"{len(rest)} other kind{'' if len(rest) == 1 else 's'}"
        shown.append((kinds, sum(count for _, count in rest)))
    largest = max(count for _, count in shown)
    lines = (
        f'<tr><td style="{_LEFT};white-space:nowrap">{html.escape(printable(name))}</td>'
        f'<td style="text-align:right;padding:.1em .8em .1em 0">{count:,}</td>'
        f'<td style="padding:.1em 0"><div style="width:{max(10 * count / largest, 0.1):.1f}em;height:.75em;'
        'border-radius:2px;background:#4c9bd6"></div></td></tr>'
        for name, count in shown
    )
    return f'<table style="margin:.4em 0">{"".join(lines)}</table>'


def _steps(said: Mapping[str, str]) -> str:
    """Return what to ask next, as lines of code to copy; of a capture that is closed, how to open it."""
    steps: tuple[tuple[str, str], ...] = _REOPEN if "state" in said else _STEPS
    if "losses" in said and said["losses"] != _NO_LOSS and steps is _STEPS:
        steps = (*steps[:1], ("what was lost", 'capture.info()["losses"]'), *steps[1:])
    lines = (
        f'<tr><td style="{_LEFT};opacity:.7;white-space:nowrap">{about}</td>'
        f'<td style="{_LEFT}"><code>{html.escape(code)}</code></td></tr>'
        for about, code in steps
    )
    return f'<table style="margin:.4em 0">{"".join(lines)}</table>'


def dataset_text(name: str, hosts: Sequence[str], said: dict[str, str]) -> str:
    """Return the facts of several captures as one line."""
    short = [said[about] for about in ("events", "time", "losses", "state") if about in said]
    words = "; ".join([_few(hosts, "host"), *(text for text in short if text != _NO_LOSS)])
    return f"<Dataset {printable(name)}: {words}>"


def dataset_html(
    name: str, hosts: Sequence[str], said: dict[str, str], captures: Sequence[tuple[str, str, dict[str, str]]]
) -> str:
    """Return the facts of several captures as a table, and below it one row for each capture."""
    left_out = ("host", "names")
    whole = {"hosts": _few(hosts, "host"), **{k: text for k, text in said.items() if k not in left_out}}
    about = [
        one for one in ("events", "keys", "time", "span", "losses") if any(one in c for *_, c in captures)
    ]
    heads = "".join(f'<th style="{_LEFT}">{html.escape(title)}</th>' for title in ("host", "capture", *about))
    cells_of_rows = [
        [printable(host), printable(capture), *(own.get(one, "") for one in about)]
        for host, capture, own in captures[:_MOST_CAPTURES]
    ]
    if len(captures) > len(cells_of_rows):
        cells_of_rows.append([f"and {len(captures) - len(cells_of_rows):,} more"])
    cell = f'<td style="{_LEFT}">'
    rows = ("".join(f"{cell}{html.escape(text)}</td>" for text in cells) for cells in cells_of_rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    facts_of_all = _table({"captures": printable(name), **whole}.items())
    return f'<div style="{_CARD}">{facts_of_all}<table><tr>{heads}</tr>{body}</table></div>'


def printable(text: str) -> str:
    r"""Return `text` with control characters escaped, such as \x1b or \u202e."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _few(names: Sequence[str], noun: str) -> str:
    """Return the number of names, and the first few names."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names):,} {noun}{plural}: {', '.join(printable(name) for name in names[:3])}{more}"


def _host(manifest: Manifest) -> str:
    """Return the name, system and hardware of the traced machine; "" where all are unknown."""
    recording = manifest.settings.get("recording")
    host = recording.get("host") if isinstance(recording, dict) else None
    facts_of_host = host if isinstance(host, dict) else {}
    parts = [
        printable(str(facts_of_host[name]))
        for name in ("name", "system", "machine")
        if facts_of_host.get(name)
    ]
    if manifest.windows_build is not None and not facts_of_host.get("system"):
        parts.append(f"Windows build {manifest.windows_build}")
    processors = {
        source["facts"].get("cpus") for source in manifest.sources if isinstance(source.get("facts"), dict)
    }
    numbers = [number for number in processors if type(number) is int]
    if numbers:
        parts.append(f"{max(numbers)} processor{'' if max(numbers) == 1 else 's'}")
    return ", ".join(parts)


def _names(manifest: Manifest) -> str:
    """Return the share of rows by source of the key name, largest first; "" where unknown."""
    names = manifest.totals.get("names")
    if not isinstance(names, dict):
        return ""
    rows = {name: count for name, count in names.items() if type(count) is int and count > 0}
    total = sum(rows.values())
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{printable(name)} {count:,} ({100 * count / total:.1f} %)" for name, count in ordered)


def _length(nanoseconds: int) -> str:
    """Return the length of a capture in common units."""
    seconds = nanoseconds / 1_000_000_000
    if seconds < 120:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _moment(nanoseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):  # a damaged clock: a year that the calendar does not have
        return f"{nanoseconds} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03}Z"
