"""The evidence for `history`, `state`, `changes` and `diff` outside the rows of the requested keys, and its gaps.

Keys above and below, renames, losses, and changes under no proved name: `analysis.answers.evidence` says what these mean.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.answers.facts import NEEDED, OF_SUBTREES
from analysis.answers.stays import ARRIVALS, STAYS, stays_of
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation, columns_of, quoted
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.key_ranges import is_long, key_ranges
from tracer.schema import BASELINE_KEYS
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.answers.intervals import Doubtful

__all__ = [
    "Surroundings",
    "are_alike",
    "doubtful",
    "evidence_of",
    "made_by_range",
    "needed_rows",
    "shown",
    "step_ns",
    "surroundings",
    "unproved_changes",
]

# A user's classes, seen first through the link, are not below the user's own hive.
_STEPS = r"""
    SELECT above.same_as AS above_id, below.same_as AS below_id
    FROM {keys} AS below JOIN {keys} AS above ON below.parent_id = above.key_id
    WHERE below.key_id = below.same_as AND above.same_as <> below.same_as
        AND NOT (
            ends_with(below.folded_path, '\SOFTWARE\CLASSES')
            AND regexp_full_match(below.folded_path, 'HKU\\S-1-[0-9-]+\\SOFTWARE\\CLASSES')
        )
"""
# All keys above some groups, with all their ids; of many groups at once.
_ABOVE = """
    WITH RECURSIVE steps AS ({steps}),
    pairs(top_id, below_id) AS (
        SELECT above_id, below_id FROM steps WHERE below_id IN (SELECT same_as FROM {asked})
        UNION
        SELECT steps.above_id, pairs.below_id FROM pairs JOIN steps ON pairs.top_id = steps.below_id
    )
    SELECT key_id AS top_key_id, top_id, below_id FROM pairs JOIN {keys} ON same_as = top_id
"""
# All keys below those that were missing, deleted or created.
_BELOW = """
    WITH RECURSIVE steps AS ({steps}), absent AS ({absent}),
    pairs(top_id, below_id) AS (
        SELECT above_id, below_id FROM steps WHERE above_id IN (SELECT same_as FROM {keys} SEMI JOIN absent USING (key_id))
        UNION
        SELECT top_id, steps.below_id FROM pairs JOIN steps ON pairs.below_id = steps.above_id
    )
    SELECT key_id AS top_key_id, top_id, below_id FROM pairs JOIN {keys} ON same_as = top_id
"""
_DESCENT = """
    WITH ids AS (SELECT key_id, same_as FROM {keys}),
    absent AS (
        SELECT same_as AS absent_id, max(last_at) AS last_at FROM ({absent}) JOIN ids USING (key_id) GROUP BY ALL
    ),
    firsts AS (
        SELECT same_as AS heard_id, min(first_at) AS first_at FROM ({heard}) JOIN ids USING (key_id) GROUP BY ALL
    )
    SELECT top_key_id, top_id, below_id
    FROM ({pairs}) JOIN absent ON top_id = absent_id JOIN firsts ON below_id = heard_id
    WHERE last_at > first_at
"""
_STEP_COLUMNS = (("above_id", "int64"), ("below_id", "int64"))
_DESCENT_COLUMNS = ("top_key_id", "top_id", "below_id")
_DEEPEST = 512  # levels of a registry (Microsoft Learn, "Registry Element Size Limits")
_MOST_LISTED = 1000  # keys that are named in a query
_MOST_TIMES = 1000  # at which something unproved happened, of each kind and name
# what may change keys and values under names that no row has
_ELSEWHERE = ("HiveWork", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey", "CreateOrDelete")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The further tables that evidence of some keys needs; arguments of `analysis.answers.evidence.evidence`.

    Attributes:
        subtrees: whether the capture has events that may change a whole subtree.
        everywhere: those events, of any key; None: those among the rows are all, or there are none.
        descent: which keys lie below those that were missing, deleted or newly made; None: none does.
        stays: which key stood when under which path, where keys were renamed; None: none of those asked for was.
    """

    subtrees: bool
    everywhere: Relation | None = None
    descent: Relation | None = None
    stays: Relation | None = None

    @property
    def tables(self) -> Mapping[str, Relation | None]:
        """The tables among them, by the name of the argument."""
        return {"everywhere": self.everywhere, "descent": self.descent, "stays": self.stays}


