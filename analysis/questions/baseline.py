"""What hives tell of the time before the first event, as evidence for `history`, `state` and `changes`.

A baseline becomes rows like those of events, before all others: a key that was there, values that were read, and names that
were not there. So the questions themselves know nothing of it, and a capture without one is asked as ever. What comes of
these rows is then called `baseline`.
"""

from typing import TYPE_CHECKING

from analysis.engine.relation import Relation, identifier
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from tracer.baseline.doubts import hive_doubt
from tracer.registry.ntstatus import NAME_NOT_FOUND
from tracer.schema import BASELINE_KEYS, BASELINE_VALUES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BASELINE",
    "FIRST_EVENT",
    "OPERATION",
    "baseline_before",
    "doubts_of_hives",
    "has_baseline",
    "named_changes",
    "named_history",
    "named_state",
    "of_changes",
    "of_history",
    "of_state",
    "unsaid_keys",
    "with_baseline",
]

BASELINE = "baseline"  # how something is known
OPERATION = "Baseline"  # in place of an operation
FIRST_EVENT = (
    1 << 39
)  # the sequence of the first event; those of the baseline are below. Stays need less than 2 to the 40th
_KEYS, _VALUES = 1 << 37, 1 << 38  # where the sequences of keys that were there, and of values, begin
# Before a key that was there with all its values nothing was there, so that other values are absent: rows of what was
# missing come before all others.
_MISSING = {
    "sequence": "key_id::BIGINT",
    "operation": "'OpenKey'",
    "status": str(NAME_NOT_FOUND),
}
_THERE = {"sequence": f"key_id::BIGINT + {_KEYS}", "operation": "'OpenKey'", "status": "0"}
_HELD = {
    "sequence": f"position + {_VALUES}",
    "operation": "'QueryValueKey'",
    "status": "0",
    "value_name": "value_name",
    "data_type": "data_type",
    "data_size": "data_size",
    "data": "data",
}
_ALWAYS = {
    "time": "make_timestamptz(as_of_ns // 1000)",
    "time_ns": "as_of_ns",
    "key_id": "key_id",
    "flags": "0",
}

# Keys that the trace uses without having made them, though no hive holds them: they are in memory only, or were made after
# the hive was written. Nothing is known of what they held, nor of what is below them.
_UNSAID = """
    WITH RECURSIVE absent AS (
        SELECT key_id, same_as, parent_id FROM {keys} JOIN {baseline} USING (key_id) WHERE tells = 'absent'
    ),
    members AS (SELECT key_id, same_as FROM {keys} WHERE same_as IN (SELECT same_as FROM absent)),
    used AS (
        SELECT same_as, min(sequence) FILTER (operation = 'CreateKey' AND disposition = 1) AS made_at,
            min(sequence) FILTER (operation <> 'CreateKey' OR disposition IS DISTINCT FROM 1) AS used_at
        FROM {events} JOIN members USING (key_id) WHERE status = 0 GROUP BY ALL
    ),
    unsaid(key_id, same_as) AS (
        SELECT key_id, same_as FROM absent JOIN used USING (same_as) WHERE coalesce(used_at < made_at, made_at IS NULL)
        UNION
        SELECT absent.key_id, absent.same_as FROM absent JOIN unsaid ON absent.parent_id = unsaid.key_id
    )
    SELECT DISTINCT key_id FROM unsaid
"""


def has_baseline(context: QueryContext) -> bool:
    """Whether hives were given with the trace; of several captures, with any."""
    return any(manifest.has_table(BASELINE_KEYS.name) for _, manifest in context.stores)


def with_baseline(context: QueryContext) -> QueryContext:
    """Return the context with the baseline before its events; the same where the capture has none.

    The sequences of its events are FIRST_EVENT higher; `of_state` and the like undo that.
    """
    if not context.manifest.has_table(BASELINE_KEYS.name):
        return context
    made: QueryContext = object.__new__(_kind(type(context)))
    made.__dict__.update(context.__dict__)
    return made


