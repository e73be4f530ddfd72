"""The first part of a report: what the capture is, where its names are from, what was lost, and what its sources never say."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.card import facts
from analysis.report.grids import Column, Grid, made_grid
from analysis.report.source import Source
from tracer.schema import NAME_SOURCES
from tracer.sources.abilities import ABILITIES

__all__ = ["about_capture", "losses_grid", "names_grid", "sources_grid", "sources_sentences"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_LOSSES = 200


def about_capture(capture: Source) -> list[tuple[str, str]]:
    """Return the facts that stand at the top: subject and text."""
    said = facts(capture.manifest)
    order = ("host", "time", "span", "events", "keys", "processes", "names", "losses", "origin", "reads")
    shown = [(name, said[name].removesuffix(f" {name}")) for name in order if name in said]
    return [("capture", capture.path.name), *shown]


def sources_grid(manifest: Mapping[str, Any]) -> Grid:
    """Return the files that the capture was made of, with what proves that they are the same: size and SHA-256."""
    columns = [
        Column("host", "text", "host"),
        Column("file", "code", "name"),
        Column("kind", "text", "kind"),
        Column("bytes", "number", "size"),
        Column("SHA-256", "code", "sha256"),
        Column("first event", "time", lambda row: _moment(row["first_ns"])),
        Column("last event", "time", lambda row: _moment(row["last_ns"])),
    ]
    rows = [
        {name: source.get(name) for name in ("host", "name", "kind", "size", "sha256", "first_ns", "last_ns")}
        for source in manifest["sources"]
    ]
    return made_grid("sources", rows, columns, title="Sources")


def names_grid(manifest: Mapping[str, Any]) -> Grid:
    """Return of how many rows the key's name is known, and by what."""
    counts = manifest["totals"].get("names") or {}
    total = sum(counts.values())
    rows = [
        {"from": name, "rows": count, "share": f"{100 * count / total:.1f} %" if count * 1000 >= total else "<0.1 %"}
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]  # fmt: skip
    columns = [
        Column("name from", "text", "from"),
        Column("rows", "number", "rows"),
        Column("share", "text", "share"),
        Column("meaning", "text", lambda row: NAME_SOURCES.get(row["from"])),
    ]
    return made_grid("names", rows, columns, title="Where the names of keys are from")


def losses_grid(info: Mapping[str, Any]) -> Grid:
    """Return what was lost and the times when names were not known, oldest first."""
    columns = [
        Column("host", "text", lambda row: row.get("host")),
        Column("what", "text", "kind"),
        Column("how many", "number", "count"),
        Column("from", "time", lambda row: _moment(row["from_ns"])),
        Column("to", "time", lambda row: _moment(row["to_ns"])),
        Column("how it is known", "text", "evidence"),
    ]
    rows: Sequence[Mapping[str, Any]] = info["losses"]
    return made_grid(
        "losses", rows, columns, title="Losses and blind times", empty="None is recorded."
    ).cut(_MOST_LOSSES)  # fmt: skip


def sources_sentences(capture: Source) -> list[str]:
    """Return what the sources of the capture never say, a sentence each."""
    found = {word for _, manifest in capture.context.stores for word in manifest.row_sources}
    return [
        f"{ability.name[0].upper()}{ability.name[1:]} never tells {'; '.join(ability.never)}. Note: {ability.caveat}."
        for word, ability in ABILITIES.items()
        if word in found
    ]


def _moment(nanoseconds: int | None) -> str | None:
    if nanoseconds is None:
        return None
    try:
        moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # a damaged clock
        return f"{nanoseconds} ns"
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
