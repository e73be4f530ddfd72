"""What docs/schema.md says of the columns of a capture, and of their NULLs above all, as plain rules over its rows."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tracer.diagnostics import COUNTERS
from tracer.registry.operations import BY_NAME
from tracer.registry.text import fold_name
from tracer.schema import FLAGS, NAME_SOURCES
from tracer.store.manifest import Manifest

__all__ = ["EVENT_RULES", "broken_rules"]

Row = dict[str, Any]

_OPENS = ("OpenKey", "CreateKey")
_VALUE_READS = ("QueryValueKey", "EnumerateValueKey")
_VALUES = (*_VALUE_READS, "SetValueKey", "DeleteValueKey")
_CLASSES = ("QueryKey", "QueryValueKey", "EnumerateKey", "EnumerateValueKey", "SetInformationKey")
_PREVIOUS = ("previous_type", "previous_size", "previous_data")


def _null_unless(column: str, operations: Iterable[str]) -> Callable[[Row], bool]:
    allowed = frozenset(operations)
    return lambda row: row[column] is None or row["operation"] in allowed


def _is_object(text: str | None) -> bool:
    if text is None:
        return True
    facts = json.loads(text)
    return isinstance(facts, dict) and bool(facts)


def _is_cut(data: bytes | None, size: int | None) -> bool:
    return data is not None and size is not None and len(data) < size


# name: what has to hold of every row of `events`. (column, the sentence of the page in short)
EVENT_RULES: dict[str, Callable[[Row], bool]] = {
    "time is time_ns in microseconds": lambda r: _microseconds(r) == r["time_ns"] // 1000,
    "notify_class is the operation's, NULL without a class": lambda r: (
        r["notify_class"] == BY_NAME[r["operation"]].notify_class
    ),
    "phase is pre for CloseKey, post, or NULL without a class": lambda r: (
        r["phase"]
        == (None if r["notify_class"] is None else "pre" if r["operation"] == "CloseKey" else "post")
    ),
    "status is NULL for the CloseKey of ETW": lambda r: (
        r["status"] is None or r["operation"] != "CloseKey" or "Kernel-Registry" not in r["source"]
    ),
    "requested_name: open, create, rename": _null_unless("requested_name", (*_OPENS, "RenameKey")),
    "value_name: operations on a value": _null_unless("value_name", _VALUES),
    "disposition: 1 or 2, and NULL unless a create succeeded": lambda r: (
        r["disposition"] is None
        or (r["operation"] == "CreateKey" and r["status"] == 0 and r["disposition"] in (1, 2))
    ),
    "information_class: asked for or set": _null_unless("information_class", _CLASSES),
    "index: enumerations": _null_unless("index", ("EnumerateKey", "EnumerateValueKey")),
    "entry_count: QueryMultipleValueKey": _null_unless("entry_count", ("QueryMultipleValueKey",)),
    "data_type: a value read or written": _null_unless("data_type", (*_VALUE_READS, "SetValueKey")),
    "data_size: a value read or written": _null_unless("data_size", (*_VALUE_READS, "SetValueKey")),
    "data: a value read or written": _null_unless("data", (*_VALUE_READS, "SetValueKey")),
    "data is never empty": lambda r: r["data"] is None or len(r["data"]) > 0,
    "data_size is the full size": lambda r: (
        r["data"] is None
        or (r["data_size"] is None and r["data_type"] is None and _has_text_of_a_log(r))
        or (r["data_size"] is not None and len(r["data"]) <= r["data_size"])
    ),
    "data_truncated where fewer bytes were captured than the value holds": lambda r: (
        bool(r["flags"] & FLAGS["data_truncated"]) == _is_cut(r["data"], r["data_size"])
        or (r["operation"] != "SetValueKey" and bool(r["flags"] & FLAGS["data_truncated"]))
    ),
    "previous columns: SetValueKey": lambda r: (
        r["operation"] == "SetValueKey" or all(r[column] is None for column in _PREVIOUS)
    ),
    "previous_truncated where fewer bytes were captured": lambda r: (
        bool(r["flags"] & FLAGS["previous_truncated"]) == _is_cut(r["previous_data"], r["previous_size"])
    ),
    "duration_ns is no negative time": lambda r: r["duration_ns"] is None or r["duration_ns"] >= 0,
    "event_id is NULL where the source has none": lambda r: (
        (r["event_id"] is None) == (r["source"] == "procmon")
    ),
    "flags is a sum of the flags": lambda r: not r["flags"] & ~sum(FLAGS.values()),
    "detail is an object with fields, or NULL": lambda r: _is_object(r["detail"]),
    "name_source in the stored parts is what the row itself tells": lambda r: (
        r["name_source"] in (None, "event", "open", "seed", "rundown")
    ),
    "a name in the record itself is never across_loss": lambda r: (
        r["name_source"] != "event" or not r["flags"] & FLAGS["across_loss"]
    ),
    "layout_prefix is no flag of a Procmon row": lambda r: (
        r["source"] != "procmon" or not r["flags"] & FLAGS["layout_prefix"]
    ),
    "name_has_nul where a name holds a NUL": lambda r: (
        bool(r["flags"] & FLAGS["name_has_nul"]) or "<U+0000>" not in (r["value_name"] or "")
    ),
}


def _has_text_of_a_log(row: Row) -> bool:
    """Whether Sysmon, which shows text without its type and size, reported the row."""
    return row["source"] == "sysmon" or '"sysmon":{"source_id":' in (row["detail"] or "")


def _microseconds(row: Row) -> int:
    value = row["time"]
    seconds = int(value.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + int(value.microsecond)


def broken_rules(capture: Path) -> Iterator[str]:
    """Yield a sentence for each rule of the page that some row of the capture breaks, with the row."""
    manifest = Manifest.load(capture)
    events = [row for part in manifest.parts for row in pq.read_table(capture / part["file"]).to_pylist()]
    events.sort(key=lambda row: row["sequence"])
    tables = {name: pq.read_table(capture / f["file"]).to_pylist() for name, f in manifest.tables.items()}
    if [row["sequence"] for row in events] != list(range(len(events))):
        yield "events: sequence counts from 0 without a gap"
    for sentence, holds in EVENT_RULES.items():
        yield from _broken("events: " + sentence, events, holds)
    yield from _broken_links(events, tables, len(manifest.sources))
    yield from _broken_keys(tables["keys"])
    yield from _broken_handles(events, tables["handles"])
    yield from _broken_rest(tables, len(events))


def _broken(sentence: str, rows: Iterable[Row], holds: Callable[[Row], bool]) -> Iterator[str]:
    wrong = next((row for row in rows if not holds(row)), None)
    if wrong is not None:
        yield f"{sentence}: {wrong}"


def _broken_links(events: list[Row], tables: dict[str, list[Row]], sources: int) -> Iterator[str]:
    keys = {row["key_id"]: row for row in tables["keys"]}
    handles = {row["handle_id"]: row for row in tables["handles"]}
    processes = {row["process_id"] for row in tables["processes"]}
    yield from _broken("events: key_id is in keys", events, lambda r: r["key_id"] in {None, *keys})
    yield from _broken(
        "events: handle_id is in handles", events, lambda r: r["handle_id"] in {None, *handles}
    )
    yield from _broken(
        "events: process_id is in processes", events, lambda r: r["process_id"] in {None, *processes}
    )
    yield from _broken("events: source_id is a source", events, lambda r: 0 <= r["source_id"] < sources)
    yield from _broken(
        "events: name_source stands in the row or with its key",
        (row for row in events if row["key_id"] is not None),
        lambda r: (r["name_source"] or keys[r["key_id"]]["name_source"]) in NAME_SOURCES,
    )
    yield from _broken(
        "events: after_close where the close of its object stands before the row",
        (r for r in events if r["flags"] & FLAGS["after_close"] and r["operation"] not in _OPENS),
        lambda r: (handles[r["handle_id"]]["closed_sequence"] or 0) < r["sequence"],
    )
    if all(loss["kind"] in ("blind", "clock") for loss in tables["losses"]):
        yield from _broken(
            "events: no name is across a loss where nothing was lost",
            events,
            lambda r: not r["flags"] & FLAGS["across_loss"],
        )
    made = [r for r in events if r["operation"] in _OPENS and r["status"] == 0 and r["handle_id"] is not None]
    yield from _broken(
        "events: the handle of a successful open is the one that it made",
        (r for r in made if r["source"] != "NT Kernel Logger"),
        lambda r: handles[r["handle_id"]]["opened_sequence"] == r["sequence"],
    )


def _broken_keys(keys: list[Row]) -> Iterator[str]:
    by_id = {row["key_id"]: row for row in keys}
    yield from _broken(
        "keys: folded_path is display_path in upper case",
        keys,
        lambda r: r["folded_path"] == fold_name(r["display_path"]),
    )
    yield from _broken(
        "keys: name is the last component", keys, lambda r: r["name"] == r["path"].rpartition("\\")[2]
    )
    yield from _broken(
        "keys: parent_id is the key above, NULL for a root and an unnamed object",
        keys,
        lambda r: (
            fold_name(by_id[r["parent_id"]]["path"]) == fold_name(r["path"].rpartition("\\")[0])
            if r["parent_id"] is not None
            else "\\" not in r["path"][1:]
        ),
    )
    yield from _broken(
        "keys: depth counts components", keys, lambda r: r["depth"] == r["path"].strip("\\").count("\\") + 1
    )
    yield from _broken(
        "keys: same_as names a group by one of its own",
        keys,
        lambda r: by_id[r["same_as"]]["same_as"] == r["same_as"],
    )
    yield from _broken(
        "keys: name_source is NULL, or later, rundown, partial, none",
        keys,
        lambda r: r["name_source"] in (None, "later", "rundown", "partial", "none"),
    )
    yield from _broken(
        "keys: below an unnamed object the path starts with <object 0x",
        keys,
        lambda r: r["name_source"] not in ("none", "partial") or r["path"].startswith("<object 0x"),
    )


def _broken_handles(events: list[Row], handles: list[Row]) -> Iterator[str]:
    blocks = any(row["source"] == "NT Kernel Logger" for row in events)
    blocks |= any(row["began"] == "rundown" for row in handles)

    def agrees(row: Row, word: str) -> bool:
        sequence, time = row[f"{word}_sequence"], row[f"{word}_ns"]
        if sequence is None or time is None:
            return sequence is time
        # What makes and deletes a control block is no row: the row after it stands for it.
        event = events[sequence] if sequence < len(events) else None
        if event is not None and event["handle_id"] == row["handle_id"] and event["time_ns"] == time:
            return event["operation"] in (_OPENS if word == "opened" else ("CloseKey",))
        return blocks and (event is None or event["time_ns"] >= time)

    yield from _broken("handles: opened_sequence and opened_ns are of its open, or both NULL", handles,
                       lambda r: agrees(r, "opened"))  # fmt: skip
    yield from _broken("handles: closed_sequence and closed_ns are of its close, or both NULL", handles,
                       lambda r: agrees(r, "closed"))  # fmt: skip
    yield from _broken("handles: process_id is NULL where the opening was not seen", handles,
                       lambda r: r["process_id"] is None or r["opened_sequence"] is not None)  # fmt: skip
    yield from _broken("handles: began has five words", handles,
                       lambda r: r["began"] in ("open", "create", "seed", "rundown", "unseen"))  # fmt: skip
    yield from _broken("handles: what began by a seed or unseen has no opening, all others have one", handles,
                       lambda r: (r["began"] in ("seed", "unseen")) == (r["opened_sequence"] is None))  # fmt: skip
    yield from _broken("handles: ended has three words", handles,
                       lambda r: r["ended"] in ("close", "reuse", "open"))  # fmt: skip
    yield from _broken("handles: ended is close exactly where that event is there", handles,
                       lambda r: (r["ended"] == "close") == (r["closed_sequence"] is not None))  # fmt: skip
    touched = [r for r in handles if r["first_sequence"] is not None]
    yield from _broken("handles: first_sequence comes before last_sequence", touched,
                       lambda r: r["first_sequence"] <= r["last_sequence"])  # fmt: skip


def _broken_rest(tables: dict[str, list[Row]], events: int) -> Iterator[str]:
    processes = {row["process_id"] for row in tables["processes"]}
    yield from _broken("processes: parent_id is a process", tables["processes"],
                       lambda r: r["parent_id"] in {None, *processes})  # fmt: skip
    yield from _broken("processes: source is one of these words", tables["processes"],
                       lambda r: r["source"] in ("start", "rundown", "later", "seed", "procmon", "sysmon", "security", "none"))  # fmt: skip
    yield from _broken("processes: of source none only the id is known", tables["processes"],
                       lambda r: r["source"] != "none" or r["image"] is r["command_line"] is r["user"] is None)  # fmt: skip
    yield from _broken("processes: text is NULL and never empty where it is unknown", tables["processes"],
                       lambda r: "" not in (r["image"], r["image_path"], r["user"]))  # fmt: skip
    yield from _broken("extended: sequence is an event", tables["extended"],
                       lambda r: 0 <= r["sequence"] < events)  # fmt: skip
    yield from _broken("extended: a row carries something", tables["extended"],
                       lambda r: any(v is not None for c, v in r.items() if c != "sequence"))  # fmt: skip
    yield from _broken("losses: kind is one of five words", tables["losses"],
                       lambda r: r["kind"] in ("events", "buffers", "damage", "blind", "clock"))  # fmt: skip
    yield from _broken("losses: from comes before to", tables["losses"],
                       lambda r: None in (r["from_ns"], r["to_ns"]) or r["from_ns"] <= r["to_ns"])  # fmt: skip
    yield from _broken("losses: evidence is said", tables["losses"], lambda r: bool(r["evidence"]))
    yield from _broken("diagnostics: name, severity and meaning are those of the counters", tables["diagnostics"],
                       lambda r: (r["severity"], r["meaning"])
                       == (COUNTERS[r["name"]].severity, COUNTERS[r["name"]].meaning))  # fmt: skip