class _WithBaseline(QueryContext):
    """A context whose events begin with the baseline."""

    def relation(self, name: str) -> Relation:
        """Return a table; event rows begin with those of the baseline."""
        found = super().relation(name)
        if name == "events":
            return _later(found)
        if name != "stored_events":
            return found
        sql = " UNION ALL ".join([_later(found).sql, *self._rows_before(found)])
        return self.engine.view("baseline", sql, found.columns)

    def traced_events(self) -> Relation:
        """Return the event rows without those of the baseline."""
        return _later(super().relation("stored_events"))

    def usage(self, filters: Filters) -> Relation | None:
        """Return None: the sums do not count the baseline."""
        del filters
        return None

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        del key_ids
        return self.relation("events" if joined else "stored_events")

    def _fitting(self, condition: str) -> Relation:
        return _later(super()._fitting(condition))

    def _rows_before(self, events: Relation) -> list[str]:
        keys, values = (
            super(_WithBaseline, self).relation(table.name).source
            for table in (BASELINE_KEYS, BASELINE_VALUES)
        )
        unsaid = unsaid_keys(self, super().relation("stored_events")).source
        of_values = f"{keys} AS own JOIN {values} AS held USING (key_id)"
        return [
            _select(
                events,
                _MISSING,
                f"{keys} AS own WHERE tells IN ('all', 'absent') AND key_id NOT IN (FROM {unsaid})",
            ),
            _select(events, _THERE, f"{keys} AS own WHERE tells IN ('all', 'some', 'key')"),
            _select(events, _HELD, f"{of_values} WHERE tells IN ('all', 'some')"),
        ]


_KINDS: dict[type[QueryContext], type[_WithBaseline]] = {}


def _kind(kind: type[QueryContext]) -> type[_WithBaseline]:
    if kind not in _KINDS:
        _KINDS[kind] = type(f"Baseline{kind.__name__}", (_WithBaseline, kind), {})
    return _KINDS[kind]


def _later(events: Relation) -> Relation:
    shifted = f"SELECT * REPLACE (sequence + {FIRST_EVENT} AS sequence) FROM {events.source}"
    return Relation(shifted, events.columns)


def _select(events: Relation, columns: dict[str, str], source: str) -> str:
    made = _ALWAYS | columns
    kinds = [
        f"CAST({made.get(name, 'NULL')} AS {_SQL[kind]}) AS {identifier(name)}"
        for name, kind in events.columns
    ]
    return f"SELECT {', '.join(kinds)} FROM {source}"


_SQL: dict[str, str] = {
    "int64": "BIGINT",
    "int32": "INTEGER",
    "int16": "SMALLINT",
    "uint32": "UINTEGER",
    "uint16": "USMALLINT",
    "string": "VARCHAR",
    "binary": "BLOB",
    "bool": "BOOLEAN",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
}


def doubts_of_hives(context: QueryContext) -> tuple[str, ...]:
    """Return a sentence for each hive of the captures that was not written right before the first event."""
    return tuple(
        sentence
        for _, manifest in context.stores
        for source in manifest.sources
        if source.get("kind") == "hive" and (sentence := hive_doubt(source)) is not None
    )


def unsaid_keys(context: QueryContext, events: Relation) -> Relation:
    """Return key_id of the keys that no hive holds, and that were there all the same when the trace first used them.

    Args:
        context: the context of a question, of a capture with a baseline.
        events: its stored event rows, without those of the baseline.
    """
    keys, baseline = context.relation("keys"), context.relation(BASELINE_KEYS.name)
    sql = _UNSAID.format(keys=keys.source, baseline=baseline.source, events=events.source)
    return context.engine.keep("unsaid", Relation(sql, (("key_id", dict(keys.columns)["key_id"]),)))


