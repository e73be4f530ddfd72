"""Contexts of a dataset: all its captures, or one of them.

Ids are shifted by one constant a capture (`analysis.engine.columns`), so nothing of one host meets anything of another, and
the functions that answer questions need not know that there are several.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from analysis.dataset.labels import label_batches, label_rows
from analysis.dataset.members import Captures, Member, load_members, merged, with_first_ids
from analysis.engine.columns import (
    IDS,
    KINDS,
    LABELS,
    SHOWN_COLUMNS,
    columns_of_many,
    joined,
    stored_name,
)
from analysis.engine.connection import HELPERS, NAMED_EVENTS, answer, create_events, engine_errors, scan
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, identifier, quoted
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.key_conditions import key_condition
from analysis.questions.users import User, by_batch, merged_users, with_key_users
from tracer.registry.text import escape_argument
from tracer.schema import TABLES
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["DatasetContext", "MemberContext"]

_SHIFTED = KINDS[:-1]  # source_id is told by `sources` of the manifest
_FEW = 16  # ids that are asked for by name; of more, the first and the last bound what is read


class DatasetContext(QueryContext):
    """Several captures on one engine.

    Attributes:
        members: the captures, in order.
    """

    event_columns = (*LABELS, *SHOWN_COLUMNS)

    def __init__(self, path: Path, members: Sequence[Member], engine: OpenEngine) -> None:
        super().__init__(path, merged(members), engine)
        self.members = tuple(members)
        self._users_by_store: list[tuple[User, ...]] | None = None

    @classmethod
    def open(
        cls,
        captures: Captures,
        captures_with_hosts: Sequence[tuple[Path, str | None]],
        *,
        memory_limit: str,
        threads: int | None,
        check_rows: bool,
    ) -> Self:
        """Open captures; the other arguments are those of `analysis.open.open_capture`.

        Args:
            captures: what the user named.
            captures_with_hosts: the captures it means (`analysis.dataset.members.find_captures`).
            memory_limit: what the engine may use.
            threads: how many the engine may use.
            check_rows: compare each part's row count with the manifest first.
        """
        members = load_members(captures_with_hosts, check_rows=check_rows)
        is_path = isinstance(captures, Path | str)
        path = Path(captures) if is_path else Path(f"{len(members)} captures")  # type: ignore[arg-type]

        def make(connection: "duckdb.DuckDBPyConnection") -> None:
            members[:] = with_first_ids(members, connection)
            _make_tables(members, connection)

        engine = OpenEngine(
            path.name,
            make,
            directories=[member.path for member in members],
            events=sum(member.manifest.totals.get("events", 0) for member in members),
            memory_limit=memory_limit,
            threads=threads,
        )
        return cls(path, members, engine)

    @property
    def columns(self) -> dict[str, Columns]:
        """The columns of the tables, by name: those of one capture, ids as int64."""
        return columns_of_many(labelled=False)

    @property
    def stores(self) -> list[tuple[Path, Manifest]]:
        """The directory and the manifest of each capture."""
        return [(member.path, member.manifest) for member in self.members]

    def users_by_store(self) -> list[tuple[User, ...]]:
        """Return the users of each capture."""
        if self._users_by_store is None:
            self._users_by_store = super().users_by_store()
        return self._users_by_store

    def first_ids(self, kind: str) -> list[int]:
        """Return the first id of a kind in each capture."""
        return [member.first[kind] for member in self.members]

    def relation(self, name: str) -> Relation:
        """Return a table of all captures, without the columns `host` and `capture`."""
        return Relation.of_table(f"{HELPERS}.{name}", self.columns[name])

    def labelled_relation(self, name: str) -> Relation:
        """Return a table of all captures, with the columns `host` and `capture` first."""
        shown = NAMED_EVENTS if name == "events" else f"main.{name}"
        return Relation.of_table(shown, columns_of_many(labelled=True)[name])

    def each(self, filters: Filters) -> "Sequence[QueryContext]":
        """Return the captures to query separately: those that contain the requested keys; one where none does."""
        numbered = list(enumerate(self.members))
        if filters.key is not None:
            own = self._own_keys(self._numbers(self.key_ids(filters)))
            numbered = [item for item, ids in zip(numbered, own, strict=True) if len(ids)] or numbered[:1]
        return [MemberContext(self, number) for number, _ in numbered]

    def labelled(self, rows: "pa.Table") -> "pa.Table":
        """Return the rows of an answer with the columns `host` and `capture` first.

        They are NULL where no id in the row says which capture it is of; an answer without ids stays as it is.
        """
        return label_rows(super().labelled(rows), self.members)

    def with_hosts(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return the batches of somebody's own SQL with the columns `host` and `capture` first; see `labelled`."""
        return label_batches(rows, self.members)

    def labelled_batches(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return the batches of an answer with the columns `host` and `capture` first; see `labelled`."""
        return self.with_hosts(by_batch(rows, lambda batch: with_key_users(batch, lambda: self.users)))

    def rows(self, filters: Filters, *, joined: bool = False) -> Relation:
        """Return the event rows that fit the filters, in no order; arguments as of `QueryContext.rows`."""
        found = super().rows(filters, joined=joined)
        return found.select(*(name for name in found.names if name not in LABELS))

    def timeline_rows(self, filters: Filters) -> Relation:
        """Return the rows of a timeline, with the columns `host` and `capture` first."""
        return super().rows(filters, joined=True)

    def info(self) -> dict[str, Any]:
        """Return the facts of the captures as JSON values; `captures` lists them."""
        facts = super().info()
        with engine_errors():
            facts["captures"] = answer(self.engine, "SELECT * FROM captures").to_pylist()
        return facts

    def source_of(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        """Return event rows that include all rows of some keys, without captures that lack these keys.

        An engine does not undo the shift of an id to find its rows in the parts, so it is undone here.
        """
        name = "events" if joined else "stored_events"
        if key_ids is None:
            return self.labelled_relation(name)
        slices = [
            _member_scan(member, "events", _near(own))
            for member, own in zip(self.members, self._own_keys(self._numbers(key_ids)), strict=True)
            if len(own)
        ]
        if not slices:
            return self.labelled_relation(name)
        columns = columns_of_many(labelled=True)
        rows = self.engine.view("rows", _union(slices), columns["stored_events"])
        return _joined(rows, self) if joined else rows

    def views_of(self, number: int) -> str:
        """Create the tables of one capture in the engine, with shifted ids; return the prefix of their names."""
        prefix, member = f"alone_{number}_", self.members[number]

        def make(_: str) -> None:
            for name, table in TABLES.items():
                columns = ", ".join(map(identifier, table.names))
                query = f"SELECT {columns} FROM ({_member_scan(member, name)})"
                self.engine.con.execute(f"CREATE VIEW {HELPERS}.{prefix}{stored_name(name)} AS {query}")
            plain = columns_of_many(labelled=False)
            relations = [
                Relation.of_table(f"{HELPERS}.{prefix}{name}", plain[name])
                for name in ("stored_events", "keys", "processes")
            ]
            self.engine.con.execute(f"CREATE VIEW {HELPERS}.{prefix}events AS {joined(*relations).sql}")

        self.engine.named("alone", prefix, make, ())
        return prefix

    def condition_of(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys that some texts name; each capture has its own links and users."""
        last = [*(member.first["key_id"] - 1 for member in self.members[1:]), 2**63 - 1]
        by_condition: dict[str, list[str]] = {}
        for number, (member, end) in enumerate(zip(self.members, last, strict=True)):
            ids = range(member.first["key_id"], end + 1)
            condition = self._condition_in(number, ids, texts, subtree, user)
            by_condition.setdefault(condition, []).append(f"key_id BETWEEN {ids[0]} AND {end}")
        if len(by_condition) == 1:
            return f"({next(iter(by_condition))})"
        own = (f"(({condition}) AND ({' OR '.join(places)}))" for condition, places in by_condition.items())
        return f"({' OR '.join(own)})"

    def _condition_in(
        self, number: int, ids: range, texts: Sequence[str], subtree: bool, user: str | None
    ) -> str:
        """Return the condition of the capture with this number, whose keys have these ids."""

        def sids(word: str | None) -> list[str]:
            own = merged_users(self.path.name, [self.users_by_store()[number]], nameless=False)
            asked = word or user
            if asked is None:
                return [one.sid for one in own.people]
            self.users.meant(asked)  # one that no capture has is a mistake
            return [one.sid for one in own.called(asked)]

        return key_condition(
            texts,
            subtree,
            control_set=self.members[number].manifest.control_set,
            shows_user=self.members[number].manifest.shows_user,
            sids=sids,
            path_of=lambda key_id: self.path_of(key_id) if key_id in ids else None,
        )

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        return self.source_of(key_ids, joined=joined)

    def _fitting(self, condition: str) -> Relation:
        return Relation.of_table(super()._fitting(condition).name, columns_of_many(labelled=True)["events"])

    def key_condition(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys that one of some texts names."""
        return self.condition_of(texts, subtree, user)

    def _numbers(self, key_ids: list[int] | Relation | None) -> np.ndarray:
        """Return ids, or those of a relation, in order."""
        if isinstance(key_ids, Relation):
            return np.sort(self.engine.fetch(key_ids).column(0).to_numpy().astype(np.int64))
        return np.sort(np.asarray(key_ids or [], np.int64))

    def _own_keys(self, key_ids: np.ndarray) -> list[np.ndarray]:
        """Return the ids of keys by capture, as its parts store them, in order."""
        first = [member.first["key_id"] for member in self.members]
        places = np.searchsorted(key_ids, [*first[1:], 2**63 - 1])
        return [part - start for part, start in zip(np.split(key_ids, places[:-1]), first, strict=True)]


class MemberContext(QueryContext):
    """One capture of a dataset by itself, without the rows of others. It has the dataset's ids and engine."""

    def __init__(self, dataset: DatasetContext, number: int) -> None:
        member = dataset.members[number]
        super().__init__(member.path, member.manifest, dataset.engine)
        self._dataset, self._number = dataset, number
        self._prefix = dataset.views_of(number)
        after = dataset.members[number + 1].first if number + 1 < len(dataset.members) else None
        self._sequences, self._keys = (
            (member.first[kind], 2**63 - 1 if after is None else after[kind] - 1)
            for kind in ("sequence", "key_id")
        )

    @property
    def columns(self) -> dict[str, Columns]:
        """The columns of the tables, by name."""
        return self._dataset.columns

    def relation(self, name: str) -> Relation:
        """Return a table of this capture."""
        return Relation.of_table(f"{HELPERS}.{self._prefix}{name}", self.columns[name])

    def users_by_store(self) -> list[tuple[User, ...]]:
        """Return the users of this capture."""
        return [self._dataset.users_by_store()[self._number]]

    def span(self) -> tuple[int, int] | None:
        """Return the times of the first and the last event of the whole dataset; relative times refer to them."""
        return self._dataset.span()

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        if key_ids is None:
            return super()._source(key_ids, joined=joined)
        return _without_labels(self._dataset.source_of(key_ids, joined=joined))

    def _fitting(self, condition: str) -> Relation:
        rows = _without_labels(self._dataset._fitting(condition))
        first, last = self._sequences
        return Relation(
            f"SELECT * FROM {rows.source} WHERE sequence BETWEEN {first} AND {last}", rows.columns
        )

    def key_condition(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys of this capture that one of some texts names."""
        own = self._dataset.condition_of(texts, subtree, user)
        return f"(({own}) AND key_id BETWEEN {self._keys[0]} AND {self._keys[1]})"


def _make_tables(members: Sequence[Member], connection: "duckdb.DuckDBPyConnection") -> None:
    """Create the tables of all captures in the engine."""
    for name in TABLES:
        union = _union([_member_scan(member, name) for member in members])
        connection.execute(f"CREATE VIEW {stored_name(name)} AS {union}")
    labelled, plain = (columns_of_many(labelled=one) for one in (True, False))
    events, keys, processes = (
        Relation.of_table(f"main.{name}", labelled[name]) for name in ("stored_events", "keys", "processes")
    )
    create_events(connection, joined(events, _without_labels(keys), _without_labels(processes), first=LABELS))
    # What questions are asked of: the columns of one capture.
    for name, columns in plain.items():
        listed = ", ".join(identifier(column) for column, _ in columns)
        rows = NAMED_EVENTS if name == "events" else f"main.{name}"
        connection.execute(f"CREATE VIEW {HELPERS}.{name} AS SELECT {listed} FROM {rows}")
    connection.execute(f"CREATE TABLE captures AS {_captures_query(members)}")


def _joined(rows: Relation, dataset: DatasetContext) -> Relation:
    return joined(rows, dataset.relation("keys"), dataset.relation("processes"), first=LABELS)


def _without_labels(rows: Relation) -> Relation:
    return rows.select(*(name for name in rows.names if name not in LABELS))


def _member_scan(member: Member, name: str, condition: str = "true") -> str:
    """Return the query that reads a table of one capture, with its labels and with shifted ids."""
    table = TABLES[name]
    columns = [f"{quoted(getattr(member, label))} AS {label}" for label in LABELS]
    for column in map(identifier, table.names):
        kind = IDS[name].get(column.strip('"'))
        columns.append(
            f"own.{column}" if kind is None else f"own.{column}::BIGINT + {member.first[kind]} AS {column}"
        )
    source = scan(table, table_files(member.path.absolute(), member.manifest)[name], member.manifest)
    return f"SELECT {', '.join(columns)} FROM ({source}) AS own WHERE {condition}"


def _union(queries: Sequence[str]) -> str:
    """Return one query for the rows of all, nested by halves: engines limit the depth of a query."""
    if len(queries) <= 2:
        return " UNION ALL ".join(queries)
    half = len(queries) // 2
    return f"({_union(queries[:half])}) UNION ALL ({_union(queries[half:])})"


def _near(key_ids: np.ndarray) -> str:
    """Return the condition for keys that are in a list, or between its members."""
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