def surroundings(
    context: QueryContext, filters: Filters, columns: Sequence[str] | None = None
) -> Surroundings:
    """Return the further tables for the rows that fit the filters; `columns`: of `everywhere`, None for all."""
    near = _near(context, filters)
    descent = _descent(context, near)
    changes = not context.operations().isdisjoint(OF_SUBTREES)
    if not changes and descent is None:  # mostly so, and then half of the work falls away
        return Surroundings(False)
    stays = _stays_beside(context, filters)
    if filters.key is None:
        return Surroundings(changes, None, descent, stays)
    keys = context.relation("keys")
    rows = context.rows(filters.of_events())
    if near is not None and not changes:
        rows = near.above.of_rows(rows)
    above = context.kept(
        rows,
        lambda rows: phrase(
            "analysis.answers.evidence:of_many_keys", events=rows, descent=descent, stays=stays, keys=keys
        ),
        columns or rows.names,
    )
    return Surroundings(changes, above, descent, stays)


def evidence_of(context: QueryContext, filters: Filters) -> tuple[Relation, Surroundings]:
    """Return all events of the requested keys, without the other filters, and their surroundings."""
    of_keys = filters.of_keys()
    return needed_rows(context, of_keys), surroundings(context, of_keys, NEEDED)


def needed_rows(context: QueryContext, filters: Filters) -> Relation:
    """Return the event rows that fit filters, of keys with the columns NEEDED, and where they are few from a table."""
    events = context.rows(filters)
    # Of all keys the table as it is: an engine would keep a copy of what is selected of it.
    return events if filters.key is None else context.few(events.select(*NEEDED))


def made_by_range(
    context: QueryContext,
    events: Relation,
    beside: Surroundings,
    groups: Relation,
    make: "Callable[[pa.Table], pa.Table]",
    *,
    presence: bool = True,
    further: tuple[str, ...] = (),
) -> "Iterator[pa.Table]":
    """Return what is made of the evidence of some keys as numbers, of a range of keys after the other.

    Args:
        context: the context of the question.
        events: the event rows of the keys asked for.
        beside: their surroundings, without stays.
        groups: key_id of the keys (groups) whose evidence is needed.
        make: makes rows of the evidence of a range: `analysis.answers.evidence.numbered_evidence` and `numbered_others`.
        presence: whether this evidence has events that tell of no more than that a key is there.
        further: other columns of events in it.
    """
    from concurrent.futures import ThreadPoolExecutor  # it loads Python's logging

    engine, keys, options = context.engine, context.relation("keys"), {"further": further}
    others = None
    if beside.subtrees or beside.descent is not None:
        others = engine.keep(
            "others",
            phrase(
                "analysis.answers.evidence:numbered_others",
                options=options | {"subtrees": beside.subtrees},
                events=beside.everywhere or events,
                keys=keys,
                groups=groups,
                descent=beside.descent,
            ),
        )
    # The engine reads the next range while rows are made of the last one.
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for some in key_ranges(context):
            members = f"SELECT grouped_id FROM {some.keys.source} WHERE group_id IN (SELECT key_id FROM {groups.source})"
            own = Relation(f"SELECT * FROM {keys.source} WHERE key_id IN ({members})", keys.columns)
            found = phrase(
                "analysis.answers.evidence:numbered_evidence",
                options=options | {"presence": presence},
                events=some.of(events),
                keys=own,
            )
            if others is not None:
                listed = ", ".join(found.names)
                of_range = f"key_id IN (SELECT group_id FROM {some.keys.source})"
                found = Relation(
                    f"{found.sql} UNION ALL SELECT {listed} FROM {others.source} WHERE {of_range}",
                    found.columns,
                )
            rows = engine.fetch(found)
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(make, rows) if rows.num_rows else None
            del rows
        if waiting is not None:
            yield waiting.result()


def shown(context: QueryContext, filters: Filters) -> Relation | None:
    """Return the sequence of the events that fit the filters of events; None where all do."""
    of_events = filters.of_events()
    return None if of_events == Filters() else context.rows(of_events).select("sequence")


def unproved_changes(context: QueryContext, filters: Filters) -> Relation | None:
    """Return the changes under unproved names by the end of a time (`analysis.answers.unproved`); None: no change."""
    names = context.manifest.totals.get("names", {})
    is_named = context.manifest.complete and not (names.get("partial") or names.get("none"))
    if is_named and context.operations().isdisjoint(_ELSEWHERE):
        return None
    changes = phrase(
        "analysis.answers.unproved:unproved_changes",
        options={
            "flagged": not context.manifest.complete,
            "either": "CreateOrDelete" in context.operations(),
        },
        values={"width_ns": step_ns(context)},
        events=context.clocked(context.rows(Filters(end=filters.end))),
        keys=context.relation("keys"),
    )
    changes = context.engine.keep("unproved", changes)
    return None if context.engine.is_empty(changes) else changes


def step_ns(context: QueryContext) -> int:
    """Return nanoseconds: unproved changes of one kind and name that are so near each other are told as one."""
    first_ns, last_ns = context.span() or (0, 0)
    return (last_ns - first_ns) // _MOST_TIMES + 1


