"""A capture in a few words: what a person should see first."""

import html
from datetime import UTC, datetime

from tracer.store.manifest import Manifest

__all__ = ["card_html", "card_text", "facts", "printable"]


def facts(manifest: Manifest, *, closed: bool = False) -> dict[str, str]:
    """Return the facts that matter most, by what they are about; what is unknown is left out."""
    totals, parts = manifest.totals, manifest.parts
    said = {
        name: f"{totals[name]:,} {name}"
        for name in ("events", "keys", "processes")
        if type(totals.get(name)) is int
    }
    if parts:
        first, last = min(part["first_ns"] for part in parts), max(part["last_ns"] for part in parts)
        said["time"] = f"{_moment(first)} to {_moment(last)}"
    names = [printable(str(source.get("name"))) for source in manifest.sources]
    if names:
        said["sources"] = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if any(source.get("simulated") for source in manifest.sources):
        said["origin"] = "simulated"
    if not manifest.complete:
        said["losses"] = "incomplete: something was lost (see losses)"
    if closed:
        said["state"] = "closed"
    return said


def card_text(name: str, said: dict[str, str]) -> str:
    """Return the facts as one line."""
    return f"<Capture {printable(name)}: {'; '.join(said.values())}>"


def card_html(name: str, said: dict[str, str]) -> str:
    """Return the facts as a table; names of strangers' files cannot become markup."""
    rows = {"capture": printable(name), **said}.items()
    cells = (f"<tr><th>{html.escape(one)}</th><td>{html.escape(text)}</td></tr>" for one, text in rows)
    return f"<table>{''.join(cells)}</table>"


def printable(text: str) -> str:
    r"""Return `text` with everything a terminal must not see written as \x1b or \u202e."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _moment(nanoseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):  # a damaged clock: a year that the calendar does not have
        return f"{nanoseconds} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03}Z"
