"""The evidence for `history`, `state`, `changes` and `diff` outside the rows of the requested keys, and its gaps.

Keys above and below, renames, losses, and changes under no proved name: `analysis.answers.evidence` says what these mean.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.answers.facts import NEEDED, OF_SUBTREES
from analysis.answers.stays import ARRIVALS, STAYS, stays_of
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation, columns_of, quoted
from analysis.filters import Filters
from analysis.questions.context import QueryContext
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
    "needed_rows",
    "shown",
    "step_ns",
    "surroundings",
    "unproved_changes",
]

# A user's classes, seen first through the link, are not below the user's own hive.
_DESCENT = r"""
    WITH RECURSIVE all_keys AS (SELECT key_id, same_as, parent_id, folded_path FROM {keys}), heard AS ({heard}),
    absent AS (
        SELECT same_as AS absent_id, max(last_at) AS last_at
        FROM ({absent}) JOIN all_keys USING (key_id) GROUP BY ALL
    ),
    steps AS (
        SELECT above.same_as AS above_id, below.same_as AS below_id
        FROM all_keys below JOIN all_keys above ON below.parent_id = above.key_id
        WHERE below.key_id = below.same_as AND above.same_as <> below.same_as
            AND NOT (
                ends_with(below.folded_path, '\SOFTWARE\CLASSES')
                AND regexp_full_match(below.folded_path, 'HKU\\S-1-[0-9-]+\\SOFTWARE\\CLASSES')
            )
    ),
    pairs(top_id, below_id) AS (
        SELECT above_id, below_id FROM steps
        WHERE above_id IN (SELECT absent_id FROM absent)
        UNION
        SELECT top_id, steps.below_id FROM pairs JOIN steps ON pairs.below_id = steps.above_id
    ),
    firsts AS (
        SELECT same_as AS heard_id, min(first_at) AS first_at
        FROM heard JOIN all_keys USING (key_id) GROUP BY ALL
    )
    SELECT all_keys.key_id AS top_key_id, top_id, below_id
    FROM pairs JOIN absent ON top_id = absent_id JOIN firsts ON below_id = heard_id
        JOIN all_keys ON same_as = top_id
    WHERE last_at > first_at
"""
_DESCENT_COLUMNS = ("top_key_id", "top_id", "below_id")
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
    descent = _descent(context)
    changes = not context.operations().isdisjoint(OF_SUBTREES)
    if not changes and descent is None:  # mostly so, and then half of the work falls away
        return Surroundings(False)
    stays = _stays_beside(context, filters)
    if filters.key is None:
        return Surroundings(changes, None, descent, stays)
    keys = context.relation("keys")
    rows = context.rows(filters.of_events())
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
        options={"flagged": not context.manifest.complete},
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


def _descent(context: QueryContext) -> Relation | None:
    """Return the keys below those that were missing, deleted or created; None: no key."""
    engine, keys, events = context.engine, context.relation("keys"), context.relation("stored_events")
    stays = _stays(context)
    # What hives do not hold, they say of each key by itself.
    absent = phrase("analysis.answers.evidence:absences", events=context.traced_events())
    query = _DESCENT.format(absent=absent.sql, heard=_heard(context, stays), keys=keys.source)
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