def are_alike(manifest: Manifest) -> Hashable | None:
    """Return what captures that can be asked for histories at once have in common; None: it has to be asked by itself.

    What changes whole subtrees is looked for by path, and hives tell of a time before the first event.
    """
    operations = manifest.totals.get("operations")
    if (
        operations is None
        or not operations.keys().isdisjoint(OF_SUBTREES)
        or manifest.has_table(BASELINE_KEYS.name)
    ):
        return None
    return "plain"


def doubtful(context: QueryContext, filters: Filters) -> "Doubtful | None":
    """Return the times of possible changes without a record, by the end of a time; None: no such time."""
    from analysis.answers.intervals import Doubtful

    changes, end_ns = unproved_changes(context, filters), context.interval(filters)[1]
    losses = phrase("analysis.answers.evidence:real_losses", losses=context.relation("losses"))
    if end_ns is not None:
        losses = Relation(f"SELECT * FROM {losses.source} WHERE from_ns <= {end_ns}", losses.columns)
    lost = context.engine.fetch(losses)
    if changes is None and not lost.num_rows:
        return None
    return Doubtful.of(lost, None if changes is None else context.engine.fetch(changes), end_ns=end_ns)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Some keys: what stands in SQL after `key_id IN`."""

    listed: str

    @classmethod
    def of(cls, context: QueryContext, ids: Relation) -> "_Keys":
        """Return the keys of a relation with the column key_id: few as a list, by which an engine finds their rows."""
        if context.engine.count(ids) > _MOST_LISTED:
            return cls(f"SELECT key_id FROM {ids.source}")
        return cls(", ".join(map(str, context.engine.fetch(ids).column(0).to_pylist())) or "NULL")

    def of_rows(self, rows: Relation) -> Relation:
        """Return the rows of these keys."""
        return Relation(f"SELECT * FROM {rows.source} WHERE key_id IN ({self.listed})", rows.columns)


@dataclass(frozen=True, slots=True)
class _Near:
    """The requested keys, all keys above them, and which is above which (top_key_id, top_id, below_id)."""

    own: _Keys
    above: _Keys
    pairs: Relation


def _near(context: QueryContext, filters: Filters) -> _Near | None:
    """Return what is near the requested keys; None where all keys are asked for, keys were renamed, or all rows are few."""
    asked = context.key_ids(filters)
    if asked is None or "RenameKey" in context.operations() or not is_long(context, Filters()):
        return None
    engine, keys = context.engine, context.relation("keys")
    kind = dict(keys.columns)["key_id"]
    listed = asked.sql if isinstance(asked, Relation) else ", ".join(map(str, asked)) or "NULL"
    own = Relation(
        f"SELECT key_id, same_as FROM {keys.source} WHERE key_id IN ({listed})",
        (("key_id", kind), ("same_as", kind)),
    )
    own = engine.keep("asked", own)
    steps = None if engine.count(own) > _MOST_LISTED else _steps_above(context, own)
    if steps is None:
        sql = _ABOVE.format(steps=_STEPS.format(keys=keys.source), asked=own.source, keys=keys.source)
    else:
        walked = engine.hold("walked", own.sql, lambda: _pairs_of(steps), _STEP_COLUMNS)
        stored = "INTEGER" if kind == "int32" else "BIGINT"
        sql = f"""
            SELECT key_id AS top_key_id, above_id::{stored} AS top_id, below_id::{stored} AS below_id
            FROM {walked.source} JOIN {keys.source} ON same_as = above_id
            WHERE below_id IN (SELECT same_as FROM {own.source})
        """
    pairs = engine.keep("above", Relation(sql, tuple((name, kind) for name in _DESCENT_COLUMNS)))
    tops = Relation(f"SELECT DISTINCT top_key_id AS key_id FROM {pairs.source}", own.columns[:1])
    return _Near(_Keys.of(context, own.select("key_id")), _Keys.of(context, tops), pairs)


def _steps_above(context: QueryContext, own: Relation) -> dict[int, int | None] | None:
    """Return of each group of some keys, and of those above it, the group right above; None where keys are as deep as none is.

    An engine finds a few keys by their ids sooner than all steps of all keys.
    """
    engine, keys = context.engine, context.relation("keys")
    steps: dict[int, int | None] = {}
    left = {one for one in engine.fetch(own.select("same_as")).column(0).to_pylist() if one is not None}
    for _ in range(_DEEPEST):
        if not left:
            return steps
        listed = ", ".join(map(str, sorted(left)))
        found = engine.fetch(
            Relation(f"{_STEPS.format(keys=keys.source)} AND below.key_id IN ({listed})", _STEP_COLUMNS)
        )
        above, below = (column.to_pylist() for column in found.columns)
        steps |= dict.fromkeys(left) | dict(zip(below, above, strict=True))
        left = set(above) - steps.keys()
    return None


def _pairs_of(steps: dict[int, int | None]) -> "pa.Table":
    """Return above_id and below_id: each group with all groups above it."""
    import pyarrow as pa

    pairs: set[tuple[int, int]] = set()
    for below in steps:
        above = steps[below]
        while above is not None and (above, below) not in pairs:  # damaged keys may be above themselves
            pairs.add((above, below))
            above = steps[above]
    columns = zip(_STEP_COLUMNS, zip(*sorted(pairs), strict=True) if pairs else ((), ()), strict=True)
    return pa.table({name: pa.array(ids, pa.int64()) for (name, _), ids in columns})


def _descent(context: QueryContext, near: _Near | None) -> Relation | None:
    """Return the keys below those that were missing, deleted or created; None: no key. `near`: of the requested keys only."""
    engine, keys, events = context.engine, context.relation("keys"), context.relation("stored_events")
    stays, traced = _stays(context), context.traced_events()
    if near is not None:
        events, traced = near.own.of_rows(events), near.above.of_rows(traced)
    # What hives do not hold, they say of each key by itself.
    absent = engine.keep("absent", phrase("analysis.answers.evidence:absences", events=traced))
    heard = _heard(context, stays)
    if near is None:
        pairs = _BELOW.format(steps=_STEPS.format(keys=keys.source), absent=absent.sql, keys=keys.source)
    else:
        pairs, heard = near.pairs.sql, f"SELECT * FROM ({heard}) WHERE key_id IN ({near.own.listed})"
    query = _DESCENT.format(keys=keys.source, absent=absent.sql, heard=heard, pairs=pairs)
    kind = dict(keys.columns)["key_id"]
    found = engine.keep("descent", Relation(query, tuple((name, kind) for name in _DESCENT_COLUMNS)))
    if engine.is_empty(found):
        return None
    found = engine.keep(
        "descent",
        phrase("analysis.answers.evidence:heard_of", events=events, keys=keys, descent=found, stays=stays),
    )
    return None if engine.is_empty(found) else found


def _heard(context: QueryContext, stays: Relation | None) -> str:
    """Return key_id and first_at: the sequence of the key's first event, or of the rename that moved it there."""
    usage = context.usage(Filters())
    rows = context.relation("stored_events") if usage is None else usage
    first = "sequence" if usage is None else "first_sequence"
    heard = (
        f"SELECT key_id, min({first}) AS first_at FROM {rows.source} WHERE key_id IS NOT NULL GROUP BY key_id"
    )
    if stays is None:
        return heard
    arrivals = ", ".join(map(quoted, ARRIVALS))
    return f"{heard} UNION ALL SELECT key_id, begins FROM {stays.source} WHERE turn IN ({arrivals})"


