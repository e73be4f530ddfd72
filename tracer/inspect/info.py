"""Facts about a trace file: what its header says, what is in it, what is missing; in bounded memory."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tracer.decode.layouts import find_layout
from tracer.diagnostics import Diagnostics
from tracer.etl.headers import header_name
from tracer.etl.logfile import LogfileHeader
from tracer.etl.losses import Loss
from tracer.etl.providers import PROVIDER_NAMES
from tracer.etl.reader import EtlReader
from tracer.etl.records import Records
from tracer.inspect.times import time_text

__all__ = ["describe_etl", "header_facts"]

_Key = tuple[int, int, int, int, int]  # header type, provider, id (-1 classic), opcode, version


def describe_etl(path: Path) -> dict[str, Any]:
    """Return what a .etl file holds, ready for JSON.

    Keys: `kind`, `name`, `size` (bytes), `header` (see `header_facts`), `records` (count), `first_ns`,
    `last_ns`, `first_time`, `last_time` (None in an empty trace), `header_types` (name -> count),
    `providers` (most frequent first: provider, name or None, records, events), `losses`, `diagnostics`
    (rows as in the tables of a capture).

    Raises:
        SourceError: the file is no .etl file.
    """
    found = Diagnostics()
    counts: Counter[_Key] = Counter()
    first_ns: int | None = None
    last_ns: int | None = None
    with EtlReader([path], [found]) as reader:
        for records in reader:
            _count(records, counts)
            earliest, latest = int(records.time_ns.min()), int(records.time_ns.max())
            first_ns = earliest if first_ns is None else min(first_ns, earliest)
            last_ns = latest if last_ns is None else max(last_ns, latest)
        header, names, losses = (
            reader.headers[0],
            list(reader.providers),
            [*reader.losses, *reader.set_backs()],
        )
        if not _holds_operations(counts, names):
            found.count("no_registry_events")
        oddities = [row for number, each in enumerate(reader.diagnostics) for row in each.rows(number)]
    kinds: Counter[int] = Counter()
    for (kind, *_), count in counts.items():
        kinds[kind] += count
    return {
        "kind": "etl",
        "name": path.name,
        "size": path.stat().st_size,
        "header": header_facts(header),
        "records": counts.total(),
        "first_ns": first_ns,
        "last_ns": last_ns,
        "first_time": time_text(first_ns),
        "last_time": time_text(last_ns),
        "header_types": {header_name(kind): kinds[kind] for kind in sorted(kinds)},
        "providers": _providers(counts, names),
        "losses": [_loss(loss) for loss in losses],
        "diagnostics": oddities,
    }


def header_facts(header: LogfileHeader) -> dict[str, Any]:
    """Return a log file header as a dict ready for JSON; times as text, None where the file has none."""
    return {
        "build": header.build,
        "version": ".".join(map(str, header.version)),
        "pointer_size": header.pointer_size,
        "buffer_size": header.buffer_size,
        "buffers_written": header.buffers_written,
        "cpus": header.cpus,
        "clock": header.clock,
        "frequency": header.frequency,
        "mode": f"0x{header.mode:08x}",
        "start_time": time_text(header.start_ns),
        "end_time": time_text(header.end_ns),
        "boot_time": time_text(header.boot_ns),
        "events_lost": header.events_lost,
        "buffers_lost": header.buffers_lost,
        "logger_name": header.logger_name,
        "log_file_name": header.log_file_name,
    }


def _count(records: Records, counts: Counter[_Key]) -> None:
    """Add a batch: rows are told apart by two packed numbers, because one would not hold all facts."""
    event = (
        (records.id.astype(np.int64) + 1) << 32
        | records.kind.astype(np.int64) << 24
        | (records.opcode.astype(np.int64) & 0xFF) << 16
        | records.version.astype(np.int64) & 0xFFFF
    )
    events, number = np.unique(event, return_inverse=True)
    pairs, times = np.unique(records.provider.astype(np.int64) * len(events) + number, return_counts=True)
    for pair, count in zip(pairs.tolist(), times.tolist(), strict=True):
        provider, which = divmod(pair, len(events))
        packed = int(events[which])
        key = (packed >> 24 & 0xFF, provider, (packed >> 32) - 1, packed >> 16 & 0xFF, packed & 0xFFFF)
        counts[key] += count


def _holds_operations(counts: Counter[_Key], names: list[str]) -> bool:
    """Tell whether any record is a registry operation."""
    layouts = (
        find_layout(names[provider], opcode if id_ < 0 else id_, version)[0]
        for _, provider, id_, opcode, version in counts
    )
    return any(layout is not None and layout.operation is not None for layout in layouts)


def _providers(counts: Counter[_Key], names: list[str]) -> list[dict[str, Any]]:
    """Return the providers, most frequent first, each with its events in the order of their numbers."""
    events: dict[int, Counter[tuple[int, int, int]]] = {}
    for (_, provider, id_, opcode, version), count in counts.items():
        events.setdefault(provider, Counter())[id_, opcode, version] += count
    rows: list[dict[str, Any]] = []
    for provider, mine in events.items():
        guid = names[provider]
        listed = []
        for (id_, opcode, version), count in sorted(mine.items()):
            layout, _ = find_layout(guid, opcode if id_ < 0 else id_, version)
            listed.append(
                {
                    "id": None if id_ < 0 else id_,
                    "opcode": opcode,
                    "version": version,
                    "name": layout.name if layout else None,
                    "records": count,
                }
            )
        rows.append(
            {
                "provider": guid,
                "name": PROVIDER_NAMES.get(guid),
                "records": mine.total(),
                "events": listed,
            }
        )
    return sorted(rows, key=lambda row: (-row["records"], row["provider"]))


def _loss(loss: Loss) -> dict[str, Any]:
    return {
        "kind": loss.kind,
        "count": loss.count,
        "from_time": time_text(loss.from_ns),
        "to_time": time_text(loss.to_ns),
        "cpu": loss.cpu,
        "evidence": loss.evidence,
    }
