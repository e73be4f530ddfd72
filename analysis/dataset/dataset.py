"""Many captures as one: the questions of a capture, asked of all of them at once, with the host in the answers.

Ids are shifted by one constant a capture (`analysis.engine.id_columns`), so nothing of one host meets anything of
another, and the functions that answer questions need not know that there are several.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import ibis
import numpy as np
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from analysis.capture import Capture
from analysis.card import dataset_html, dataset_text, facts
from analysis.dataset.labels import label_batches, label_rows
from analysis.dataset.members import Captures, Member, load_members, merged, with_first_ids
from analysis.engine.duckdb_backend import (
    HELPERS,
    answer,
    bind,
    engine_errors,
    identifier,
    quoted,
    scan,
    schemas_of_many,
    stored_name,
)
from analysis.engine.events_view import EVENT_COLUMNS, join_names
from analysis.engine.fetch import fetch, to_frame
from analysis.engine.id_columns import IDS, KINDS, LABELS
from analysis.filters import Filters
from analysis.questions.context import key_condition
from tracer.registry.text import escape_argument
from tracer.schema import TABLES
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Dataset"]

_SHIFTED = KINDS[:-1]  # source_id is told by `sources` of the manifest
_FEW = 16  # ids that are asked for by name; of more, the first and the last bound what is read


class Dataset(Capture):
    """Several captures and the engine that reads them.

    Ids are int64 and not those of the captures; `sequence` orders the events of each capture, one capture
    after the other, for no clock is shared. Every answer with a sequence, key_id, process_id or handle_id has
    the columns `host` and `capture`, as have `events` and the stored tables in SQL. `captures` is a table too.

    Attributes:
        members: the captures, in order.
    """

    event_columns: ClassVar[tuple[str, ...]] = (*LABELS, *EVENT_COLUMNS)

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        members: Sequence[Member],
        memory_limit: str,
        threads: int | None,
    ) -> None:
        self.members = tuple(members)
        super().__init__(path, manifest, memory_limit=memory_limit, threads=threads)
        self.manifest = merged(self.members)  # their ids are known now

    @classmethod
    def of(
        cls,
        captures: Captures,
        found: Sequence[tuple[Path, str | None]],
        *,
        memory_limit: str,
        threads: int | None,
        check_rows: bool,
    ) -> Self:
        """Open captures; the arguments are those of `analysis.capture.open_capture`.

        Args:
            captures: what the user named.
            found: the captures it means (`analysis.dataset.members.find_captures`).
            memory_limit: what the engine may use.
            threads: how many the engine may use.
            check_rows: compare each part's row count with the manifest first.
        """
        members = load_members(found, check_rows=check_rows)
        named = isinstance(captures, Path | str)
        path = Path(captures) if named else Path(f"{len(members)} captures")  # type: ignore[arg-type]
        return cls(path, merged(members), members=members, memory_limit=memory_limit, threads=threads)

    @property
    def events(self) -> Table:
        """The event rows with the names of keys and processes joined, and the host first."""
        return self._labelled_table("events")

    @property
    def stores(self) -> list[tuple[Path, Manifest]]:
        """The directory and the manifest of each capture."""
        return [(member.path, member.manifest) for member in self.members]

    @property
    def captures(self) -> "pd.DataFrame":
        """One row per capture: host, capture, path, what it holds, when, and whether anything was lost."""
        with engine_errors():
            return to_frame(answer(self.engine(), "SELECT * FROM captures"))

    def apart(self, filters: Filters) -> Sequence[Capture]:
        """Return each capture that knows the keys asked for, to be asked alone; one where none does."""
        from analysis.dataset.alone import Alone

        numbered = list(enumerate(self.members))
        if filters.key is not None:
            own = self._own_keys(_numbers(self._key_ids(filters)))
            numbered = [item for item, ids in zip(numbered, own, strict=True) if len(ids)] or numbered[:1]
        return [Alone(self, member, self._views_of(number)) for number, member in numbered]

    def range_of(self, member: Member) -> dict[str, tuple[int, int]]:
        """Return the first and the last id of each kind that may be one of a capture's."""
        after = [one.first for one in self.members[self.members.index(member) + 1 :]][:1]
        return {kind: (member.first[kind], after[0][kind] - 1 if after else 2**63 - 1) for kind in KINDS}

    def labelled(self, rows: "pa.Table") -> "pa.Table":
        """Return the rows of an answer with the columns `host` and `capture` first.

        They are NULL where no id in the row says which capture it is of; an answer without ids stays as it is.
        """
        return label_rows(rows, self.members)

    def labelled_batches(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return a stream of such rows likewise."""
        return label_batches(rows, self.members)

    def rows(self, filters: Filters, *, joined: bool) -> Table:
        """Return the event rows that fit, in no order; the arguments are those of `OpenCapture.rows`."""
        return super().rows(filters, joined=joined).drop(*LABELS)

    def info(self) -> dict[str, Any]:
        """Return what is known about the captures as JSON values; `captures` lists them."""
        known = super().info()
        with engine_errors():
            known["captures"] = answer(self.engine(), "SELECT * FROM captures").to_pylist()
        return known

    def __repr__(self) -> str:
        closed = not self._closer.alive
        return dataset_text(self.path.name, self._hosts(), facts(self.manifest, closed=closed))

    def _repr_html_(self) -> str:
        closed = not self._closer.alive
        own = [(member.host, member.capture, facts(member.manifest)) for member in self.members]
        return dataset_html(str(self.path), self._hosts(), facts(self.manifest, closed=closed), own)

    def _hosts(self) -> list[str]:
        return list(dict.fromkeys(member.host for member in self.members))

    def _event_rows(self, filters: Filters) -> Table:
        return super().rows(filters, joined=True)

    def _make_tables(self, backend: Backend) -> None:
        self.members = tuple(with_first_ids(self.members, backend.con))
        plain, labelled = (schemas_of_many(labelled=one) for one in (False, True))
        for name in TABLES:
            union = _union([_member_scan(member, name) for member in self.members])
            backend.con.execute(f"CREATE VIEW {stored_name(name)} AS {union}")
        names = ("stored_events", "keys", "processes")
        events, *others = (bind(backend, name, labelled[name], None) for name in names)
        joined = join_names(events, *(table.drop(*LABELS) for table in others), first=LABELS)
        backend.con.execute(f"CREATE VIEW events AS {ibis.to_sql(joined, dialect='duckdb')}")
        # What questions are asked of: the columns of one capture.
        for name, schema in plain.items():
            columns = ", ".join(map(identifier, schema.names))
            backend.con.execute(f"CREATE VIEW {HELPERS}.{name} AS SELECT {columns} FROM main.{name}")
        backend.con.execute(f"CREATE TABLE captures AS {_captures_query(self.members)}")

    def _table(self, name: str, helper: str | None = None) -> Table:
        schema = schemas_of_many(labelled=helper is not None)[name]
        return bind(self.engine(), helper or name, schema, HELPERS)

    def _labelled_table(self, name: str) -> Table:
        return bind(self.engine(), name, schemas_of_many(labelled=True)[name], None)

    def _source(self, key_ids: Sequence[int] | Table | None, *, joined: bool) -> Table:
        """Return event rows among which are those of some keys; of no other capture, where that is known.

        An engine does not undo the shift of an id to find its rows in the parts, so it is undone here.
        """
        name = "events" if joined else "stored_events"
        if key_ids is None:
            return self._labelled_table(name)
        numbers = _numbers(key_ids)
        slices = [
            _member_scan(member, "events", _near(own))
            for member, own in zip(self.members, self._own_keys(numbers), strict=True)
            if len(own)
        ]
        if not slices:
            return self._labelled_table(name)
        query = _union(slices)
        backend = self.engine()
        if query not in self._helpers:
            helper = f"rows_{len(self._helpers)}"
            with engine_errors():
                backend.con.execute(f"CREATE VIEW {HELPERS}.{helper} AS {query}")
            self._helpers[query] = helper
        rows = self._table("stored_events", self._helpers[query])
        if not joined:
            return rows
        return join_names(rows, self._table("keys"), self._table("processes"), first=LABELS)

    def _views_of(self, number: int) -> str:
        """Make the tables of one capture known to the engine, with shifted ids; return what their names begin with."""
        prefix, member, connection = f"alone_{number}_", self.members[number], self.engine().con
        if prefix not in self._helpers:
            for name, table in TABLES.items():
                columns = ", ".join(map(identifier, table.names))
                query = f"SELECT {columns} FROM ({_member_scan(member, name)})"
                connection.execute(f"CREATE VIEW {HELPERS}.{prefix}{stored_name(name)} AS {query}")
            schemas, names = schemas_of_many(labelled=False), ("stored_events", "keys", "processes")
            joined = join_names(*(bind(self.backend, prefix + one, schemas[one], HELPERS) for one in names))
            query = ibis.to_sql(joined, dialect="duckdb")
            connection.execute(f"CREATE VIEW {HELPERS}.{prefix}events AS {query}")
            self._helpers[prefix] = prefix
        return prefix

    def _own_keys(self, key_ids: np.ndarray) -> list[np.ndarray]:
        """Return the ids of keys by capture, as they stand in its parts, in order."""
        first = [member.first["key_id"] for member in self.members]
        places = np.searchsorted(key_ids, [*first[1:], 2**63 - 1])
        return [part - start for part, start in zip(np.split(key_ids, places[:-1]), first, strict=True)]

    def _key_condition(self, texts: Sequence[str], subtree: bool, user_sid: str | None) -> str:
        """Return the SQL condition for rows of `keys`; CurrentControlSet is each capture's own."""
        by_control_set: dict[int | None, list[str]] = {}
        last = [*(member.first["key_id"] - 1 for member in self.members[1:]), 2**63 - 1]
        for member, end in zip(self.members, last, strict=True):
            between = f"key_id BETWEEN {member.first['key_id']} AND {end}"
            by_control_set.setdefault(member.manifest.control_set, []).append(between)
        conditions = {
            number: f"({key_condition(texts, subtree, user_sid, number, shows_user=self.manifest.shows_user)})"
            for number in by_control_set
        }
        if len(set(conditions.values())) == 1:
            return next(iter(conditions.values()))
        own = (f"({conditions[one]} AND ({' OR '.join(by_control_set[one])}))" for one in conditions)
        return f"({' OR '.join(own)})"


def _member_scan(member: Member, name: str, condition: str = "true") -> str:
    """Return the query that reads a table of one capture: its labels, and its ids shifted."""
    table = TABLES[name]
    columns = [f"{quoted(getattr(member, label))} AS {label}" for label in LABELS]
    for column in map(identifier, table.names):
        kind = IDS[name].get(column.strip('"'))
        columns.append(
            f"own.{column}" if kind is None else f"own.{column}::BIGINT + {member.first[kind]} AS {column}"
        )
    source = scan(table, table_files(member.path.absolute(), member.manifest)[name], member.manifest)
    return f"SELECT {', '.join(columns)} FROM ({source}) AS own WHERE {condition}"


def _numbers(key_ids: Sequence[int] | Table | None) -> np.ndarray:
    """Return ids, or those of a table, in order."""
    found = fetch(key_ids).column(0).to_numpy() if isinstance(key_ids, Table) else key_ids or []
    return np.sort(np.asarray(found, np.int64))


def _union(queries: Sequence[str]) -> str:
    """Return one query for the rows of all; halves of halves, for engines bound how deep a query may nest."""
    if len(queries) <= 2:
        return " UNION ALL ".join(queries)
    half = len(queries) // 2
    return f"({_union(queries[:half])}) UNION ALL ({_union(queries[half:])})"


def _near(key_ids: np.ndarray) -> str:
    """Return the condition for rows of keys that are among some, or stand between them."""
    if len(key_ids) == 1:
        return f"own.key_id = {key_ids[0]}"
    between = f"own.key_id BETWEEN {key_ids[0]} AND {key_ids[-1]}"
    if len(key_ids) > _FEW:
        return between
    return f"{between} AND own.key_id IN ({', '.join(map(str, key_ids))})"


def _captures_query(members: Sequence[Member]) -> str:
    """Return the query of the table `captures`."""
    types = {"host": "VARCHAR", "capture": "VARCHAR", "path": "VARCHAR"}
    types |= dict.fromkeys(("events", "keys", "processes", "windows_build", "control_set"), "BIGINT")
    types |= {"complete": "BOOLEAN", "first_time": "TIMESTAMPTZ", "last_time": "TIMESTAMPTZ"}
    types |= {f"first_{kind}": "BIGINT" for kind in _SHIFTED}
    rows = []
    for member in members:
        manifest = member.manifest
        first = min((part["first_ns"] for part in manifest.parts), default=None)
        last = max((part["last_ns"] for part in manifest.parts), default=None)
        numbers = [manifest.totals.get(name) for name in ("events", "keys", "processes")]
        values = [
            *(quoted(getattr(member, label)) for label in LABELS),
            quoted(escape_argument(str(member.path))),
            *(number if type(number) is int else None for number in numbers),
            manifest.windows_build,
            manifest.control_set,
            str(manifest.complete).lower(),
            *(None if ns is None else f"make_timestamptz({ns // 1000})" for ns in (first, last)),
            *(member.first[kind] for kind in _SHIFTED),
        ]
        rows.append(f"({', '.join('NULL' if value is None else str(value) for value in values)})")
    cast = ", ".join(f"{column}::{kind} AS {column}" for column, kind in types.items())
    return f"SELECT {cast} FROM (VALUES {', '.join(rows)}) AS listed({', '.join(types)})"