def _stays(context: QueryContext) -> Relation | None:
    """Return the stays of keys under names (`analysis.answers.stays`); None: no key was renamed."""
    if "RenameKey" not in context.operations():
        return None
    engine, keys = context.engine, context.relation("keys")
    renames = phrase("analysis.answers.evidence:renames", events=context.relation("stored_events"), keys=keys)

    def make() -> "pa.Table":
        done = [tuple(row.values()) for row in engine.fetch(renames).to_pylist()]
        named = engine.fetch(phrase("analysis.expressions.links:own_paths", keys=keys))
        paths = zip(named.column("path").to_pylist(), named.column("group_id").to_pylist(), strict=True)
        return stays_of(done, paths)

    found = engine.hold("stays", renames.sql, make, columns_of(STAYS))
    return None if engine.is_empty(found) else found


def _stays_beside(context: QueryContext, filters: Filters) -> Relation | None:
    """Return the stays of all keys that were ever under the requested paths; None: no such key was renamed."""
    stays = _stays(context)
    if stays is None:
        return None
    columns = (*stays.columns, ("is_asked", "bool"))
    asked = context.key_ids(filters)
    if asked is None:
        return Relation(f"SELECT *, true AS is_asked FROM {stays.source}", columns)
    listed = asked.sql if isinstance(asked, Relation) else ", ".join(map(str, asked)) or "NULL"
    own = f"SELECT * FROM {stays.source} WHERE key_id IN ({listed})"
    related = f"""
        WITH own AS ({own}),
        related AS (SELECT * FROM {stays.source} WHERE item_id IN (SELECT item_id FROM own)),
        -- and of the keys above, which may tell that nothing was below them
        above AS (SELECT from_item FROM related WHERE from_item IS NOT NULL)
        SELECT *, key_id IN (SELECT key_id FROM own) AS is_asked FROM {stays.source}
        WHERE item_id IN (SELECT item_id FROM own UNION SELECT from_item FROM above)
    """
    found = context.engine.keep("stays", Relation(related, columns))
    return None if context.engine.is_empty(found) else found
