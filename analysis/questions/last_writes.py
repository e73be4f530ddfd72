"""Where hives and trace differ: keys that were written when nobody was seen to write, and keys that no hive holds."""

from analysis.engine.relation import Columns, Relation, quoted
from analysis.filters import Filters
from analysis.questions.baseline import doubts_of_hives, has_baseline, unsaid_keys
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together
from tracer.errors import UsageError
from tracer.schema import BASELINE_KEYS, LOST_KINDS

__all__ = ["FINDINGS", "TOLERANCE_S", "query"]

FINDINGS = {
    "unseen": "the hive says that the key was last written at that time, and the trace saw no change of it then",
    "lost": "likewise, but events of that time may have been lost, or stand under no proved name",
    "in_memory": "the trace used the key without having made it, and no hive holds it: it is in memory only, or was made "
    "after the hive was written",
}
TOLERANCE_S = 1.0  # between the clock of last writes, which ticks every 1 to 16 ms, and that of the trace
_COLUMNS: Columns = (
    ("finding", "string"), ("display_key", "string"), ("last_written", "timestamp[us, tz=UTC]"),
    ("last_change", "timestamp[us, tz=UTC]"), ("hive", "string"), ("key", "string"), ("key_id", "int32"),
)  # fmt: skip
# What sets the last write of the key itself, and what sets that of the key above it. Success is 0; unknown may be one.
_OWN = (
    "SetValueKey", "DeleteValueKey", "CreateKey", "RenameKey", "SetInformationKey", "SetSecurityKey", "LoadKey",
    "RestoreKey", "ReplaceKey",
)  # fmt: skip
_OF_PARENT = ("CreateKey", "DeleteKey", "RenameKey")
_QUERY = """
    WITH asked AS (
        SELECT key_id, source_id, last_written_ns, same_as FROM {baseline} JOIN {keys} USING (key_id)
        WHERE tells <> 'absent' AND last_written_ns BETWEEN {first_ns} AND {last_ns} AND {condition}
    ),
    groups AS (SELECT key_id, same_as FROM {keys} WHERE same_as IN (SELECT same_as FROM asked)),
    done AS (
        SELECT key_id, operation, time_ns FROM {events}
        WHERE coalesce(status, 0) < 2147483648 AND (operation <> 'CreateKey' OR coalesce(disposition, 1) = 1)
            AND operation IN ({operations})
    ),
    changes AS (
        SELECT same_as, time_ns FROM done JOIN groups USING (key_id) WHERE operation IN ({own})
        UNION ALL
        SELECT groups.same_as, time_ns
        FROM done JOIN {keys} AS child USING (key_id) JOIN groups ON child.parent_id = groups.key_id
        WHERE operation IN ({of_parent})
    ),
    written AS (
        SELECT asked.key_id, source_id, last_written_ns,
            max(time_ns) FILTER (time_ns <= last_written_ns + {tolerance}) AS changed_ns
        FROM asked LEFT JOIN changes USING (same_as) GROUP BY ALL
    ),
    found AS (
        SELECT key_id, source_id, last_written_ns, changed_ns,
            CASE WHEN {is_unproved} OR EXISTS (
                SELECT 1 FROM {losses} WHERE kind IN ({kinds})
                    AND coalesce(from_ns, last_written_ns) <= last_written_ns + {tolerance}
                    AND coalesce(to_ns, last_written_ns) >= last_written_ns - {tolerance}
            ) THEN 'lost' ELSE 'unseen' END AS finding
        FROM written WHERE changed_ns IS NULL OR changed_ns < last_written_ns - {tolerance}
        UNION ALL
        SELECT key_id, source_id, NULL, NULL, 'in_memory'
        FROM {baseline} JOIN {keys} USING (key_id) WHERE key_id IN (FROM {unsaid}) AND {condition}
    )
    SELECT finding, display_path AS display_key, make_timestamptz(last_written_ns // 1000) AS last_written,
        make_timestamptz(changed_ns // 1000) AS last_change, hives.name AS hive, path AS key, key_id
    FROM found JOIN {keys} USING (key_id) LEFT JOIN (VALUES {hives}) AS hives(id, name) ON hives.id = source_id
    ORDER BY list_position({words}, finding), last_written_ns, display_key, key_id
"""


def query(
    context: QueryContext, filters: Filters, *, tolerance_s: float = TOLERANCE_S, limit: int | None = None
) -> Query:
    """Return the query; `analysis.capture.Capture.baseline` lists the columns.

    Args:
        context: the context of the question.
        filters: which keys; other filters make no sense here.
        tolerance_s: by how much a change and the last write that it set may differ, seconds.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood, or no capture has a baseline.
    """
    if not 0 <= tolerance_s < 1e6:
        raise UsageError(f"invalid tolerance {tolerance_s}; use seconds, 0 or more")
    if not has_baseline(context):
        raise UsageError(
            f"{context.path.name} has no baseline: give hives to the ingest, `regtrace ingest TRACE --baseline HIVE`"
        )
    answers = [_findings(one, filters, round(tolerance_s * 1e9)) for one in context.each(filters)]
    found = together(answers, limit=check_limit(limit))
    return Query(context, filters, found, doubts=doubts_of_hives(context))


def _findings(context: QueryContext, filters: Filters, tolerance: int) -> Relation:
    first_ns, last_ns = context.span() or (0, -1)
    names = context.manifest.totals.get("names", {})
    tables = {name: context.relation(name).source for name in ("keys", "losses")}
    events = context.relation("stored_events")
    hives = [
        f"({number}, {quoted(str(source.get('name')))})"
        for number, source in enumerate(context.manifest.sources)
        if source.get("kind") == "hive"
    ]
    sql = _QUERY.format(
        **tables,
        baseline=context.relation(BASELINE_KEYS.name).source,
        events=events.source,
        unsaid=unsaid_keys(context, events).source,
        condition=_condition(context, filters),
        first_ns=first_ns,
        last_ns=last_ns,
        tolerance=tolerance,
        own=_listed(_OWN),
        of_parent=_listed(_OF_PARENT),
        operations=_listed({*_OWN, *_OF_PARENT}),
        kinds=_listed(LOST_KINDS),
        is_unproved="true" if names.get("partial") or names.get("none") else "false",
        hives=", ".join(hives) or "(NULL, NULL)",
        words=f"[{_listed(FINDINGS)}]",
    )
    columns = tuple(
        (name, dict(context.relation("keys").columns).get(name, kind) if name == "key_id" else kind)
        for name, kind in _COLUMNS
    )
    return Relation(sql, columns)


def _condition(context: QueryContext, filters: Filters) -> str:
    if filters.key is None:
        return "true"
    ids = context.key_ids(filters)
    if isinstance(ids, Relation):
        return f"key_id IN (SELECT key_id FROM {ids.source})"
    return f"key_id IN ({', '.join(map(str, ids or [])) or 'NULL'})"


def _listed(words: "tuple[str, ...] | set[str] | dict[str, str]") -> str:
    return ", ".join(map(quoted, words if isinstance(words, tuple | dict) else sorted(words)))