def of_state(context: QueryContext, rows: Relation) -> Relation:
    """Return the rows of `analysis.answers.state.state` with sequences of events, and OPERATION where the baseline tells."""
    if not isinstance(context, _WithBaseline):
        return rows
    operation = f"CASE WHEN sequence < {FIRST_EVENT} THEN '{OPERATION}' ELSE operation END AS operation"
    return _replaced(rows, [f"nullif(greatest(sequence - {FIRST_EVENT}, -1), -1) AS sequence", operation])


def named_state(rows: "pa.Table") -> "pa.Table":
    """Return the rows of `analysis.answers.contents.state_contents`, in which `known` says what the baseline tells."""
    is_own = [operation == OPERATION for operation in rows.column("operation").to_pylist()]
    if not any(is_own):
        return rows
    for name in ("known", "last_known"):
        rows = _renamed(rows, name, is_own, ("read", "exists"))
    return rows


def of_history(context: QueryContext, rows: Relation) -> Relation:
    """Return the rows of `analysis.answers.history.history` with sequences of events; -1 is the baseline's."""
    if not isinstance(context, _WithBaseline):
        return rows
    own = f"CASE WHEN own_sequence < {FIRST_EVENT} THEN -1 ELSE own_sequence - {FIRST_EVENT} END AS own_sequence"
    return _replaced(rows, [f"sequence - {FIRST_EVENT} AS sequence", own])


def named_history(rows: "pa.Table") -> "pa.Table":
    """Return the rows of `analysis.answers.contents.history_contents`, in which `old_from` says what the baseline tells."""
    import pyarrow as pa

    sequences = rows.column("old_sequence").to_pylist()
    is_own = [sequence == -1 for sequence in sequences]
    if not any(is_own):
        return rows
    rows = _renamed(rows, "old_from", is_own, ("read",))
    events = [None if own else sequence for own, sequence in zip(is_own, sequences, strict=True)]
    place = rows.schema.get_field_index("old_sequence")
    return rows.set_column(place, "old_sequence", pa.array(events, rows.schema.field(place).type))


def of_changes(context: QueryContext, rows: Relation) -> Relation:
    """Return the rows of `analysis.answers.changes.touched_values_and_keys` with sequences of events.

    Sequences of what tells the data of both sides stay as they are: they are only compared.
    """
    if not isinstance(context, _WithBaseline):
        return rows
    return _replaced(
        rows, [f"{name} - {FIRST_EVENT} AS {name}" for name in ("first_sequence", "last_sequence")]
    )


def baseline_before(touched: "pa.Table") -> set[tuple[int, int, str | None]]:
    """Return first sequence, key and folded value of the rows of `of_changes` whose data before the baseline tells."""
    columns = ("first_sequence", "key_id", "value_name", "before_read", "before_write")
    rows = zip(*(touched.column(name).to_pylist() for name in columns), strict=True)
    return {
        (first, key, value)
        for first, key, value, read, write in rows
        if read is not None and read < FIRST_EVENT and write is None
    }


def named_changes(rows: "pa.Table", before: set[tuple[int, int, str | None]]) -> "pa.Table":
    """Return net changes, in which `before_from` says what the baseline tells; `before`: of `baseline_before`."""
    columns = ("first_sequence", "key_id", "value_name")
    placed = zip(*(rows.column(name).to_pylist() for name in columns), strict=True)
    is_own = [row in before for row in placed]
    return _renamed(rows, "before_from", is_own, ("read",)) if any(is_own) else rows


def _replaced(rows: Relation, columns: list[str]) -> Relation:
    return Relation(f"SELECT * REPLACE ({', '.join(columns)}) FROM ({rows.sql})", rows.columns)


def _renamed(rows: "pa.Table", name: str, is_own: list[bool], words: tuple[str, ...]) -> "pa.Table":
    """Return the rows with BASELINE in place of some words of a column, where the baseline tells them."""
    import pyarrow as pa

    told = zip(rows.column(name).to_pylist(), is_own, strict=True)
    changed = [BASELINE if own and word in words else word for word, own in told]
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(changed, pa.string()))
