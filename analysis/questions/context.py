"""A capture that is open: its engine, its tables, the rows that fit a filter, and the doubts about an answer."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from analysis.answers.timeline import chosen
from analysis.card import card_html, card_text, facts
from analysis.engine.duckdb_backend import (
    HELPERS,
    answer,
    bind,
    bound,
    condition_view,
    connect,
    engine_errors,
    execute,
    make_tables,
    quoted,
)
from analysis.engine.fetch import fetch, to_frame
from analysis.engine.interruption import is_busy
from analysis.filters import Filters, find_processes
from analysis.questions.caveats import Doubts, find_doubts, with_doubts
from analysis.questions.unknown_names import warn_unknown
from analysis.times import parse_time
from tracer.errors import CaptureError, UsageError
from tracer.files.workspace import Workspace
from tracer.registry.paths import compile_patterns, display_path, native_path
from tracer.registry.text import escape_argument, fold_name
from tracer.schema import TABLES, USAGE
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["OpenCapture", "by_capture", "key_condition"]

_More = ParamSpec("_More")
_Self = TypeVar("_Self", bound="OpenCapture")


_FEW_ROWS = 100_000  # event rows that are worth a table of their own in memory
_FEW_KEYS = 16  # up to so many ids go into the query as a list, which prunes row groups; more are joined


class OpenCapture:
    """The engine room of a capture; `analysis.capture.Capture` adds the questions.

    Attributes:
        path: the directory.
        manifest: what `capture.json` says.
        backend: the Ibis backend, for questions this class does not know; it reads nothing outside the capture,
            and its settings cannot be changed.
    """

    def __init__(self, path: Path, manifest: Manifest, *, memory_limit: str, threads: int | None) -> None:
        self.path = path
        self.manifest = manifest
        directories = [directory for directory, _ in self.stores]
        self.backend, spill = connect(
            self._make_tables, directories=directories, memory_limit=memory_limit, threads=threads
        )
        self._closer = weakref.finalize(self, _close, self.backend, spill)
        self._helpers: dict[str, str] = {}  # question -> name of the table or view that answers it

    @property
    def tables(self) -> Mapping[str, Table]:
        """The stored tables as Ibis tables, by name; the stored event rows are `stored_events`."""
        names = ["stored_events" if name == "events" else name for name in TABLES]
        return MappingProxyType({name: self._table(name) for name in names})

    @property
    def events(self) -> Table:
        """The event rows with the names of keys and processes joined (`analysis.engine.events_view.EVENT_COLUMNS`)."""
        return self._table("events")

    def labelled(self, rows: "pa.Table") -> "pa.Table":
        """Return the rows of an answer with what says which capture each is of: of one capture, as they are."""
        return rows

    def labelled_batches(self, rows: "pa.RecordBatchReader") -> "pa.RecordBatchReader":
        """Return a stream of such rows likewise."""
        return rows

    @property
    def stores(self) -> list[tuple[Path, Manifest]]:
        """The directory of the capture and its manifest; of a dataset, those of each of its captures."""
        return [(self.path, self.manifest)]

    def apart(self, filters: Filters) -> Sequence["OpenCapture"]:
        """Return what to ask where captures must be asked one by one: those of a dataset that have the keys."""
        del filters
        return [self]

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

    def doubts(self, filters: Filters | None = None) -> Doubts:
        """Return why an answer about the time that a filter states may be incomplete."""
        filters = filters or Filters()
        return find_doubts(self, *self.interval(filters), filters.operation)

    def frame(self, table: Table, filters: Filters | None = None) -> "pd.DataFrame":
        """Run a question and return its rows; the doubts about them are in `attrs["doubts"]`, as sentences.

        Args:
            table: an Ibis expression over the tables of this capture.
            filters: what rows were asked for; their time decides which losses matter.
        """
        self.engine()  # says so where the capture is closed
        with engine_errors():
            rows = to_frame(self.labelled(fetch(table)))
        warn_unknown(self, filters, rows, depth=2)
        return with_doubts(rows, self.doubts(filters))

    def rows(self, filters: Filters, *, joined: bool) -> Table:
        """Return the event rows that fit, in no order.

        Args:
            filters: what rows are asked for.
            joined: with the names joined (the columns of `events`), or as stored; rows chosen by a
                condition (`filters.where`) have the names joined in any case.

        Raises:
            UsageError: a filter cannot be understood.
        """
        processes = None
        if filters.process is not None or filters.pid is not None:
            processes = find_processes(self._table("processes"), filters.process, filters.pid)
        start_ns, end_ns = self.interval(filters)
        key_ids = self._key_ids(filters)
        if filters.where is not None:
            events = self._fitting(filters.where)
        else:
            events = self._source(key_ids, joined=joined)
        return chosen(
            events,
            key_ids=key_ids,
            processes=processes,
            value=filters.value,
            operation=filters.operation,
            status=filters.status,
            start_ns=start_ns,
            end_ns=end_ns,
        )

    def usage(self, filters: Filters) -> Table | None:
        """Return what was done to the keys asked for, as the capture has it summed (the table `usage`).

        None where it has not, or where filters choose among the events of a key.
        """
        if filters != filters.of_keys() or not all(
            manifest.has_table(USAGE.name) for _, manifest in self.stores
        ):
            return None
        return chosen(self._table(USAGE.name), key_ids=self._key_ids(filters))

    def has_key(self, text: str, *, subtree: bool = False, user_sid: str | None = None) -> bool:
        """Tell whether the capture knows a key, or one that a pattern fits.

        Raises:
            UsageError: the key cannot be understood.
        """
        query = f"SELECT count(*) FROM keys WHERE {self._key_condition([text], subtree, user_sid)}"
        with engine_errors("the key cannot be looked up"):
            return bool(answer(self.engine(), query).column(0)[0].as_py())

    def kept(self, events: Table, sift: "Callable[[Table], Table]") -> Table:
        """Return the few event rows that `sift` leaves, from a table of their own: they are looked for once."""
        # By sequence first: an engine that sifts rows reads every column that it is to return of them.
        few = self.keep(sift(events).select("sequence"))
        return self.keep(events.semi_join(few, "sequence"))

    def few(self, events: Table) -> Table:
        """Return event rows, from a table of their own where they are few: for what looks at them several times."""
        some = self.keep(events.limit(_FEW_ROWS + 1))
        with engine_errors():
            is_all = fetch(some.count().as_table())[0][0].as_py() <= _FEW_ROWS
        return some if is_all else events

    def operations(self) -> frozenset[str]:
        """Return the names of the operations that occur: as the manifest counts them, or looked for once."""
        counted: list[dict[str, int] | None] = [
            manifest.totals.get("operations") for _, manifest in self.stores
        ]
        if None not in counted:
            return frozenset(name for counts in counted for name in counts or ())
        query = ibis.to_sql(self._table("stored_events").select("operation").distinct(), dialect="duckdb")
        with engine_errors():
            name = self.answered("operations", query)
            found = answer(self.engine(), f"SELECT operation FROM {HELPERS}.{name}").column(0)
        return frozenset(found.to_pylist())

    def subtree_changes(self, filters: Filters) -> tuple[bool, Table | None, Table | None]:
        """Tell whether the capture has events that may change a whole subtree; return those to look at beside `rows`.

        These are of any key, but fit the filters otherwise. None: those among `rows` are all, or there are none.
        With them comes the `descent` of `analysis.answers.evidence.evidence`.
        """
        from analysis.answers.evidence import OF_SUBTREES, of_many_keys
        from analysis.questions.beyond import descent_of

        descent = descent_of(self)
        changes = not self.operations().isdisjoint(OF_SUBTREES)
        if not changes and descent is None:  # mostly so, and then half of the work falls away
            return False, None, None
        if filters.key is None:
            return changes, None, descent
        above = self.kept(
            self.rows(filters.of_events(), joined=False), lambda rows: of_many_keys(rows, descent)
        )
        return changes, above, descent

    def keep(self, rows: Table) -> Table:
        """Return the rows, which are few, from a table of their own: they are looked for once."""
        with engine_errors():
            name = self.answered("kept", ibis.to_sql(rows, dialect="duckdb"))
        return bind(self.engine(), name, rows.schema(), HELPERS)

    def answered(self, kind: str, query: str) -> str:
        """Return the name of the helper table that holds the answer to a query, made when it is first asked."""
        if query not in self._helpers:
            name = f"{kind}_{len(self._helpers)}"
            execute(self.engine(), f"CREATE TABLE {HELPERS}.{name} AS {query}")
            self._helpers[query] = name
        return self._helpers[query]

    def suggest_keys(self, text: str, n: int = 5) -> list[str]:
        """Return up to `n` display paths of this capture that are close to what a user wrote, best first."""
        try:
            wanted = fold_name(display_path(native_path(text), control_set=self.manifest.control_set))
        except UsageError:
            wanted = fold_name(escape_argument(text))
        name = wanted.rstrip("\\").rpartition("\\")[2]
        path, last = quoted(wanted), quoted(name)
        query = f"""
            SELECT min(display_path) FROM (
                SELECT display_path, folded_path,
                    jaro_winkler_similarity(folded_path, {path}) AS alike,
                    jaro_winkler_similarity(regexp_extract(folded_path, '[^\\\\]*$'), {last}) AS alike_name,
                    contains(folded_path, {path}) OR starts_with({path}, folded_path || '\\') AS kin
                FROM keys WHERE folded_path <> {path}
            )
            WHERE kin OR (alike > 0.75 AND alike_name > 0.7)
            GROUP BY folded_path
            ORDER BY max(alike + alike_name) DESC, length(folded_path), folded_path
            LIMIT {max(0, int(n))}
        """
        if not wanted:
            return []
        with engine_errors():
            found: list[str] = answer(self.engine(), query).column(0).to_pylist()
        return found

    def info(self) -> dict[str, Any]:
        """Return what is known about the capture as JSON values: the manifest, losses and diagnostics."""
        known = self.manifest.as_dict()
        for name in ("losses", "diagnostics"):
            with engine_errors():
                known[name] = answer(self.engine(), f"SELECT * FROM {name}").to_pylist()
        return known

    def close(self) -> None:
        """Let go of the engine and of the disk space it spilled to; closing twice is fine."""
        self._closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return card_text(self.path.name, facts(self.manifest, closed=not self._closer.alive))

    def _repr_html_(self) -> str:
        return card_html(str(self.path), facts(self.manifest, closed=not self._closer.alive))

    def engine(self) -> Backend:
        """Return the backend of a capture that is still open."""
        if not self._closer.alive:
            raise CaptureError(f"the capture {self.path.name} is closed: open it again")
        return self.backend

    def _make_tables(self, backend: Backend) -> None:
        make_tables(backend, table_files(self.path.absolute(), self.manifest), self.manifest)

    def _table(self, name: str, helper: str | None = None) -> Table:
        """Return a table, or a helper with its columns, as an Ibis table."""
        return bound(self.engine(), name, helper)

    def _source(self, key_ids: Sequence[int] | Table | None, *, joined: bool) -> Table:
        """Return event rows among which are those of some keys; None: all rows."""
        del key_ids  # an engine finds the rows of a key by itself: they stand together in the parts
        return self._table("events" if joined else "stored_events")

    def _fitting(self, condition: str) -> Table:
        """Return the rows of `events` that fit a user's SQL condition."""
        backend = self.engine()
        name = self._helpers.get(condition)
        if name is None:
            name = f"where_{len(self._helpers)}"
            condition_view(backend.con, name, condition)
            self._helpers[condition] = name
        return self._table("events", name)

    def _key_ids(self, filters: Filters) -> list[int] | Table | None:
        """Return the keys asked for and all that are grouped with them; None where every key is."""
        if filters.key is None:
            return None
        texts = [filters.key] if isinstance(filters.key, str) else list(filters.key)
        condition = self._key_condition(texts, filters.subtree, filters.user_sid)
        same = f"SELECT same_as FROM keys WHERE {condition}"
        with engine_errors("the key pattern cannot be used"):
            name = self.answered("keys", f"SELECT key_id FROM keys WHERE same_as IN ({same}) ORDER BY key_id")
            some = f"SELECT key_id FROM {HELPERS}.{name} LIMIT {_FEW_KEYS + 1}"
            ids: list[int] = answer(self.engine(), some).column(0).to_pylist()
        if len(ids) <= _FEW_KEYS:
            return ids
        return self._table("keys", name).select("key_id")

    def _key_condition(self, texts: Sequence[str], subtree: bool, user_sid: str | None) -> str:
        """Return the SQL condition for rows of `keys` that one of some texts means."""
        manifest = self.manifest
        return key_condition(texts, subtree, user_sid, manifest.control_set, shows_user=manifest.shows_user)


