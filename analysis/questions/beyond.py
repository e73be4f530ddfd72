"""What must be looked at beyond the rows of a key to know how sure they are: keys above it, losses, nameless changes."""

from typing import TYPE_CHECKING

import ibis
from ibis.expr.types import Table

from analysis.engine.duckdb_backend import HELPERS, bind, engine_errors
from analysis.engine.fetch import fetch
from analysis.filters import Filters

if TYPE_CHECKING:
    from analysis.answers.intervals import Doubtful
    from analysis.questions.context import OpenCapture

__all__ = ["descent_of", "doubtful", "unproved_changes_of"]

# A user's classes, seen first through the link, are not below the user's own hive.
_DESCENT = r"""
    WITH RECURSIVE all_keys AS ({keys}), heard AS ({heard}),
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
_KEY_COLUMNS = ("key_id", "same_as", "parent_id", "folded_path")
_MOST_TIMES = 1000  # at which something unproved happened, of each kind and name
_OF_HIVES = ("HiveWork", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey")


def descent_of(capture: "OpenCapture") -> Table | None:
    """Return which keys lie below those that were missing, deleted or newly made after; None: none does.

    It is the `descent` of `analysis.answers.evidence.evidence`.
    """
    from analysis.answers.evidence import absences, heard_of

    keys = capture.tables["keys"]
    with engine_errors():
        events = capture.tables["stored_events"]
        absent = ibis.to_sql(absences(events), dialect="duckdb")
        heard = ibis.to_sql(_heard(capture), dialect="duckdb")
        listed = ibis.to_sql(keys.select(*_KEY_COLUMNS), dialect="duckdb")
        name = capture.answered("descent", _DESCENT.format(absent=absent, heard=heard, keys=listed))
        kinds = dict.fromkeys(_DESCENT_COLUMNS, keys.schema()["key_id"])
        found = bind(capture.engine(), name, ibis.schema(kinds), HELPERS)
        if not fetch(found.limit(1)).num_rows:
            return None
        found = capture.keep(heard_of(events, keys, found))
        return found if fetch(found.limit(1)).num_rows else None


def _heard(capture: "OpenCapture") -> Table:
    """Return key_id and first_at, the sequence of a key's first event."""
    usage = capture.usage(Filters())
    rows = capture.tables["stored_events"] if usage is None else usage
    first = rows["sequence" if usage is None else "first_sequence"].min()
    rows = rows.filter(rows["key_id"].notnull())
    return rows.group_by("key_id").aggregate(first_at=first)


def unproved_changes_of(capture: "OpenCapture", filters: Filters) -> Table | None:
    """Return what was changed under no proved name by the end of a time (`analysis.answers.unproved`); None: nothing."""
    from analysis.answers.unproved import unproved_changes

    names = capture.manifest.totals.get("names", {})
    is_named = capture.manifest.complete and not (names.get("partial") or names.get("none"))
    if is_named and capture.operations().isdisjoint(_OF_HIVES):
        return None
    first_ns, last_ns = capture.span() or (0, 0)
    events = capture.rows(Filters(end=filters.end), joined=False)
    width_ns = (last_ns - first_ns) // _MOST_TIMES + 1
    changes = capture.keep(
        unproved_changes(
            events, capture.tables["keys"], width_ns=width_ns, flagged=not capture.manifest.complete
        )
    )
    with engine_errors():
        return changes if fetch(changes.limit(1)).num_rows else None


def doubtful(capture: "OpenCapture", filters: Filters) -> "Doubtful | None":
    """Return when what was known by the end of a time may have been changed without a record; None: never."""
    from analysis.answers.evidence import real_losses
    from analysis.answers.intervals import Doubtful

    unproved = unproved_changes_of(capture, filters)
    end_ns = capture.interval(filters)[1]
    losses = real_losses(capture.tables["losses"])
    if end_ns is not None:
        losses = losses.filter(losses["from_ns"] <= end_ns)
    with engine_errors():
        lost, changed = fetch(losses), None if unproved is None else fetch(unproved)
    if changed is None and not lost.num_rows:
        return None
    return Doubtful.of(lost, changed, end_ns=end_ns)
