"""The event log of one capture, as chains of causes ask it: few rows at a time, by sequence, key, value and thread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from analysis.causes.links import MISSING, READS, WRITES, Operation, content_to_find
from analysis.causes.rules import FEW_BYTES, NEXT_WRITES
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, quoted
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.registry.text import fold_name

__all__ = ["EventLog", "ValueName"]

ValueName = tuple[
    int | None, str | None
]  # key (`keys.same_as`) and folded value name; None: the delete of the key

_MOST_READS = 100  # before one write that are looked at: the nearest
_MOST_SAME = 20  # reads with the data of one write
_MOST_READERS = 50  # threads that read one value before it was written again
_KEPT_BYTES = 256  # data up to this size is kept in memory; the rest is read where a chain needs it
_COLUMNS: Columns = (
    ("sequence", "int64"), ("time_ns", "int64"), ("process_id", "int64"), ("thread_id", "int64"), ("operation", "string"),
    ("key_id", "int64"), ("value_name", "string"), ("status", "int64"), ("data_type", "int64"), ("data_size", "int64"),
    ("data", "binary"),
)  # fmt: skip
_KEPT: Columns = (*_COLUMNS, ("handle_id", "int64"), ("is_whole", "bool"))
_PLACED: Columns = (("place", "int64"), ("sequence", "int64"))
_COUNTED: Columns = (*_PLACED, ("times", "int64"))
_SQL = {"int64": "BIGINT", "string": "VARCHAR", "binary": "BLOB"}
_READ = f"operation IN ({', '.join(map(quoted, READS))}) AND value_name IS NOT NULL"
_GOT = f"{_READ} AND (status < {NOT_SUCCESS} OR status = {MISSING})"
_WROTE = f"operation IN ({', '.join(map(quoted, WRITES))}) AND coalesce(status, 0) < {NOT_SUCCESS}"
# A text without its NULs at the end, in hex; every other type as it is.
_BARE = (
    r"CASE WHEN data_type IN (1, 2, 6, 7) THEN regexp_replace(hex(data), '(0000)+$', '') ELSE hex(data) END"
)


class EventLog:
    """What happened in a capture.

    Args:
        engine: the engine.
        events: the stored event rows.
        keys: the table `keys`.
        handles: the table `handles`.
    """

    def __init__(self, engine: OpenEngine, events: Relation, keys: Relation, handles: Relation) -> None:
        self._engine, self._stored = engine, events.source
        self._keys, self._handles = keys.source, handles.source
        self._spellings: dict[int, list[tuple[str | None, str | None]]] = {}
        # A chain looks at few rows, and looks often: what it may look at is kept in memory, in order of time.
        named = ", ".join(_column(name, kind) for name, kind in _COLUMNS)
        sql = (
            f"SELECT {named}, CAST(e.handle_id AS BIGINT) AS handle_id, "
            f"coalesce(octet_length(e.data) <= {_KEPT_BYTES}, true) AS is_whole "
            f"FROM {events.source} e LEFT JOIN {keys.source} k ON e.key_id = k.key_id "
            f"WHERE ({_GOT}) OR ({_WROTE}) ORDER BY e.sequence"
        )
        self._events = engine.keep("causes", Relation(sql, _KEPT)).source

    def operations(self, sequences: Iterable[int]) -> dict[int, Operation]:
        """Return reads and writes by their sequences."""
        if not (listed := _ids(sequences)):
            return {}
        names = ", ".join(name for name, _ in _COLUMNS)
        rows = self._fetch(
            f"SELECT {names}, is_whole FROM {self._events} WHERE sequence IN ({listed})",
            (*_COLUMNS, ("is_whole", "bool")),
        )
        found = {row["sequence"]: Operation(**{name: row[name] for name, _ in _COLUMNS}) for row in rows}
        for row in self._long([row["sequence"] for row in rows if not row["is_whole"]]):
            found[row["sequence"]] = replace(found[row["sequence"]], data=row["data"])
        return found

    def _long(self, sequences: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        """Return sequence and data of operations whose data is not kept."""
        if not (listed := _ids(sequences)):
            return []
        sql = f"SELECT sequence, data FROM {self._stored} WHERE sequence IN ({listed})"
        return self._fetch(sql, (("sequence", "int64"), ("data", "binary")))

    def opens(self, writes: Sequence[Operation]) -> dict[int, int]:
        """Return by the sequence of a write that of the open of its handle, where the same thread did both."""
        if not (listed := _ids(one.sequence for one in writes)):
            return {}
        found = self._fetch(
            f"SELECT e.sequence AS place, h.opened_sequence AS sequence FROM {self._events} e JOIN {self._handles} h "
            f"ON e.handle_id = h.handle_id WHERE e.sequence IN ({listed}) AND h.opened_sequence IS NOT NULL",
            _PLACED,
        )
        if not found:
            return {}
        # The open itself is neither a read nor a write.
        opens = {
            row["sequence"]: (row["process_id"], row["thread_id"])
            for row in self._fetch(
                f"SELECT sequence, process_id, thread_id FROM {self._stored} "
                f"WHERE sequence IN ({_ids(row['sequence'] for row in found)})",
                (("sequence", "int64"), ("process_id", "int64"), ("thread_id", "int64")),
            )
        }
        own = {one.sequence: (one.process_id, one.thread_id) for one in writes}
        return {
            row["place"]: row["sequence"] for row in found if opens.get(row["sequence"]) == own[row["place"]]
        }

    def reads_before(self, writes: Sequence[Operation], *, within_ns: int) -> list[list[Operation]]:
        """Return of each write the reads of values of its thread before it, in order: the last, and those since its open."""
        rows = [
            (place, one.sequence, one.process_id, one.thread_id, one.opened, one.time_ns - within_ns)
            for place, one in enumerate(writes)
            if one.process_id is not None
        ]
        if not rows:
            return [[] for _ in writes]
        sql = (
            f"SELECT w.place, e.sequence FROM {self._events} e JOIN ({_values(rows, 'place, before, pid, tid, opened, since')}) w "
            "ON e.process_id = w.pid AND (w.tid IS NULL OR e.thread_id = w.tid) "
            f"WHERE {_GOT} AND e.sequence < w.before AND (e.time_ns >= w.since OR e.sequence > w.opened) "
            f"QUALIFY row_number() OVER (PARTITION BY w.place ORDER BY e.sequence DESC) <= {_MOST_READS}"
        )
        return self._grouped(sql, len(writes))

    def same_data(self, writes: Sequence[Operation]) -> list[list[Operation]]:
        """Return of each write the nearest reads of its process before it whose data may be, or be in, what was written."""
        rows = [
            (place, one.sequence, one.process_id, bare.hex().upper())
            for place, one in enumerate(writes)
            if one.process_id is not None and (bare := content_to_find(one)) is not None
        ]
        if not rows:
            return [[] for _ in writes]
        longest = max(len(row[-1]) // 2 for row in rows) + 4
        sql = (
            f"SELECT w.place, e.sequence FROM (SELECT sequence, process_id, {_BARE} AS bare FROM {self._events} "
            f"WHERE {_READ} AND status < {NOT_SUCCESS} AND octet_length(data) BETWEEN {FEW_BYTES} AND {longest} "
            f"AND process_id IN ({', '.join(sorted({str(row[2]) for row in rows}))}) "
            f"AND sequence < {max(row[1] for row in rows)}) e "
            f"JOIN ({_values(rows, 'place, before, pid, content')}) w ON e.process_id = w.pid "
            f"WHERE e.sequence < w.before AND length(e.bare) >= {2 * FEW_BYTES} AND contains(w.content, e.bare) "
            f"QUALIFY row_number() OVER (PARTITION BY w.place ORDER BY e.sequence DESC) <= {_MOST_SAME}"
        )
        return self._grouped(sql, len(writes))

    def last_writes(self, reads: Sequence[Operation]) -> list[int | None]:
        """Return of each read the sequence of the last write or delete of its value before it; None: none is known."""
        asked = [(read.of_value, read.sequence) for read in reads]
        return self._turns(asked, "max", "e.sequence < w.moment")

    def next_writes(self, writes: Sequence[Operation], values: Sequence[ValueName]) -> list[int | None]:
        """Return the sequence of the next write or delete of some values, each after a write; None: none is known."""
        asked = [(value, one.sequence) for value, one in zip(values, writes, strict=True)]
        return self._turns(asked, "min", "e.sequence > w.moment")

    def readers(
        self, writes: Sequence[Operation], values: Sequence[ValueName], ends: Sequence[int | None]
    ) -> list[list[tuple[Operation, int]]]:
        """Return of each write which threads read its value until an end: the first read of each, and how many there are.

        Args:
            writes: the writes.
            values: the value of each.
            ends: the sequence of the next write; None: until the end of the capture.
        """
        rows = [
            (place, one.sequence, 2**63 - 1 if end is None else end, key_id, name)
            for place, (one, value, end) in enumerate(zip(writes, values, ends, strict=True))
            for key_id, name in self._spelled(value)
            if name is not None
        ]
        if not rows:
            return [[] for _ in writes]
        sql = (
            f"SELECT w.place, min(e.sequence) AS sequence, count(*) AS times FROM {self._events} e "
            f"JOIN ({_values(rows, 'place, start, until, kid, name')}) w ON e.key_id = w.kid AND e.value_name = w.name "
            f"WHERE {_GOT} AND e.key_id IN ({_ids(row[3] for row in rows)}) AND e.sequence > w.start AND e.sequence < w.until "
            f"AND e.sequence > {min(row[1] for row in rows)} GROUP BY w.place, e.process_id, e.thread_id "
            f"QUALIFY row_number() OVER (PARTITION BY w.place ORDER BY min(e.sequence)) <= {_MOST_READERS}"
        )
        found = self._fetch(f"{sql} ORDER BY place, sequence", _COUNTED)
        operations = self.operations(row["sequence"] for row in found)
        answer: list[list[tuple[Operation, int]]] = [[] for _ in writes]
        for row in found:
            answer[row["place"]].append((operations[row["sequence"]], row["times"]))
        return answer

    def writes_after(self, reads: Sequence[Operation], *, within_ns: int) -> list[list[Operation]]:
        """Return of each read the first writes and deletes of its thread after it, within a time."""
        rows = [
            (place, one.sequence, one.process_id, one.thread_id, one.time_ns + within_ns)
            for place, one in enumerate(reads)
            if one.process_id is not None
        ]
        if not rows:
            return [[] for _ in reads]
        sql = (
            f"SELECT w.place, e.sequence FROM {self._events} e JOIN ({_values(rows, 'place, after, pid, tid, until')}) w "
            "ON e.process_id = w.pid AND (w.tid IS NULL OR e.thread_id = w.tid) "
            f"WHERE {_WROTE} AND e.sequence > w.after AND e.time_ns <= w.until "
            f"AND e.sequence > {min(row[1] for row in rows)} AND e.time_ns <= {max(row[-1] for row in rows)} "
            f"QUALIFY row_number() OVER (PARTITION BY w.place ORDER BY e.sequence) <= {NEXT_WRITES}"
        )
        return self._grouped(sql, len(reads))

    def written_by(self, process_ids: Iterable[int]) -> set[ValueName]:
        """Return the values that some processes wrote or deleted."""
        if not (listed := _ids(process_ids)):
            return set()
        rows = self._fetch(
            f"SELECT DISTINCT key_id, value_name FROM {self._events} WHERE process_id IN ({listed}) AND {_WROTE}",
            (("key_id", "int64"), ("value_name", "string")),
        )
        return {
            (row["key_id"], None if row["value_name"] is None else fold_name(row["value_name"]))
            for row in rows
        }

    def last_known(self, value: ValueName) -> Operation | None:
        """Return the last read, write or delete of a value in the capture; None: there is none."""
        names = [name for _, name in self._spelled(value) if name is not None]
        if not names:
            return None
        rows = self._fetch(
            f"SELECT max(sequence) AS sequence FROM {self._events} WHERE key_id = {value[0]} "
            f"AND value_name IN ({', '.join(map(quoted, names))})",
            (("sequence", "int64"),),
        )
        return next(iter(self.operations([rows[0]["sequence"]]).values()))

    def key_paths(self) -> Mapping[str, int]:
        """Return the key (`keys.same_as`) of each display path."""
        kinds = (("display_path", "string"), ("key_id", "int64"))
        rows = self._fetch(
            f"SELECT display_path, same_as AS key_id FROM {self._keys} WHERE display_path IS NOT NULL", kinds
        )
        return {row["display_path"]: row["key_id"] for row in rows}

    def paths(self, key_ids: Iterable[int]) -> dict[int, str]:
        """Return the display paths of keys."""
        if not (listed := _ids(key_ids)):
            return {}
        kinds = (("key_id", "int64"), ("display_path", "string"))
        rows = self._fetch(f"SELECT key_id, display_path FROM {self._keys} WHERE key_id IN ({listed})", kinds)
        return {row["key_id"]: row["display_path"] for row in rows}

    def _turns(self, asked: Sequence[tuple[ValueName, int]], which: str, condition: str) -> list[int | None]:
        """Return the last (max) or first (min) write or delete of each value, or delete of its key, that fits."""
        self._learn(value[0] for value, _ in asked)
        rows = [
            (place, at, key_id, name, name is None)
            for place, (value, at) in enumerate(asked)
            for key_id, name in (*self._spelled(value), *self._spelled((value[0], None)))
        ]
        if not rows:
            return [None for _ in asked]
        sql = (
            f"SELECT w.place, {which}(e.sequence) AS sequence FROM {self._events} e "
            f"JOIN ({_values(sorted(set(rows), key=str), 'place, moment, kid, name, whole')}) w ON e.key_id = w.kid "
            f"WHERE {_WROTE} AND e.key_id IN ({_ids(row[2] for row in rows)}) AND {condition} "
            "AND ((w.whole AND e.operation = 'DeleteKey') OR (NOT w.whole AND e.operation <> 'DeleteKey' AND e.value_name = w.name)) "
            "GROUP BY w.place"
        )
        found = {row["place"]: row["sequence"] for row in self._fetch(sql, _PLACED)}
        return [found.get(place) for place in range(len(asked))]

    def _learn(self, groups: Iterable[int | None]) -> None:
        """Look up under which names, as spelled, values of some keys occur."""
        missing = {one for one in groups if one is not None} - self._spellings.keys()
        if not missing:
            return
        self._spellings |= {one: [] for one in missing}
        rows = self._fetch(
            f"SELECT DISTINCT key_id, value_name FROM {self._events} WHERE key_id IN ({_ids(missing)})",
            (("key_id", "int64"), ("value_name", "string")),
        )
        for row in rows:
            name = row["value_name"]
            self._spellings[row["key_id"]].append((name, None if name is None else fold_name(name)))

    def _spelled(self, value: ValueName) -> list[tuple[int, str | None]]:
        """Return the key and the spelled names of a value; of the delete of a key the key."""
        key_id, folded = value
        if key_id is None:
            return []
        self._learn([key_id])
        return [(key_id, name) for name, fold in self._spellings[key_id] if fold == folded]

    def _grouped(self, sql: str, count: int) -> list[list[Operation]]:
        found = self._fetch(f"{sql} ORDER BY place, sequence", _PLACED)
        operations = self.operations(row["sequence"] for row in found)
        answer: list[list[Operation]] = [[] for _ in range(count)]
        for place, rows in groupby(found, key=lambda row: row["place"]):
            answer[place] = [operations[row["sequence"]] for row in rows]
        return answer

    def _fetch(self, sql: str, columns: Columns) -> Sequence[Mapping[str, Any]]:
        return self._engine.fetch(Relation(sql, columns)).to_pylist()


def _column(name: str, kind: str) -> str:
    source = "k.same_as" if name == "key_id" else f"e.{name}"
    if name == "data":
        return f"CASE WHEN octet_length(e.data) <= {_KEPT_BYTES} THEN e.data END AS data"
    return f"CAST({source} AS {_SQL[kind]}) AS {name}"


def _values(rows: Sequence[tuple[object, ...]], names: str) -> str:
    """Return rows as a table of SQL; None is NULL."""
    kinds = [
        "VARCHAR"
        if any(isinstance(value, str) for value in column)
        else "BOOLEAN"
        if any(isinstance(value, bool) for value in column)
        else "BIGINT"
        for column in zip(*rows, strict=True)
    ]
    said = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    typed = ", ".join(
        f"CAST({name} AS {kind}) AS {name}" for name, kind in zip(names.split(", "), kinds, strict=True)
    )
    return f"SELECT {typed} FROM (VALUES {said}) AS listed({names})"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return quoted(value) if isinstance(value, str) else str(value)


def _ids(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(numbers))))
