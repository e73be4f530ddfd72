"""Every analysis as a function of tables, for the test that two engines answer alike."""

from collections.abc import Callable, Mapping
from functools import partial

from ibis.expr.types import Table

from analysis.answers.changes import touched_values_and_keys
from analysis.answers.counts import measured
from analysis.answers.coverage import coverage
from analysis.answers.diff import candidates, side
from analysis.answers.errors import errors
from analysis.answers.evidence import evidence
from analysis.answers.handle_use import handle_use
from analysis.answers.handles import handle_lives
from analysis.answers.history import value_history
from analysis.answers.hot import hot
from analysis.answers.keys import key_summary, sort_keys
from analysis.answers.read_runs import nameless_changes, read_runs
from analysis.answers.redundant import redundant_reads
from analysis.answers.search_chains import search_chains
from analysis.answers.slow import durations, misses, time_spent
from analysis.answers.state import state_at
from analysis.answers.steps import contents_until, step_keys, steps
from analysis.answers.storms import storms
from analysis.answers.timeline import timeline
from analysis.answers.tree import subtrees
from analysis.answers.unproved import unproved_changes
from analysis.answers.who import touched_by, who
from analysis.answers.words import HOT_BY
from analysis.expressions.row_filters import filter_events

__all__ = ["ANSWERS", "NO_TABLES"]

Tables = Mapping[str, Table]


def of(tables: Tables, *names: str) -> list[Table]:
    return [tables[name] for name in names]


def proof(tables: Tables) -> Table:
    return evidence(tables["stored_events"], tables["keys"])


def named(tables: Tables) -> dict[str, Table]:
    return {name: tables[name] for name in ("keys", "processes", "losses")}


def runs(tables: Tables) -> Table:
    return read_runs(*of(tables, "stored_events", "stored_events", "keys"))


def nothing_lost(tables: Tables) -> Table:
    return tables["losses"].filter(tables["losses"]["kind"] == "no such").select("kind", "from_ns", "to_ns")


def timed(tables: Tables) -> Table:
    """Return the events as if their source recorded durations."""
    events = tables["stored_events"]
    return events.mutate(duration_ns=(events["sequence"] % 977 * 4_321).cast("int64"))


def halves(tables: Tables) -> list[Table]:
    events = tables["stored_events"]
    return [
        side(events.filter(half), **named(tables), folds=("sid",))
        for half in (events["sequence"] < 1500, events["sequence"] >= 1500)
    ]


def lives(tables: Tables) -> Table:
    return handle_lives(*of(tables, "stored_events", "handles", "keys", "processes", "losses"), end_ns=2**62)


def hottest(tables: Tables, by: str) -> Table:
    return hot(*of(tables, "stored_events", "keys", "processes"), by=by)


# "module" or "module: how" -> the analysis; each gives rows in a total order
ANSWERS: dict[str, Callable[[Tables], Table]] = {
    "timeline": lambda tables: timeline(tables["events"]),
    "timeline: chosen": lambda tables: timeline(
        filter_events(
            tables["events"],
            value="*a*",
            operation="read",
            status="error",
            processes=tables["processes"].filter(tables["processes"]["pid"] > 4),
        )
    ),
    "keys": lambda tables: sort_keys(key_summary(*of(tables, "stored_events", "keys")), "events"),
    "keys: usage": lambda tables: sort_keys(
        key_summary(*of(tables, "stored_events", "keys", "usage")), "events"
    ),
    "who": lambda tables: who(*of(tables, "stored_events", "keys", "processes")),
    "who: each": lambda tables: touched_by(*of(tables, "stored_events", "keys", "processes")),
    "evidence": lambda tables: proof(tables).order_by("sequence", "key_id"),
    "counts": lambda tables: measured(
        *of(tables, "stored_events", "keys"), "group_id", "process_id", "operation"
    ).order_by("first_sequence"),
    **{f"hot: {by}": partial(hottest, by=by) for by in HOT_BY},
    "storms": lambda tables: storms(*of(tables, "stored_events", "keys", "processes"), min_count=3),
    "tree": lambda tables: subtrees(*of(tables, "stored_events", "keys")),
    "history": lambda tables: value_history(proof(tables), **named(tables)),
    "state": lambda tables: state_at(proof(tables), **named(tables)),
    # `content` is a hash, each engine's own: it is compared inside one answer only.
    "read_runs": lambda tables: runs(tables).drop("content").order_by("sequence"),
    "read_runs: nameless": lambda tables: nameless_changes(
        *of(tables, "stored_events", "keys"), width_ns=1_000_000
    ).order_by("from_ns"),
    "redundant": lambda tables: redundant_reads(
        runs(tables), tables["keys"], tables["processes"], nothing_lost(tables)
    ),
    "unproved": lambda tables: unproved_changes(
        *of(tables, "stored_events", "keys"), width_ns=1_000_000
    ).order_by("kind", "name", "from_ns"),
    "diff": lambda tables: side(
        tables["stored_events"], **named(tables), folds=("sid", "guid", "wow64")
    ).order_by("what", "key_name", "value", "image", "operation"),
    "diff: candidates": lambda tables: candidates(*halves(tables), counts=True),
    "changes": lambda tables: touched_values_and_keys(
        *of(tables, "stored_events", "keys", "processes")
    ).order_by("key_id", "value", "first_sequence"),
    "coverage": lambda tables: coverage(*of(tables, "stored_events", "keys"), also=("sysmon",)),
    "errors": lambda tables: errors(*of(tables, "stored_events", "keys", "processes", "stored_events")),
    "search_chains": lambda tables: search_chains(*of(tables, "stored_events", "keys")).order_by("sequence"),
    "slow": lambda tables: time_spent(timed(tables)),
    "slow: durations": lambda tables: durations(timed(tables)),
    "slow: misses": lambda tables: misses(*of(tables, "stored_events", "keys")).order_by("first_sequence"),
    "steps": lambda tables: steps(tables["stored_events"]),
    "steps: keys": lambda tables: step_keys(*of(tables, "stored_events", "keys")).order_by("key_id"),
    "steps: contents": lambda tables: contents_until(tables["stored_events"], last=1000),
    "handles": lambda tables: lives(tables),
    "handle_use": lambda tables: handle_use(lives(tables), *of(tables, "keys", "processes"), min_count=2),
}

# Modules of analysis/answers that make no table, and why.
NO_TABLES = {
    "value_verdict": "expressions of history and state",
    "contents": "rows of history and state that were fetched",
    "facts": "names of columns",
    "intervals": "times that were fetched",
    "reads": "names of operations",
    "sorted_reads": "reads that were fetched; the windows of redundant are compared",
    "sorted_columns": "columns that were fetched",
    "marks": "evidence that was fetched",
    "sorted_changes": "evidence that was fetched; the windows of changes are compared",
    "sorted_history": "evidence that was fetched; the windows of history are compared",
    "stays": "renames that were fetched",
    "words": "words of options",
    "returned": "Arrow columns that were fetched",
    "net_changes": "rows of changes that were fetched",
    "differences": "rows of diff that were fetched",
    "normalize": "expressions of diff",
    "pairing": "names of both sides that diff folds",
    "alignment": "numbers of steps that were fetched",
    "divergence": "steps that were fetched",
    "other_reads": "contents that were fetched",
    "step_numbers": "steps that were fetched",
    "thread_pairs": "numbers of steps that were fetched",
}