def key_condition(
    texts: Sequence[str], subtree: bool, user_sid: str | None, control_set: int | None, *, shows_user: bool
) -> str:
    """Return the SQL condition for rows of `keys`, of captures with this control set, that a text means."""
    patterns = [
        pattern
        for text in texts
        for pattern in compile_patterns(
            text, control_set=control_set, user_sid=user_sid, subtree=subtree, shows_user=shows_user
        )
    ]
    return " OR ".join(pattern.sql("folded_path") for pattern in patterns) or "false"


def by_capture(
    largest: "Callable[[Mapping[str, Any]], Sequence[str]]" = lambda named: (),  # noqa: ARG005
) -> "Callable[[Callable[Concatenate[_Self, Filters, _More], Table]], Callable[..., Table]]":
    """Make a question that is asked of a whole dataset one that is asked of each capture by itself.

    That is needed where rows are matched by times or paths, for these are not a capture's own as ids are.

    Args:
        largest: returns, given the keyword arguments of the question, by which columns its answer is sorted,
            largest first; so are the answers together. None: they follow each other, capture by capture.
    """

    def of_each(ask: "Callable[Concatenate[_Self, Filters, _More], Table]") -> "Callable[..., Table]":
        @wraps(ask)
        def asked(self: "_Self", filters: Filters, *more: "_More.args", **named: "_More.kwargs") -> Table:
            answers = [ask(one, filters, *more, **named) for one in self.apart(filters)]  # type: ignore[arg-type]
            if len(answers) == 1:
                return answers[0]
            # A union promises no order, so each row keeps its place.
            placed = [
                rows.mutate(capture_place=ibis.literal(place, "int64"), row_place=ibis.row_number())
                for place, rows in enumerate(answers)
            ]
            rows, limit = ibis.union(*placed), named.get("limit")
            first = [rows[name].desc() for name in largest(named)]
            rows = rows.order_by(*first, "capture_place", "row_place").drop("capture_place", "row_place")
            return rows if limit is None else rows.limit(limit)

        return asked

    return of_each


def _close(backend: Backend, spill: Workspace) -> None:
    if not is_busy():  # a query that does not stop holds its connection: it would be waited for
        backend.disconnect()
    spill.close()


def _in_range(nanoseconds: int) -> int:
    """Return a time that the column can be compared with: years before 1677 and after 2262 are its ends."""
    return max(-(2**63), min(nanoseconds, 2**63 - 1))
