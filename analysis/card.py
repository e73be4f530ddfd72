"""The summary of a capture: what a person should see first."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime

from tracer.store.manifest import STRUCTURES, Manifest

__all__ = ["card_html", "card_text", "dataset_html", "dataset_text", "facts", "printable"]

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
            said["losses"] = f"incomplete: {rows:,} {'loss' if rows == 1 else 'losses'} (see losses)"
    elif parts:
        said["losses"] = _NO_LOSS
    if closed:
        said["state"] = "closed"
    return said


def card_text(name: str, said: dict[str, str]) -> str:
    """Return the short facts as one line."""
    short = [text for about, text in said.items() if about not in _LONG and text != _NO_LOSS]
    return f"<Capture {printable(name)}: {'; '.join(short)}>"


def card_html(name: str, said: dict[str, str]) -> str:
    """Return the facts as an HTML table; names from a file cannot become markup."""
    rows = {"capture": printable(name), **said}.items()
    cells = (f"<tr><th>{html.escape(one)}</th><td>{html.escape(text)}</td></tr>" for one, text in rows)
    return f"<table>{''.join(cells)}</table>"


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
    heads = "".join(f"<th>{html.escape(title)}</th>" for title in ("host", "capture", *about))
    cells_of_rows = [
        [printable(host), printable(capture), *(own.get(one, "") for one in about)]
        for host, capture, own in captures[:_MOST_CAPTURES]
    ]
    if len(captures) > len(cells_of_rows):
        cells_of_rows.append([f"and {len(captures) - len(cells_of_rows):,} more"])
    rows = ("".join(f"<td>{html.escape(text)}</td>" for text in cells) for cells in cells_of_rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"{card_html(name, whole)}<table><tr>{heads}</tr>{body}</table>".replace(
        "<th>capture</th><td>", "<th>captures</th><td>", 1
    )


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
