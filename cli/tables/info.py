"""The facts of a trace or capture as text."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.output.console import with_style
from cli.output.phrases import name_summary, percent, plural
from cli.output.progress import duration_text, size_text
from cli.output.safe import visible
from cli.output.table import TextColumn, cell_width, lay_out
from cli.tables.source_facts import source_facts
from tracer.schema import NAME_SOURCES
from tracer.sources.abilities import ABILITIES

__all__ = ["info_lines"]

_KINDS = {"etl": "Windows event trace (.etl)", "pml": "Procmon log (.pml)", "capture": "regtrace capture",
          "dataset": "regtrace captures as one dataset", "json": "log of events (JSON)",
          "evtx": "Windows event log (.evtx)", "xml": "log of events (XML)",
          "defender-csv": "Defender's registry events (CSV)", "defender-json": "Defender's registry events (JSON)",
          "procmon-csv": "Procmon log as CSV", "procmon-xml": "Procmon log as XML"}  # fmt: skip


def info_lines(
    facts: Mapping[str, Any], width: int | None = None, *, color: bool = False, most_losses: int | None = None
) -> Iterator[str]:
    """Yield the lines for `facts` (`cli.commands.info.describe`).

    Args:
        facts: what is known.
        width: the columns of the terminal; None shortens nothing.
        color: whether titles are bold and losses stand out.
        most_losses: list so many losses only, and say so; None: all.
    """
    size = f", {size_text(facts['size'])}" if "size" in facts else ""
    yield _strong(visible(f"{facts['name']}: {_KINDS[facts['kind']]}{size}"), color)
    layouts = {"etl": _etl, "pml": _pml, "capture": _capture, "dataset": _dataset}
    sections = layouts.get(facts["kind"], _log)(facts)
    for title, columns in [*sections, _losses(facts, most_losses), _diagnostics(facts)]:
        yield ""
        yield _strong(visible(title), color)
        if columns:
            yield from _table(columns, width, color)


_SENTENCES = ("meaning", "evidence")
_Section = tuple[str, list[TextColumn]]


def _table(columns: list[TextColumn], width: int | None, color: bool) -> Iterator[str]:
    """Yield a table, indented; on a terminal the sentences of a last column are wrapped, not shortened."""
    room = None if width is None else width - 2
    *others, sentences = columns
    before = 2 + sum(2 + max(map(cell_width, [c.title, *c.cells])) for c in others)
    if room is None or sentences.title not in _SENTENCES or room - before < 30:
        yield from (f"  {line}" for line in lay_out(columns, width=room, color=color))
        return
    lines = [textwrap.wrap(visible(cell), room - before + 2) or [""] for cell in sentences.cells]
    first = replace(sentences, cells=[wrapped[0] for wrapped in lines])
    heading, *rows = lay_out([*others, first], color=color)
    yield f"  {heading}"
    for row, wrapped in zip(rows, lines, strict=True):
        yield f"  {row}"
        yield from (" " * before + more for more in wrapped[1:])


def _etl(facts: Mapping[str, Any]) -> Iterator[_Section]:
    header = facts["header"]
    clock = {"qpc": "performance counter", "system": "system time", "cycles": "processor cycles"}
    rate = f", {header['frequency']:,} Hz" if header.get("frequency") else ""
    yield (
        "header",
        _facts(
            {
                "recorded": _span(facts),
                "session": header["logger_name"],
                "written as": header["log_file_name"],
                "windows": f"build {header['build']}, version {header['version']}",
                "bits": 8 * header["pointer_size"],
                "processors": header["cpus"],
                "clock": f"{clock.get(header['clock'], header['clock'])}{rate}",
                "buffers": f"{header['buffers_written']:,} of {size_text(header['buffer_size'])}",
                "mode": header["mode"],
                "started": header["start_time"],
                "stopped": header["end_time"] or "never (the file was not finished)",
                "booted": header["boot_time"],
                "lost": f"{header['events_lost']:,} events, {header['buffers_lost']:,} buffers",
            }
        ),
    )
    yield _counts("records by header type", facts["header_types"], "record")
    names, numbers, events, counts = [], [], [], []
    for provider in facts["providers"]:
        for number, event in enumerate(provider["events"]):
            names.append((provider["name"] or provider["provider"]) if number == 0 else "")
            numbers.append(_event_number(event))
            events.append(event["name"] or "")
            counts.append(f"{event['records']:,}")
    yield (
        f"records by provider and event ({plural(len(facts['providers']), 'provider')})",
        [
            TextColumn("provider", names, shrink="middle", least=20),
            TextColumn("event", numbers),
            TextColumn("name", events, shrink="end"),
            TextColumn("records", counts, right=True),
        ],
    )


def _event_number(event: Mapping[str, Any]) -> str:
    number = f"id {event['id']}" if event["id"] is not None else f"opcode {event['opcode']}"
    return f"{number} v{event['version']}" if event["version"] else number


def _pml(facts: Mapping[str, Any]) -> Iterator[_Section]:
    yield (
        "header",
        _facts(
            {
                "recorded": _span(facts),
                **facts["header"],
                "keys": facts["keys"],
                "processes": facts["processes"],
            }
        ),
    )
    yield _counts("registry operations", facts["operations"], "operation")


def _log(facts: Mapping[str, Any]) -> Iterator[_Section]:
    yield (
        "log",
        _facts(
            {
                "recorded": _span(facts),
                "computers": ", ".join(facts["computers"]) or None,
                "paths": facts["paths"],
                "processes": facts["processes"],
            }
        ),
    )
    yield _counts("registry operations", facts["operations"], "operation")
    yield from _abilities({"facts": facts})


def _capture(facts: Mapping[str, Any]) -> Iterator[_Section]:
    totals = facts["totals"]
    spans = [(part["first_ns"], part["last_ns"]) for part in facts["parts"]]
    first, last = (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else (None, None)
    yield (
        "capture",
        _facts(
            {
                "complete": "yes" if facts["complete"] else "no: see losses",
                "recorded": _span({"first_ns": first, "last_ns": last}),
                **{name: value for name, value in totals.items() if isinstance(value, int)},
                "windows build": facts["windows_build"],
                "clock": facts["clock"],
                "control set": facts["control_set"],
                "parts": len(facts["parts"]),
                "made by": f"regtrace {facts['regtrace_version']}, format {facts['format_version']}",
            }
        ),
    )
    if isinstance(facts["settings"].get("recording"), dict):
        try:
            yield "recording", _facts(_recording(facts["settings"]["recording"]))
        except (AttributeError, KeyError, TypeError, ValueError) as wrong:
            yield f"recording: what capture.json says of it cannot be read ({wrong!r:.60})", []
    for source in facts["sources"]:
        simulated = " (simulated)" if source.get("simulated") else ""
        yield (
            f"source {source.get('source_id', '')}: {source.get('name')}{simulated}",
            _facts(
                {
                    "kind": source.get("kind"),
                    "size": size_text(source["size"]) if isinstance(source.get("size"), int) else None,
                    "sha256": source.get("sha256"),
                    "unpacked from": _wrapper(source.get("wrapper")),
                    "recorded": _span(source),
                    **source_facts(source),
                }
            ),
        )
        yield from _abilities(source)
    yield _names(totals)
    operations = totals.get("operations")
    if operations:
        most_first = sorted(operations.items(), key=lambda counted: -counted[1])
        yield _counts("operations", dict(most_first), "row")


def _abilities(source: Mapping[str, Any]) -> Iterator[_Section]:
    """Yield what the rows of a source can tell and never do."""
    counted = (source.get("facts") or {}).get("rows_by_source")
    for word, count in counted.items() if isinstance(counted, dict) else ():
        ability = ABILITIES.get(word)
        if ability is not None:
            sentences = {"tells": ability.tells, "never": "; ".join(ability.never), "mind": ability.caveat}
            yield (
                f"what {ability.name} tells ({plural(count, 'row')})",
                [TextColumn("", [*sentences]), TextColumn("meaning", [*sentences.values()], shrink="end")],
            )


def _wrapper(wrapper: Mapping[str, Any] | None) -> str | None:
    if not wrapper:
        return None
    return f"{wrapper['name']}, {size_text(wrapper['size'])}, sha256 {wrapper['sha256']}"


def _dataset(facts: Mapping[str, Any]) -> Iterator[_Section]:
    totals, captures = facts["totals"], facts["captures"]
    yield (
        "dataset",
        _facts(
            {
                "captures": len(captures),
                "complete": "yes" if facts["complete"] else "no: see losses",
                "recorded": _span(_of_all(captures)),
                **{name: value for name, value in totals.items() if isinstance(value, int)},
            }
        ),
    )
    yield (
        "captures",
        [
            TextColumn("host", [one["host"] for one in captures], shrink="middle"),
            *(
                TextColumn(
                    name, ["?" if one[name] is None else f"{one[name]:,}" for one in captures], right=True
                )
                for name in ("events", "keys", "processes")
            ),
            TextColumn(
                "build", [str(one["windows_build"] or "") for one in captures], right=True, optional=True
            ),
            TextColumn("complete", ["yes" if one["complete"] else "no" for one in captures]),
            TextColumn("first event", [_stamp(one["first_time"]) for one in captures]),
            TextColumn("last event", [_stamp(one["last_time"]) for one in captures], optional=True),
            TextColumn("path", [one["path"] for one in captures], shrink="middle", least=16),
        ],
    )
    yield _names(totals)


def _of_all(captures: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Return the first and the last time of any capture."""
    times = [one[name] for one in captures for name in ("first_time", "last_time") if one[name] is not None]
    if not times:
        return {}
    return {"first_ns": _ns(min(times)), "last_ns": _ns(max(times))}


