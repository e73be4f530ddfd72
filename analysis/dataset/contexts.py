"""Contexts of a dataset: all its captures, or one of them.

Ids are shifted by one constant a capture (`analysis.engine.columns`), so nothing of one host meets anything of another, and
the functions that answer questions need not know that there are several.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from analysis.dataset.clocks import Stretch, stretches
from analysis.dataset.labels import label_batches, label_rows
from analysis.dataset.members import Captures, Member, load_members, merged
from analysis.dataset.scans import near, scan_of, with_first_ids, write_forms
from analysis.engine.columns import (
    KINDS,
    LABELS,
    SHOWN_COLUMNS,
    columns_of_many,
    joined,
    stored_name,
)
from analysis.engine.connection import HELPERS, answer, engine_errors
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, arrow_schema, identifier
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.evidence import step_ns
from analysis.questions.key_conditions import key_condition
from analysis.questions.users import User, by_batch, merged_users, with_key_users
from tracer.registry.text import escape_argument
from tracer.schema import TABLES
from tracer.store.manifest import Manifest
from tracer.store.reader import rows_in

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["DatasetContext", "MembersContext"]

_SHIFTED = KINDS[:-1]  # source_id is told by `sources` of the manifest
_LAST = 2**63 - 1  # id
_EVENTS_TOGETHER = 6_000_000  # of captures that are asked at once
_MOST_TABLES = 20  # captures whose few rows may stand in memory together
_FEW_SCANS = 8  # captures each of which is searched for its own keys; more of them are searched at once


class DatasetContext(QueryContext):
    """Several captures on one engine.

    Attributes:
        members: the captures, in order.
    """

    event_columns = (*LABELS, *SHOWN_COLUMNS)

    def __init__(self, path: Path, members: Sequence[Member], engine: OpenEngine, forms: Path) -> None:
        super().__init__(path, merged(members), engine)
        self.members = tuple(members)
        self._forms = forms
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

        forms = Path()

        def make(connection: "duckdb.DuckDBPyConnection", folder: Path) -> None:
            nonlocal forms
            forms = folder
            write_forms(connection, folder)
            members[:] = with_first_ids(members, connection, folder)
            _make_tables(members, connection, folder)

        engine = OpenEngine(
            path.name,
            make,
            directories=[member.path for member in members],
            events=sum(member.manifest.totals.get("events", 0) for member in members),
            memory_limit=memory_limit,
            threads=threads,
            named_events=_named_events,
        )
        return cls(path, members, engine, forms)

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
        if name == "events":
            return self.engine.view(
                "events", _without_labels(self.labelled_relation(name)).sql, self.columns[name]
            )
        return Relation.of_table(f"{HELPERS}.{name}", self.columns[name])

    def labelled_relation(self, name: str) -> Relation:
        """Return a table of all captures, with the columns `host` and `capture` first."""
        shown = self.engine.named_events() if name == "events" else f"main.{name}"
        return Relation.of_table(shown, columns_of_many(labelled=True)[name])

    def each(self, filters: Filters) -> "Sequence[QueryContext]":
        """Return the captures to query separately: those that contain the requested keys; one where none does."""
        return [MembersContext(self, [number]) for number in self._having_keys(filters)]

    def groups(
        self, filters: Filters, alike: Callable[[Manifest], Hashable | None]
    ) -> "Sequence[QueryContext]":
        """Return the captures of `each`, those together of which `alike` says the same; None: by itself.

        Not more of them than a question may hold rows of in memory.
        """
        groups: dict[Hashable, list[list[int]]] = {}
        left: dict[Hashable, int] = {}  # of the newest group
        for number in self._having_keys(filters):
            manifest = self.members[number].manifest
            said = alike(manifest)
            kind = (number if said is None else None, said)
            events = rows_in(manifest, "events")
            if left.get(kind, 0) < events or kind not in groups:
                groups.setdefault(kind, []).append([])
                left[kind] = _EVENTS_TOGETHER
            groups[kind][-1].append(number)
            left[kind] -= events
        made = [MembersContext(self, numbers) for some in groups.values() for numbers in some]
        return [one for some in made for one in (some.apart() if some.clock is None else [some])]

    def _having_keys(self, filters: Filters) -> list[int]:
        """Return the numbers of the captures that contain the requested keys; one where none does."""
        numbers = list(range(len(self.members)))
        if filters.key is None:
            return numbers
        own = self._own_keys(self._numbers(self.key_ids(filters)))
        return [number for number, ids in zip(numbers, own, strict=True) if len(ids)] or numbers[:1]

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
        asked = [
            (member, own)
            for member, own in zip(self.members, self._own_keys(self._numbers(key_ids)), strict=True)
            if len(own)
        ]
        if not asked:
            return self.labelled_relation(name)
        if len(asked) <= _FEW_SCANS:
            scans = [scan_of([member], "events", self._forms, near(own)) for member, own in asked]
        else:
            some = np.unique(np.concatenate([own for _, own in asked]))
            scans = [scan_of([member for member, _ in asked], "events", self._forms, near(some))]
        columns = columns_of_many(labelled=True)
        rows = self.engine.view("rows", " UNION ALL ".join(scans), columns["stored_events"])
        return _joined(rows, self) if joined else rows

    def relation_of(
        self, numbers: Sequence[int], name: str, clock: Sequence[Stretch] | None = None
    ) -> Relation:
        """Return a table of some captures, with shifted ids; `clock` as of `analysis.dataset.scans.scan_of`."""
        if name == "events":
            parts = (self.relation_of(numbers, part) for part in ("stored_events", "keys", "processes"))
            sql = joined(*parts).sql
        else:
            table = "events" if name == stored_name("events") else name
            columns = ", ".join(map(identifier, TABLES[table].names))
            some = [self.members[number] for number in numbers]
            sql = f"SELECT {columns} FROM ({scan_of(some, table, self._forms, clock=clock)})"
        return self.engine.view("alone", sql, self.columns[name])

    def condition_of(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys that some texts name; each capture has its own links and users."""
        last = [*(member.first["key_id"] - 1 for member in self.members[1:]), _LAST]
        by_condition: dict[str, list[str]] = {}
        for number, (member, end) in enumerate(zip(self.members, last, strict=True)):
            ids = range(member.first["key_id"], end + 1)
            condition = self._condition_in(number, ids, texts, subtree, user)
            by_condition.setdefault(condition, []).append(f"key_id BETWEEN {ids.start} AND {end}")
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
        places = np.searchsorted(key_ids, [*first[1:], _LAST])
        return [part - start for part, start in zip(np.split(key_ids, places[:-1]), first, strict=True)]


