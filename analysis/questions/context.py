"""The context of questions: the tables of an open capture, and the rows that fit filters.

A question (`analysis.questions`) turns a context and filters into a `analysis.questions.query.Query`. Contexts of several
captures are in `analysis.dataset`.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.engine.columns import SHOWN_COLUMNS, columns_of_one
from analysis.engine.connection import answer, engine_errors, events_of_one, make_tables
from analysis.engine.open_engine import OpenEngine
from analysis.engine.phrases import Value, phrase
from analysis.engine.relation import Columns, Relation
from analysis.filters import Filters
from analysis.questions.class_names import Names, find_class_names
from analysis.questions.key_conditions import key_condition, key_number, literal
from analysis.questions.users import User, Users, by_batch, find_users, merged_users, with_key_users
from analysis.times import parse_time
from tracer.errors import UsageError
from tracer.registry.terms import operation_cases, process_regex, status_words
from tracer.registry.user_keys import user_root
from tracer.schema import USAGE
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["QueryContext", "SingleContext"]

_FEW_KEYS = 16  # up to so many ids go into the query as a list, which prunes row groups; more are joined
_FILTERS = "analysis.expressions.row_filters"


class QueryContext:
    """One or several captures on one engine.

    Attributes:
        path: the directory, or what the user named.
        manifest: what `capture.json` says; of several captures, of all together.
        engine: the engine, which reads nothing outside the captures.
        event_columns: the columns of a timeline.
        few_rows: so many event rows are worth a table of their own in memory.
    """

    event_columns: tuple[str, ...] = SHOWN_COLUMNS
    few_rows = 100_000

    def __init__(self, path: Path, manifest: Manifest, engine: OpenEngine) -> None:
        self.path = path
        self.manifest = manifest
        self.engine = engine

    @cached_property
    def users(self) -> Users:
        """The users whose keys the captures hold; they are looked for once."""
        nameless = any(manifest.shows_user for _, manifest in self.stores)
        return merged_users(self.path.name, self.users_by_store(), nameless=nameless)

    @cached_property
    def class_names(self) -> Names:
        """The names of COM classes that the captures tell; they are looked for once."""
        return find_class_names(self)

    def users_sentence(self, filters: Filters) -> str | None:
        """Return the sentence that says whose keys HKCU and HKCR are; None where no key begins so."""
        return self.users.sentence(filters) if any(map(user_root, filters.keys)) else None

    def users_by_store(self) -> list[tuple[User, ...]]:
        """Return the users of each capture of `stores`."""
        return find_users(self)

    def first_ids(self, kind: str) -> list[int]:
        """Return the first id of a kind (`analysis.engine.columns.KINDS`) in each capture of `stores`."""
        del kind
        return [0]

    @property
    def columns(self) -> dict[str, Columns]:
        """The columns of the tables, by name."""
        return columns_of_one()

    @property
    def stores(self) -> list[tuple[Path, Manifest]]:
        """The directory of each capture and its manifest."""
        return [(self.path, self.manifest)]

    def relation(self, name: str) -> Relation:
        """Return a stored table (the event rows are `stored_events`), or `events`, with the names joined."""
        return Relation.of_table(self.engine.named_events() if name == "events" else name, self.columns[name])

    def traced_events(self) -> Relation:
        """Return the stored event rows; without a baseline, which may stand before them (`analysis.questions.baseline`)."""
        return self.relation("stored_events")

    def each(self, filters: Filters) -> "Sequence[QueryContext]":
        """Return the captures to query separately: in a dataset, those that contain the requested keys."""
        del filters
        return [self]

    def groups(
        self, filters: Filters, alike: "Callable[[Manifest], Hashable | None]"
    ) -> "Sequence[QueryContext]":
        """Return the captures of `each`, in a dataset those together of which `alike` says the same; None: by itself."""
        del alike
        return self.each(filters)

    def clocked(self, rows: Relation) -> Relation:
        """Return event rows, or losses, such that no two captures share a time; those of one capture stay as they are."""
        return rows

    def places(self, ids: Sequence[int | None], kind: str) -> list[int]:
        """Return which of `stores` each id of a kind is of; the first where there is none."""
        first = self.first_ids(kind)
        return [0 if one is None else bisect_right(first, one) - 1 for one in ids]

    def labelled(self, rows: "pa.Table") -> "pa.Table":
        """Return the rows of an answer with whose key each is about; in a dataset, `host` and `capture` come first."""
        return with_key_users(rows, lambda: self.users)

    def with_hosts(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return the batches of somebody's own SQL; in a dataset, with the columns `host` and `capture` first."""
        return rows

    def labelled_batches(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return the batches of an answer with what `labelled` adds to its rows."""
        return by_batch(rows, self.labelled)

    def span(self) -> tuple[int, int] | None:
        """Return the times (UTC nanoseconds) of the first and the last event; None where there is none."""
        parts = self.manifest.parts
        if not parts:
            return None
        return min(part["first_ns"] for part in parts), max(part["last_ns"] for part in parts)

    def interval(self, filters: Filters) -> tuple[int | None, int | None]:
        """Return the first and last time (UTC nanoseconds, inclusive) of a filter; None where it has none.

        Raises:
            UsageError: a time cannot be understood.
        """
        first_ns, last_ns = self.span() or (None, None)
        start_ns, end_ns = (
            None
            if time is None
            else _in_range(parse_time(time, first_ns=first_ns, last_ns=last_ns, end=is_end))
            for time, is_end in ((filters.start, False), (filters.end, True))
        )
        return start_ns, end_ns

    def rows(self, filters: Filters, *, joined: bool = False) -> Relation:
        """Return the event rows that fit the filters, in no order.

        Args:
            filters: the filters of the rows.
            joined: with the names joined (the columns of `events`), or as stored; rows chosen by a
                condition (`filters.where`) have the names joined in any case.

        Raises:
            UsageError: a filter cannot be understood.
        """
        processes = self._processes(filters)
        start_ns, end_ns = self.interval(filters)
        key_ids = self.key_ids(filters)
        if filters.where is None:
            found = self._source(key_ids, joined=joined)
        else:
            found = self._fitting(filters.where)
        if isinstance(key_ids, list):
            found = _of_key_ids(found, key_ids)
        found = self._of_columns(found, filters)
        if filters.noise is False:
            found = _filtered(found, "without_noise")
        if start_ns is not None or end_ns is not None:
            found = _filtered(found, "between", values={"start_ns": start_ns, "end_ns": end_ns})
        if isinstance(key_ids, Relation):
            found = _filtered(found, "of_keys", keys=key_ids)
        return found if processes is None else _filtered(found, "of_processes", processes=processes)

    def timeline_rows(self, filters: Filters) -> Relation:
        """Return the rows of a timeline in no order, with the columns `event_columns` but those made of values."""
        return self.rows(filters, joined=True)

    def usage(self, filters: Filters) -> Relation | None:
        """Return the stored sums of the requested keys (the table `usage`), up to two rows a key.

        None where it has not, or where filters choose among the events of a key.
        """
        if filters != filters.of_keys() or not all(
            manifest.has_table(USAGE.name) for _, manifest in self.stores
        ):
            return None
        found, key_ids = self.relation(USAGE.name), self.key_ids(filters)
        if filters.noise is False:
            found = Relation(f"SELECT * FROM {found.source} WHERE NOT noise", found.columns)
        if key_ids is None:
            return found
        return (
            _filtered(found, "of_keys", keys=key_ids)
            if isinstance(key_ids, Relation)
            else _of_key_ids(found, key_ids)
        )

    def has_key(self, text: str, *, subtree: bool = False, user: str | None = None) -> bool:
        """Tell whether the capture has a key, or one that a pattern fits.

        Raises:
            UsageError: the key cannot be understood.
        """
        query = f"SELECT count(*) FROM keys WHERE {self.key_condition([text], subtree, user)}"
        with engine_errors("the key cannot be looked up"):
            return bool(answer(self.engine, query).column(0)[0].as_py())

    def has_process(self, filters: Filters) -> bool:
        """Tell whether a process fits the filters; True where they have no process."""
        processes = self._processes(filters)
        return processes is None or not self.engine.is_empty(processes)

    def has_many_rows(self, filters: Filters, many: int) -> bool:
        """Tell whether at least so many event rows fit the filters; without a filter the manifest says it."""
        if sum(part["rows"] for part in self.manifest.parts) < many:
            return False
        return filters == Filters() or self.engine.count(self.rows(filters)) >= many

    def few(self, events: Relation) -> Relation:
        """Return event rows, from a temporary table where they are few, for callers that read them several times."""
        some = self.engine.keep("few", events.limit(self.few_rows + 1))
        return some if self.engine.count(some) <= self.few_rows else events

    def kept(
        self, events: Relation, sift: Callable[[Relation], Relation], columns: Sequence[str]
    ) -> Relation:
        """Return some columns of the few event rows that `sift` selects, from a temporary table; they are searched once."""
        # By sequence first: an engine that sifts rows reads every column that it is to return of them.
        few = self.engine.keep("few", sift(events).select("sequence"))
        chosen = events.select(*columns)
        if self.engine.is_empty(few):
            return self.engine.keep("kept", Relation(f"{chosen.sql} WHERE false", chosen.columns))
        asked = f"{chosen.sql} WHERE sequence IN (SELECT sequence FROM {few.source})"
        return self.engine.keep("kept", Relation(asked, chosen.columns))

    def operations(self) -> frozenset[str]:
        """Return the names of the operations that occur: from the manifest, or by one search."""
        counted: list[dict[str, int] | None] = [
            manifest.totals.get("operations") for _, manifest in self.stores
        ]
        if None not in counted:
            return frozenset(name for counts in counted for name in counts or ())
        events = self.relation("stored_events")
        query = Relation(f"SELECT DISTINCT operation FROM {events.source}", (("operation", "string"),))
        return frozenset(self.engine.fetch(self.engine.keep("operations", query)).column(0).to_pylist())

    def info(self) -> dict[str, Any]:
        """Return the facts of the capture as JSON values: the manifest, losses and diagnostics."""
        facts = self.manifest.as_dict()
        for name in ("losses", "diagnostics"):
            with engine_errors():
                facts[name] = answer(self.engine, f"SELECT * FROM {name}").to_pylist()
        return facts

    def key_ids(self, filters: Filters) -> list[int] | Relation | None:
        """Return the requested keys and all keys grouped with them; None for every key.

        A list where they are few, else a relation with the column `key_id`.
        """
        if filters.user is not None and not any(map(user_root, filters.keys)):
            raise UsageError(
                f"the user {filters.user} says whose HKCU or HKCR is meant, and no key begins with these; for what a user's "
                "processes did, ask for the column user (--where)"
            )
        if filters.key is None:
            return None
        condition = self.key_condition(filters.keys, filters.subtree, filters.user)
        same = f"SELECT same_as FROM keys WHERE {condition}"
        query = f"SELECT key_id FROM keys WHERE same_as IN ({same}) ORDER BY key_id"
        kinds = dict(self.relation("keys").columns)
        with engine_errors("the key pattern cannot be used"):
            found = self.engine.keep("keys", Relation(query, (("key_id", kinds["key_id"]),)))
            some = f"SELECT key_id FROM {found.source} LIMIT {_FEW_KEYS + 1}"
            ids: list[int] = answer(self.engine, some).column(0).to_pylist()
        return ids if len(ids) <= _FEW_KEYS else found

    def _processes(self, filters: Filters) -> Relation | None:
        """Return the processes that fit by image, pid or ancestor; None for every process."""
        if filters.process is None and filters.pid is None and filters.process_tree is None:
            return None
        found = self.relation("processes")
        if filters.process_tree is not None:
            found = _with_descendants(_of_process(found, filters.process_tree), found)
        if filters.process is not None:
            found = _of_process(found, filters.process)
        if filters.pid is not None:
            found = _of_pids(found, [filters.pid] if isinstance(filters.pid, int) else filters.pid)
        return found

    def _of_columns(self, rows: Relation, filters: Filters) -> Relation:
        """Return the rows that fit the filters of values, operations and statuses."""
        if filters.value_regex is not None:
            rows = _filtered(rows, "of_value", values={"regex": filters.value_regex})
        cases = operation_cases(filters.operation)
        if cases is not None:
            some = tuple(case for case in cases if case.conditions)
            whole = [name for case in cases if not case.conditions for name in case.operations]
            rows = _filtered(
                rows, "of_operations", options={"cases": some}, values={"operations": whole or None}
            )
        if filters.status is not None:
            words = status_words(filters.status)
            options = {"success": words.success, "failure": words.failure}
            rows = _filtered(rows, "of_statuses", options=options, values={"codes": words.codes or None})
        return rows

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        """Return event rows that include all rows of some keys; None: all rows."""
        del key_ids  # an engine finds the rows of a key by itself: they stand together in the parts
        return self.relation("events" if joined else "stored_events")

    def _fitting(self, condition: str) -> Relation:
        """Return the rows of `events` that fit a user's SQL condition."""
        from analysis.engine.user_sql import condition_view

        return self.engine.named(
            "where",
            condition,
            lambda name: condition_view(self.engine, name, condition),
            self.columns["events"],
        )

    def key_condition(self, texts: Sequence[str], subtree: bool, user: str | None) -> str:
        """Return the SQL condition for the keys that one of some texts names."""
        return key_condition(
            texts,
            subtree,
            control_set=self.manifest.control_set,
            shows_user=self.manifest.shows_user,
            sids=lambda word: [each.sid for each in self.users.meant(word or user)],
            path_of=self.path_of,
        )

    def literal_key(self, text: str) -> str:
        """Return a key as a text that needs no capture: in place of a short id, the path that it stands for.

        Raises:
            UsageError: there is no such id, or there are several captures, of which an id names a key of one.
        """
        number = key_number(text)
        if number is None:
            return text
        path = self.path_of(number)
        if path is None or len(self.stores) > 1:
            why = "it has no such id" if path is None else "an id is of one capture, and here are several"
            raise UsageError(f"the key {text} of {self.path.name} cannot be told: {why}")
        return literal(path)

    def path_of(self, key_id: int) -> str | None:
        """Return the display path of a key; None where there is no such key."""
        with engine_errors():
            found = answer(self.engine, f"SELECT display_path FROM keys WHERE key_id = {int(key_id)}")
        return found.column(0)[0].as_py() if found.num_rows else None


class SingleContext(QueryContext):
    """One capture."""

    @classmethod
    def open(
        cls, path: Path, manifest: Manifest, *, memory_limit: str, threads: int | None
    ) -> "SingleContext":
        """Open a capture; the arguments are those of `analysis.open.open_capture`."""

        def make(connection: "duckdb.DuckDBPyConnection", _: Path) -> None:
            make_tables(connection, table_files(path.absolute(), manifest), manifest)

        engine = OpenEngine(
            path.name,
            make,
            directories=[path],
            events=manifest.totals.get("events", 0),
            memory_limit=memory_limit,
            threads=threads,
            named_events=events_of_one,
        )
        return cls(path, manifest, engine)


def _filtered(
    rows: Relation,
    name: str,
    *,
    options: dict[str, Any] | None = None,
    values: dict[str, Value | None] | None = None,
    **tables: Relation,
) -> Relation:
    return phrase(f"{_FILTERS}:{name}", options=options, values=values, rows=rows, **tables)


def _of_key_ids(rows: Relation, key_ids: list[int]) -> Relation:
    if not key_ids:
        return Relation(f"SELECT * FROM {rows.source} WHERE false", rows.columns)
    ids = sorted(key_ids)
    ends = {"low": ids[0], "high": ids[-1]} if len(ids) > 1 else {"low": None, "high": None}
    return _filtered(rows, "of_key_ids", values={"numbers": ids, **ends})


def _of_process(processes: Relation, process: str | int) -> Relation:
    """Return the processes that a word names: an image, a path of one, or a pid."""
    if not isinstance(process, str):
        return _of_pids(processes, [process])
    is_pid = process.isascii() and process.isdigit() and len(process) <= 10 and int(process) < 2**32
    return phrase(
        f"{_FILTERS}:of_images",
        processes=processes,
        options={"by_path": "\\" in process},
        values={"regex": process_regex(process), "pid": int(process) if is_pid else None},
    )


def _with_descendants(roots: Relation, processes: Relation) -> Relation:
    """Return some processes and all that they started, and so on down."""
    query = f"""
        WITH RECURSIVE tree AS (
            SELECT process_id FROM {roots.source}
            UNION SELECT child.process_id FROM {processes.source} AS child JOIN tree ON child.parent_id = tree.process_id
        )
        SELECT * FROM {processes.source} SEMI JOIN tree USING (process_id)
    """
    return Relation(query, processes.columns)


def _of_pids(processes: Relation, pids: Sequence[int]) -> Relation:
    listed = [pid for pid in pids if 0 <= pid < 2**32]
    return phrase(f"{_FILTERS}:of_pids", processes=processes, values={"pids": listed or [-1]})


def _in_range(nanoseconds: int) -> int:
    """Return a time in the range of the column: years before 1677 and after 2262 become its ends."""
    return max(-(2**63), min(nanoseconds, 2**63 - 1))