def _ns(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _stamp(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%dT%H:%M:%S}Z"


def _names(totals: Mapping[str, Any]) -> _Section:
    """Return the text about the certainty of names."""
    names = totals.get("names") or {}
    rows = [(name, names[name]) for name in NAME_SOURCES if names.get(name)]
    total = sum(names.values())
    return (
        name_summary(names),
        [
            TextColumn("from", [name for name, _ in rows]),
            TextColumn("rows", [f"{count:,}" for _, count in rows], right=True),
            TextColumn("share", [percent(count, total) for _, count in rows], right=True),
            TextColumn("meaning", [NAME_SOURCES[name] for name, _ in rows], shrink="end"),
        ]
        if rows
        else [],
    )


def _recording(recording: Mapping[str, Any]) -> dict[str, Any]:
    """Return the text about regtrace's own recording of the capture."""
    from cli.recording.messages import ended_text, lost_text, seed_text

    arrived, seed, lost = recording["arrived"], recording["seed"] or {}, recording["lost"]
    operations = recording["operations"]
    word = recording["option_word"]
    return {
        "on": recording["host"]["name"],
        "for": duration_text(max(0, recording["ended_ns"] - recording["started_ns"]) / 1e9),
        "ended because": ended_text(recording),
        "operations": "all" if operations is None else ", ".join(operations),
        "option word": None
        if word is None
        else f"0x{word:x} ({', '.join(recording['option_word_asks_for'])})",
        "with key name": arrived["rows_with_key_name"],
        "with data": arrived["rows_with_data"],
        "with previous data": arrived["rows_with_previous_data"],
        "seed": seed_text(seed) if "named" in seed else seed.get("failed"),
        "lost": lost_text(lost["events"], lost["buffers"]) or "nothing",
    }


def _losses(facts: Mapping[str, Any], most: int | None) -> _Section:
    losses: Sequence[Mapping[str, Any]] = facts["losses"]
    if not losses:
        return "losses: none recorded", []
    title = f"losses ({len(losses):,})"
    if most is not None and len(losses) > most:
        title = f"losses (the first {most:,} of {len(losses):,}; --wide and --json list all)"
        losses = losses[:most]
    return (
        title,
        [
            *_hosts(losses),
            TextColumn("what", [str(loss["kind"]) for loss in losses]),
            TextColumn(
                "count",
                ["?" if loss["count"] is None else f"{loss['count']:,}" for loss in losses],
                right=True,
            ),
            TextColumn("after", [_loss_time(loss, "from") for loss in losses]),
            TextColumn("before", [_loss_time(loss, "to") for loss in losses]),
            TextColumn(
                "cpu", ["" if loss["cpu"] is None else str(loss["cpu"]) for loss in losses], right=True
            ),
            TextColumn("evidence", [str(loss["evidence"] or "") for loss in losses], shrink="end"),
        ],
    )


def _hosts(rows: Sequence[Mapping[str, Any]]) -> list[TextColumn]:
    """Return the column with the host or capture of each row of a dataset; none for one capture."""
    if "capture" not in rows[0]:
        return []
    several = len({(row["host"], row["capture"]) for row in rows}) > len({row["host"] for row in rows})
    name = "capture" if several else "host"
    return [TextColumn(name, [str(row[name]) for row in rows], shrink="middle")]


def _loss_time(loss: Mapping[str, Any], end: str) -> str:
    text = loss.get(f"{end}_time") or _time(loss.get(f"{end}_ns"))
    return str(text) if text else "unknown"


def _diagnostics(facts: Mapping[str, Any]) -> _Section:
    rows: Sequence[Mapping[str, Any]] = facts["diagnostics"]
    if not rows:
        return "nothing odd was met", []
    styles = {"loss": "red", "warning": "yellow"}
    return (
        "met while reading",
        [
            TextColumn(
                "severity",
                [r["severity"] for r in rows],
                styles=[styles.get(r["severity"], "") for r in rows],
            ),
            *_hosts(rows),
            TextColumn("count", [f"{r['count']:,}" for r in rows], right=True),
            TextColumn("name", [r["name"] for r in rows], optional=True),
            TextColumn("meaning", [r["meaning"] for r in rows]),
        ],
    )


def _facts(pairs: Mapping[str, Any]) -> list[TextColumn]:
    facts = {
        name.removesuffix("_ns").replace("_", " "): _plain(value, name)
        for name, value in pairs.items()
        if value not in (None, "")
    }
    return [TextColumn("", [*facts]), TextColumn("", [*facts.values()], shrink="middle", least=20)]


def _counts(title: str, counts: Mapping[str, int], noun: str) -> _Section:
    total = sum(counts.values())
    return (
        f"{title} ({plural(total, noun)})",
        [
            TextColumn("", [*counts]),
            TextColumn("", [f"{count:,}" for count in counts.values()], right=True),
            TextColumn("", [percent(count, total) for count in counts.values()], right=True),
        ]
        if counts
        else [],
    )


def _plain(value: object, name: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_ns") and isinstance(value, int):
        return _time(value) or str(value)
    return f"{value:,}" if isinstance(value, int) and "build" not in name else str(value)


def _span(facts: Mapping[str, Any]) -> str | None:
    first, last = facts.get("first_ns"), facts.get("last_ns")
    if first is None or last is None:
        return None
    return f"{_time(first)} to {_time(last)} ({duration_text((last - first) / 1e9)})"


def _time(nanoseconds: int | None) -> str | None:
    from tracer.inspect.times import time_text

    text = time_text(nanoseconds)
    return text and text[:-4] + "Z"  # microseconds, as everywhere


def _strong(text: str, color: bool) -> str:
    return with_style(text, "bold") if color else text