class MembersContext(QueryContext):
    """Some captures of a dataset by themselves, without the rows of others. They have the dataset's ids and engine."""

    def __init__(self, dataset: DatasetContext, numbers: Sequence[int]) -> None:
        self.members = tuple(dataset.members[number] for number in numbers)
        is_one = len(numbers) == 1
        self._is_whole = len(numbers) == len(dataset.members)
        path = self.members[0].path if is_one else dataset.path
        manifest = (
            self.members[0].manifest
            if is_one
            else dataset.manifest
            if self._is_whole
            else merged(self.members)
        )
        super().__init__(path, manifest, dataset.engine)
        self._dataset, self._numbers = dataset, tuple(numbers)
        self.few_rows = self.few_rows * min(len(numbers), _MOST_TABLES)

    @property
    def columns(self) -> dict[str, Columns]:
        """The columns of the tables, by name."""
        return self._dataset.columns

    @property
    def stores(self) -> list[tuple[Path, Manifest]]:
        """The directory and the manifest of each capture."""
        return [(member.path, member.manifest) for member in self.members]

    def relation(self, name: str) -> Relation:
        """Return a table of these captures."""
        if self._is_whole:
            return self._dataset.relation(name)
        return self._dataset.relation_of(self._numbers, name)

    def first_ids(self, kind: str) -> list[int]:
        """Return the first id of a kind in each capture."""
        return [member.first[kind] for member in self.members]

    def users_by_store(self) -> list[tuple[User, ...]]:
        """Return the users of each capture."""
        every = self._dataset.users_by_store()
        return [every[number] for number in self._numbers]

    def span(self) -> tuple[int, int] | None:
        """Return the times of the first and the last event of the whole dataset; relative times refer to them."""
        return self._dataset.span()

    @cached_property
    def clock(self) -> list[Stretch] | None:
        """The stretches of time in which the captures follow each other; None where they are too long together."""
        return stretches(self.members, step_ns(self))

    def apart(self) -> "Sequence[MembersContext]":
        """Return each of the captures by itself."""
        return [MembersContext(self._dataset, [number]) for number in self._numbers]

    def clocked(self, rows: Relation) -> Relation:
        """Return event rows, or losses, with times that follow each other (`analysis.dataset.clocks`)."""
        if self.clock is None or len(self.members) == 1:
            return rows
        for name in ("stored_events", "losses"):
            if rows == self.relation(name):
                return self._dataset.relation_of(self._numbers, name, self.clock)
        begins = [
            {"begins": member.first["sequence"], **stretch._asdict()}
            for member, stretch in zip(self.members, self.clock, strict=True)
            if member.manifest.parts
        ]
        kinds = tuple((name, "int64") for name in ("begins", *Stretch._fields))

        def listed() -> "pa.Table":
            import pyarrow as pa

            return pa.Table.from_pylist(begins, arrow_schema(kinds))

        some = self.engine.hold("clock", repr(begins), listed, kinds)
        others = ", ".join(f"own.{identifier(name)}" for name in rows.names if name != "time_ns")
        times = "greatest(least(own.time_ns, last), first) + shift AS time_ns"
        sql = f"SELECT {others}, {times} FROM {rows.source} AS own ASOF JOIN {some.source} ON own.sequence >= begins"
        moved = Relation(f"SELECT {', '.join(map(identifier, rows.names))} FROM ({sql})", rows.columns)
        return self.engine.keep("clocked", moved) if rows.name else moved

    def kept(
        self, events: Relation, sift: Callable[[Relation], Relation], columns: Sequence[str]
    ) -> Relation:
        """Return as of `QueryContext.kept`; of many captures by one search, for rows are not found by their sequence."""
        if len(self.members) == 1:
            return super().kept(events, sift, columns)
        return self.engine.keep("kept", sift(events).select(*columns))

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        if key_ids is None:
            return super()._source(key_ids, joined=joined)
        return _without_labels(self._dataset.source_of(key_ids, joined=joined))

    def _fitting(self, condition: str) -> Relation:
        rows = _without_labels(self._dataset._fitting(condition))
        if self._is_whole:
            return rows
        return Relation(f"SELECT * FROM {rows.source} WHERE {self._own('sequence')}", rows.columns)

    def key_condition(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys of these captures that one of some texts names."""
        condition = self._dataset.condition_of(texts, subtree, user)
        return condition if self._is_whole else f"(({condition}) AND {self._own('key_id')})"

    def _own(self, kind: str) -> str:
        """Return the condition for ids of these captures: they follow each other, so each range is of neighbours."""
        ranges: list[tuple[int, int]] = []
        for number in self._numbers:
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        every = self._dataset.members
        ends = (
            (every[first].first[kind], every[last + 1].first[kind] - 1 if last + 1 < len(every) else _LAST)
            for first, last in ranges
        )
        return f"({' OR '.join(f'{kind} BETWEEN {first} AND {last}' for first, last in ends)})"


def _make_tables(members: Sequence[Member], connection: "duckdb.DuckDBPyConnection", forms: Path) -> None:
    """Create the tables of all captures in the engine."""
    for name in TABLES:
        connection.execute(f"CREATE VIEW {stored_name(name)} AS {scan_of(members, name, forms)}")
        # What questions are asked of: the columns of one capture.
        columns = ", ".join(map(identifier, TABLES[name].names))
        connection.execute(
            f"CREATE VIEW {HELPERS}.{stored_name(name)} AS SELECT {columns} FROM main.{stored_name(name)}"
        )
    connection.register("given_rows", _captures_table(members))
    connection.execute("CREATE TABLE captures AS FROM given_rows")
    connection.unregister("given_rows")


def _named_events() -> Relation:
    """Return the event rows of all captures with the names joined."""
    labelled = columns_of_many(labelled=True)
    events, keys, processes = (
        Relation.of_table(f"main.{name}", labelled[name]) for name in ("stored_events", "keys", "processes")
    )
    return joined(events, _without_labels(keys), _without_labels(processes), first=LABELS)


def _joined(rows: Relation, dataset: DatasetContext) -> Relation:
    return joined(rows, dataset.relation("keys"), dataset.relation("processes"), first=LABELS)


def _without_labels(rows: Relation) -> Relation:
    return rows.select(*(name for name in rows.names if name not in LABELS))


def _captures_table(members: Sequence[Member]) -> "pa.Table":
    """Return the rows of the table `captures`."""
    import pyarrow as pa

    rows = []
    for member in members:
        manifest = member.manifest
        first = min((part["first_ns"] for part in manifest.parts), default=None)
        last = max((part["last_ns"] for part in manifest.parts), default=None)
        counts = {name: manifest.totals.get(name) for name in ("events", "keys", "processes")}
        rows.append(
            {label: getattr(member, label) for label in LABELS}
            | {"path": escape_argument(str(member.path))}
            | {name: number if type(number) is int else None for name, number in counts.items()}
            | {"windows_build": manifest.windows_build, "control_set": manifest.control_set}
            | {"complete": manifest.complete}
            | {"first_time": first and first // 1000, "last_time": last and last // 1000}
            | {f"first_{kind}": member.first[kind] for kind in _SHIFTED}
        )
    kinds = {name: pa.int64() for name in rows[0]}
    kinds |= dict.fromkeys((*LABELS, "path"), pa.string()) | {"complete": pa.bool_()}
    kinds |= dict.fromkeys(("first_time", "last_time"), pa.timestamp("us", "UTC"))
    return pa.Table.from_pylist(rows, pa.schema(list(kinds.items())))
