"""The touches of autostart points in one capture: its rows matched with the table, and what entries held before.

Each key is matched once. What an entry held before is asked of `analysis.questions.history`, so that it means the same in both;
rows that a history has not (of keys themselves, and of values whose names nobody recorded) are added. Reads are counted by
key, value and process.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import pyarrow as pa

from analysis.engine.connection import engine_errors
from analysis.engine.relation import Relation, quoted
from analysis.filters import Filters
from analysis.questions import history
from analysis.questions.baseline import with_baseline
from analysis.questions.chosen_keys import with_chosen_keys
from analysis.questions.class_servers import find_class_servers
from analysis.questions.context import QueryContext
from analysis.rules.autostarts import Autostart, autostart_table, techniques
from analysis.rules.touches import class_id_of, novelty_of, parts_of
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_FAILURES, NOT_SUCCESS, REPARSE, status_name
from tracer.registry.operations import GROUPS
from tracer.registry.paths import display_path
from tracer.registry.text import fold_name

__all__ = ["AutostartTouches"]

_OF_VALUES = ("SetValueKey", "DeleteValueKey")
_OF_KEYS = ("CreateKey", "DeleteKey", "RenameKey", "CreateOrDelete")
_IN_HISTORIES = (*_OF_VALUES, "DeleteKey", "RenameKey")
_READS = tuple(
    name for case in GROUPS["reads"].cases for name in case.operations if name != "QuerySecurityKey"
)
_VALUE_READS = ("QueryValueKey", "EnumerateValueKey", "QueryMultipleValueKey")
_OPENS = ("OpenKey",)
_OPENED = 2  # REG_OPENED_EXISTING_KEY (winnt.h)
_EVENT = (
    "sequence", "time", "operation", "status", "disposition", "key_id", "process_id", "value_name", "requested_name", "data_type",
    "data_size", "data", "flags",
)  # fmt: skip
_TIME = "timestamp[us, tz=UTC]"
_FAILED = f"status >= {NOT_SUCCESS} AND status NOT IN ({', '.join(map(str, NOT_FAILURES))})"
_RESULTS = {
    "succeeded": f"NOT ({_FAILED})",
    "missed": f"status = {NAME_NOT_FOUND}",
    "refused": f"{_FAILED} AND status <> {NAME_NOT_FOUND}",
}
_CONTENT = ("type", "size", "data")
_NOTHING = (None, None, None)

_Row = dict[str, Any]


class AutostartTouches:
    """The touches of one capture, or of several that are alike, as rows with some of the columns TOUCHES; what the others hold is not known."""

    def __init__(self, context: QueryContext, filters: Filters, of: tuple[str, ...] | None) -> None:
        self._context, self._filters, self._categories = context, filters, of
        self._rows = context.rows(filters)
        self._asked = context.rows(filters.without_noise())  # rows that read: Windows reads much by itself
        self._kinds = dict(self._rows.columns)
        self._table = autostart_table()
        self._paths: dict[int, str] = {}  # display paths of the keys that the table knows, by key_id
        self._places: dict[int, int] = {}  # their places in the table
        self._processes: Mapping[int, _Row] | None = None

    def writes(self) -> Iterator[_Row]:
        """Yield the writes, deletes and attempts, in no order."""
        yield from self._arrivals()
        keys = self._match([*_OF_VALUES, *_OF_KEYS], self._rows)
        if not keys:
            return
        changed = self._fetch(_EVENT, [*_OF_VALUES, *_OF_KEYS], keys).to_pylist()
        of_values = {row["key_id"] for row in changed if row["operation"] in _IN_HISTORIES}
        told: set[int] = set()
        for row in self._histories(sorted(of_values)):
            place = self._places.get(row["key_id"])
            autostart = None if place is None else self._table.of_value(place, row["value_name"])
            told.add(row["sequence"])
            if self._is_wanted(autostart):
                yield self._value_row(row, autostart)
        for row in changed:
            if row["sequence"] not in told:
                yield from self._key_rows(row)

    def reads(self) -> Iterator[_Row]:
        """Yield what was read, one row per entry and process."""
        keys = self._match([*_READS, *_OPENS], self._asked)
        if not keys:
            return
        groups: dict[tuple[Any, ...], _Row] = {}
        for row in self._read_groups(keys):
            place = self._places[row["key_id"]]
            is_value = row["operation"] in _VALUE_READS
            if is_value:
                autostart = self._table.of_value(place, row["value_name"])
            else:
                autostart = self._table.of_value(place, None) or self._table.of_key(place, itself=True)
            if not self._is_wanted(autostart):
                continue
            name = row["value_name"] if is_value and autostart.value else None
            known = (
                *self._context.places([row["key_id"]], "key_id"),
                fold_name(self._paths[row["key_id"]]),
                autostart.id,
                fold_name(name or ""),
                row["process_id"],
            )
            _add(groups.setdefault(known, self._read_row(row, autostart, name)), row)
        yield from groups.values()

    def add_classes(self, rows: Iterable[_Row]) -> None:
        """Add to rows what their entries start, and where their CLSIDs lead."""
        several = list(rows)
        for row in several:
            content = (
                row["contents"][0]
                if row["operation"] not in ("DeleteValueKey", "DeleteKey", "RenameKey")
                else row["contents"][1]
            )
            row["content"] = content
            row["clsid"] = class_id_of(row["of"], row["display_key"], row["value_name"], content)
        clsids = {row["clsid"] for row in several if row["clsid"] is not None}
        servers = find_class_servers(with_baseline(self._context), clsids)
        places = self._context.places([row["key_id"] for row in several], "key_id")
        for place, row in zip(places, several, strict=True):
            server = None if row["clsid"] is None else servers.get((place, row["clsid"]))
            old = row["contents"][1] if row["content"] is row["contents"][0] else _NOTHING
            row.update(parts_of(row["of"], row["value_name"], row["content"], old, server))

    def _match(self, operations: Sequence[str], rows: Relation) -> list[int]:
        """Return key_id of the keys of some operations among rows that the table knows."""
        listed = ", ".join(map(quoted, operations))
        keys = self._context.relation("keys")
        sql = (
            f"SELECT key_id, folded_path, display_path FROM {keys.source} WHERE key_id IN "
            f"(SELECT key_id FROM {rows.source} WHERE operation IN ({listed}))"
        )
        kinds = dict(keys.columns)
        columns = tuple((name, kinds[name]) for name in ("key_id", "folded_path", "display_path"))
        ids, folded, shown = (
            column.to_pylist() for column in self._context.engine.fetch(Relation(sql, columns)).columns
        )
        found = []
        for key_id, place, path in zip(ids, self._table.match_keys(folded), shown, strict=True):
            if place:
                found.append(key_id)
                self._paths[key_id], self._places[key_id] = path, place
        return sorted(found)

    def _fetch(self, names: Sequence[str], operations: Sequence[str], key_ids: Sequence[int]) -> pa.Table:
        """Return columns of the rows of some operations and keys."""
        keys = self._held(key_ids)
        listed = ", ".join(map(quoted, operations))
        found = Relation(
            f"SELECT {', '.join(names)} FROM {self._rows.source} WHERE operation IN ({listed}) "
            f"AND key_id IN (SELECT key_id FROM {keys.source})",
            tuple((name, self._kinds[name]) for name in names),
        )
        return self._context.engine.fetch(found)

    def _read_groups(self, key_ids: Sequence[int]) -> list[_Row]:
        """Return the reads and opens of some keys, counted by key, value, process and operation."""
        keys = self._held(key_ids)
        by = ("key_id", "process_id", "operation", "value_name")
        columns = (
            *((name, self._kinds[name]) for name in by), *((name, "int64") for name in ("count", *_RESULTS)),
            ("sequence", "int64"), ("last_sequence", "int64"), ("time", _TIME), ("last_time", _TIME),
        )  # fmt: skip
        results = ", ".join(f"count(*) FILTER ({fits})::BIGINT AS {name}" for name, fits in _RESULTS.items())
        listed = ", ".join(map(quoted, (*_READS, *_OPENS)))
        sql = f"""
            SELECT {", ".join(by)}, count(*)::BIGINT AS count, {results}, min(sequence) AS sequence,
                max(sequence) AS last_sequence, min(time) AS time, max(time) AS last_time
            FROM {self._asked.source} WHERE operation IN ({listed}) AND status IS DISTINCT FROM {REPARSE}
                AND key_id IN (SELECT key_id FROM {keys.source})
            GROUP BY ALL ORDER BY sequence
        """
        return self._context.engine.fetch(Relation(sql, columns)).to_pylist()

    def _histories(self, key_ids: Sequence[int]) -> list[_Row]:
        """Return the history of the values of some keys, as far as the filters let it be seen."""
        if not key_ids:
            return []
        asked = replace(self._filters, key="HKLM", subtree=False, user=None)  # which keys, the context says
        found = history.query(with_chosen_keys(self._context, self._held(self._same(key_ids))), asked)
        rows = self._context.engine.fetch(found.relation)
        with engine_errors():
            return (rows if found.finish is None else found.finish(rows)).to_pylist()

    def _same(self, key_ids: Sequence[int]) -> list[int]:
        """Return the ids of keys and of their other spellings, which get the same places in the table."""
        keys, held = self._context.relation("keys"), self._held(key_ids).source
        kinds = dict(keys.columns)
        sql = (
            f"SELECT other.key_id, own.key_id AS own_id, other.display_path FROM {keys.source} AS other "
            f"JOIN {keys.source} AS own USING (same_as) WHERE own.key_id IN (SELECT key_id FROM {held})"
        )
        columns = (
            ("key_id", kinds["key_id"]),
            ("own_id", kinds["key_id"]),
            ("display_path", kinds["display_path"]),
        )
        same = self._context.engine.fetch(Relation(sql, columns)).to_pylist()
        for row in same:
            self._places.setdefault(row["key_id"], self._places[row["own_id"]])
            self._paths.setdefault(row["key_id"], row["display_path"])
        return sorted({row["key_id"] for row in same})

    def _held(self, key_ids: Sequence[int]) -> Relation:
        """Return keys as a table of the engine, with the column key_id."""
        kind = dict(self._context.relation("keys").columns)["key_id"]
        stored = "INTEGER" if kind == "int32" else "BIGINT"
        sql = f"SELECT CAST(unnest([{', '.join(map(str, key_ids))}]) AS {stored}) AS key_id"
        return self._context.engine.keep("autoruns", Relation(sql, (("key_id", kind),)))

    def _is_wanted(self, autostart: Autostart | None) -> TypeGuard[Autostart]:
        return autostart is not None and (self._categories is None or autostart.category in self._categories)

    def _value_row(self, row: _Row, autostart: Autostart) -> _Row:
        """Return the touch of a row of a history."""
        new, old = (tuple(row[f"{side}_{name}"] for name in _CONTENT) for side in ("new", "old"))
        novelty = novelty_of(
            row["operation"],
            done=row["done"],
            new=new,
            old_from=row["old_from"],
            old=old,
            across_loss=row["across_loss"],
        )
        made = self._row(row, autostart, new, old)
        return made | {name: row[name] for name in ("done", "old_from", "across_loss")} | {
            "value_name": row["value_name"], "novelty": novelty, "touch": _touch(row["done"])
        }  # fmt: skip

    def _key_rows(self, row: _Row) -> Iterator[_Row]:
        """Yield the touch of an operation that no history has: of the key itself, or of a value of unknown name."""
        place, operation, status = self._places[row["key_id"]], row["operation"], row["status"]
        done = None if status is None else status == 0
        novelty, new = None, _NOTHING
        if operation in _OF_VALUES:
            autostart = self._table.of_value(place, row["value_name"])
            if operation == "SetValueKey":
                new = (row["data_type"], row["data_size"], row["data"])
        elif operation == "CreateKey":
            if status in (REPARSE, NAME_NOT_FOUND) or (done and row["disposition"] == _OPENED):
                return  # it only opened the key; or the key above was missing, which is made first
            autostart = self._table.of_key(place, itself=done is not False)
            novelty = "new" if done and row["disposition"] is not None else None
        else:
            autostart = self._table.of_key(place, itself=operation == "CreateOrDelete")
            if autostart is not None and not _is_of_key(autostart):
                return
        if self._is_wanted(autostart):
            yield self._row(row, autostart, new, _NOTHING) | {
                "value_name": row["value_name"], "done": done, "status_name": None if status is None else status_name(status),
                "novelty": novelty, "old_from": "event" if novelty else None, "touch": _touch(done),
            }  # fmt: skip

    def _arrivals(self) -> Iterator[_Row]:
        """Yield the renames by which a key became an entry; its values were written under another name."""
        if "RenameKey" not in self._context.operations():
            return
        keys = self._context.relation("keys")
        columns = (
            *((name, self._kinds[name]) for name in _EVENT),
            ("display_path", dict(keys.columns)["display_path"]),
        )
        sql = (
            f"SELECT {', '.join(_EVENT)}, display_path FROM {self._rows.source} JOIN "
            f"(SELECT key_id, display_path FROM {keys.source}) USING (key_id) WHERE operation = 'RenameKey' AND requested_name <> ''"
        )
        for row in self._context.engine.fetch(Relation(sql, columns)).to_pylist():
            name = row["requested_name"]
            path = (
                display_path(name)
                if "\\" in name
                else f"{row['display_path'].rpartition(chr(92))[0]}\\{name}"
            )
            (place,) = self._table.match_keys([fold_name(path)])
            autostart = self._table.of_key(place, itself=False)
            if self._is_wanted(autostart):
                self._paths.setdefault(row["key_id"], row["display_path"])
                done = None if row["status"] is None else row["status"] == 0
                yield self._row(row, autostart, _NOTHING, _NOTHING) | {
                    "value_name": None, "display_key": path, "done": done, "touch": _touch(done), "arrives": True,
                    "status_name": None if row["status"] is None else status_name(row["status"]),
                }  # fmt: skip

    def _read_row(self, row: _Row, autostart: Autostart, value_name: str | None) -> _Row:
        made = self._row(row | {"flags": None, "status": None}, autostart, _NOTHING, _NOTHING)
        return made | {
            "value_name": value_name,
            "operation": None,
            "touch": "read",
            "count": 0,
            "last_time": None,
            "last_sequence": None,
        }

    def _row(self, row: _Row, autostart: Autostart, new: tuple[Any, ...], old: tuple[Any, ...]) -> _Row:
        """Return what every touch has; `of` and `contents` are no columns."""
        process = self._process(row["process_id"])
        return {
            **{name: row[name] for name in ("sequence", "time", "operation", "status", "key_id", "process_id", "flags")},
            "status_name": row.get("status_name"),
            "last_sequence": row["sequence"], "last_time": row["time"], "count": 1,
            "category": autostart.category, "kind": autostart.kind, "autostart": autostart.id, "technique": autostart.technique,
            "technique_name": techniques()[autostart.technique], "holds": autostart.data, "note": autostart.note,
            "display_key": self._paths[row["key_id"]],
            "process": process.get("image"), "pid": process.get("pid"), "user": process.get("user"), "command_line": process.get("command_line"),
            **{f"{side}_{name}": part for side, some in (("new", new), ("old", old)) for name, part in zip(_CONTENT, some, strict=True)},
            "of": autostart, "contents": (new, old),
        }  # fmt: skip

    def _process(self, process_id: int | None) -> Mapping[str, Any]:
        if self._processes is None:
            names = ("process_id", "image", "pid", "user", "command_line")
            rows = self._context.engine.fetch(self._context.relation("processes").select(*names))
            self._processes = {row["process_id"]: row for row in rows.to_pylist()}
        return self._processes.get(process_id, {}) if process_id is not None else {}


def _is_of_key(autostart: Autostart) -> bool:
    """Tell whether a key that is gone was an entry, though no value of it is known: not one that may lack the value."""
    return autostart.is_key or not autostart.value or autostart.kind == "autostart"


def _touch(done: bool | None) -> str:
    return "attempt" if done is False else "write"


def _add(group: _Row, row: _Row) -> None:
    """Add the reads of a row to a group; `done` is whether any found the entry, NULL where none says."""
    group["count"] += row["count"]
    for name, least in (("sequence", min), ("time", min), ("last_sequence", max), ("last_time", max)):
        group[name] = row[name] if group[name] is None else least(group[name], row[name])
    for name in _RESULTS:
        group[name] = group.get(name, 0) + row[name]
    vain = group["missed"] + group["refused"]
    group["done"] = True if group["succeeded"] else False if vain == group["count"] else None
    if group["done"] is False:
        group["status"] = NAME_NOT_FOUND if group["missed"] == group["count"] else None
        group["status_name"] = None if group["status"] is None else status_name(group["status"])
