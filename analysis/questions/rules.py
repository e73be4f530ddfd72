"""What Sigma rules say of captures: hits, what cannot be told and why, and how many rules there are of each kind."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.engine.columns import joined
from analysis.engine.relation import Relation, quoted
from analysis.filters import Filters
from analysis.questions import history
from analysis.questions.context import QueryContext
from analysis.questions.key_conditions import literal
from analysis.questions.query import ArrowSource, check_limit, frame_of
from analysis.rules.sigma_advice import advice
from analysis.rules.sigma_events import OPERATIONS, CaptureWrites, Writes, writes_relation
from analysis.rules.sigma_levels import LEVELS
from analysis.rules.sigma_rules import Rule, Rules, load_rules
from analysis.rules.sigma_verdicts import Verdict, judge
from tracer.errors import UsageError
from tracer.registry.values import decode_value, type_name

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["RULES", "RulesQuery", "query"]

RULES = {
    "section": "string", "level": "string", "title": "string", "rule_id": "string", "techniques": "string", "time": "timestamp[us, tz=UTC]",
    "operation": "string", "done": "bool", "status_name": "string", "display_key": "string", "value_name": "string", "details": "string",
    "before": "string", "before_type": "string", "before_from": "string", "process": "string", "pid": "uint32", "user": "string", "image_path": "string",
    "command_line": "string", "parent": "string", "parent_pid": "uint32", "opened_by": "string", "opened_by_pid": "uint32",
    "gap": "string", "advice": "string", "events": "int64", "rules": "int64", "author": "string", "path": "string",
    "sequence": "int64", "opened_sequence": "int64", "key_id": "int64", "process_id": "int64", "handle_id": "int64",
}  # fmt: skip
_MOST_EVENTS = 1_000_000  # of a section; each row of it has all that leads on
_MOST_KEYS = 2_000  # keys of hits of which the data before are looked for
_BEFORE = ("before", "before_type", "before_from")
_EVENT = (
    "sequence", "time", "operation", "status", "status_name", "display_key", "value_name", "process", "pid", "user",
    "command_line", "key_id", "process_id", "handle_id", "previous_type", "previous_size", "previous_data",
)  # fmt: skip
_Sequences = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RulesQuery(ArrowSource):
    """Rules, asked of the writes that fit filters.

    Attributes:
        context: the context of the question.
        filters: which events count.
        rules: the rules.
        attempts: whether attempts that failed count too.
        unknown: whether events of which cannot be told whether they match are listed.
        limit: the first so many hits, and so many of these events; None for all.
    """

    context: QueryContext
    filters: Filters
    rules: Rules
    attempts: bool = False
    unknown: bool = False
    limit: int | None = None

    def to_arrow(self) -> pa.Table:
        """Return the rows of all sections, one after the other; the columns RULES.

        * hit: an event that a rule matches: the rule; when, what was done, details (the data as Sysmon shows them), before (the
          data before, as `history` tells them), before_type (REG_SZ and so on) and before_from; who, with the parent, and opened_by: the process that opened
          the handle; done is False for an attempt that failed;
        * event: the same of an event of which cannot be told whether the rule matches; `gap` says what is not known;
        * unknown: per rule that cannot be told of some events, and per gap: how many `events` these are;
        * gap: per gap: of how many `events` and `rules` it is one, and `advice`: what to record next time;
        * count: `gap` names a kind of rules, `rules` is their number: tried (those about the registry that were asked), and
          of these matched, no match, cannot tell, with their `events`; left out (by level or word); other log sources;
          broken;
        * source: `gap` names another log source, `rules` is the number of its rules;
        * broken: `gap` says why a rule, or a whole file at `path`, cannot be read.

        Rules follow each other by level, the most severe first, then by title; events by sequence.

        Raises:
            UsageError: without a limit, these are more than _MOST_EVENTS events.
        """
        alike = self.context.groups(self.filters, lambda manifest: (manifest.control_set,))
        writes = Writes([self._writes_of(one) for one in alike])
        verdicts = sorted(judge(self.rules.rules, writes), key=lambda one: _order(one.rule))
        parts = [self._events("hit", [(one, one.hits) for one in verdicts], writes)]
        if self.unknown:
            parts.append(self._events("event", [(one, one.unknown) for one in verdicts], writes))
        parts.append(
            _table(
                [
                    *_unknown(verdicts, writes),
                    *_gaps(verdicts, writes),
                    *_counts(self.rules, verdicts, writes),
                ]
            )
        )
        return self.context.labelled(pa.concat_tables(parts))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        return frame_of(self.to_arrow(), self.context, self.filters, depth=depth + 1)

    def to_ibis(self) -> "Table":
        """Raise UsageError: rules are decided outside the engine, and have no lazy form."""
        raise UsageError("verdicts of rules have no lazy form; use to_arrow() or to_pandas()")

    def _writes_of(self, context: QueryContext) -> CaptureWrites:
        """Return the distinct writes of one capture, or of several with one control set."""
        engine = context.engine
        found = writes_relation(context.rows(self.filters), attempts=self.attempts)
        writes = engine.fetch(found)
        used = self._held(np.unique(writes["key_id"].drop_null().to_numpy()))
        keys = context.relation("keys").select("key_id", "display_path")
        of_used = f"SELECT * FROM ({keys.sql}) SEMI JOIN {used.source} ON key_id = wanted"
        processes = ("process_id", "pid", "image", "image_path", "dos_path", "dos_path_source", "user")
        return CaptureWrites(
            writes=writes,
            keys=engine.fetch(Relation(of_used, keys.columns)),
            processes=engine.fetch(context.relation("processes").select(*processes)),
            control_set=context.manifest.control_set,
        )

    def _events(
        self, section: str, chosen: Sequence[tuple[Verdict, NDArray[np.int64]]], writes: Writes
    ) -> pa.Table:
        """Return a row for each event of some writes of each rule."""
        rules: list[Rule] = []
        counts, sequences, places, gaps = [], [np.empty(0, np.int64)], [np.empty(0, np.int64)], []
        left = self.limit
        if left is None and sum(int(writes.times[rows].sum()) for _, rows in chosen) > _MOST_EVENTS:
            what = "match" if section == "hit" else "cannot be told of"
            raise UsageError(
                f"the rules {what} more than {_MOST_EVENTS:,} events; name one with --rule, narrow by --key or another "
                "filter, or give --limit"
            )
        for verdict, rows in chosen:
            if not len(rows) or left == 0:
                continue
            own = writes.sequences.take(pa.array(rows)).flatten().to_numpy().astype(np.int64)
            write = np.repeat(rows, writes.times[rows])
            order = np.argsort(own, kind="stable")[:left]
            rules.append(verdict.rule)
            counts.append(len(order))
            sequences.append(own[order])
            places.append(write[order])
            gaps.append(_gap_texts(verdict, write[order]) if section == "event" else [None] * len(order))
            left = None if left is None else left - len(order)
        place, sequence = np.concatenate(places), np.concatenate(sequences)
        if not len(sequence):
            return _table([])
        number = np.repeat(np.arange(len(rules)), counts)
        facts = self._facts(np.unique(sequence), with_before=section == "hit")
        at = pa.array(np.searchsorted(facts["sequence"].to_numpy(), sequence))
        columns: dict[str, pa.Array | pa.ChunkedArray] = {
            name: facts[name].take(at) for name in facts.column_names
        }
        details = writes.fields["Details"]
        columns["details"] = pa.array([_shown(details.known(row)) for row in place.tolist()], pa.string())
        columns["done"] = pa.array(
            [None if status is None else not failed for status, failed in
             zip(columns["status"].to_pylist(), writes.failed[place].tolist(), strict=True)]
        )  # fmt: skip
        columns["gap"] = pa.array([text for some in gaps for text in some], pa.string())
        columns["section"] = pa.repeat(pa.scalar(section), len(sequence))
        columns["events"] = pa.repeat(pa.scalar(1, pa.int64()), len(sequence))
        of_rules = [_of_rule(rule) for rule in rules]
        for name in of_rules[0]:
            columns[name] = pa.array([one[name] for one in of_rules], pa.string()).take(pa.array(number))
        return _table(columns, len(sequence))

    def _facts(self, sequences: _Sequences, *, with_before: bool) -> pa.Table:
        """Return what is known of some events besides Sysmon's fields, one row each, in order."""
        engine = self.context.engine
        held, stored = self._held(sequences), self.context.relation("stored_events")
        # Names are joined on the rows that are asked for alone.
        listed = ", ".join(map(quoted, OPERATIONS))  # an engine leaves out the others before it joins
        few = f"SELECT * FROM {stored.source} SEMI JOIN {held.source} ON sequence = wanted WHERE operation IN ({listed})"
        rows = engine.keep("ruled", Relation(few, stored.columns))
        events = joined(rows, self.context.relation("keys"), self.context.relation("processes"))
        processes = self.context.relation("processes").source
        chosen = ", ".join(f'e."{name}"' for name in _EVENT)
        kinds = dict(events.columns)
        relation = Relation(
            f"""
            SELECT {chosen}, p.image_path, a.image AS parent, coalesce(a.pid, p.parent_pid) AS parent_pid,
                o.image AS opened_by, o.pid AS opened_by_pid, h.opened_sequence
            FROM ({events.sql}) e
                LEFT JOIN (SELECT * FROM {processes}) p ON e.process_id = p.process_id
                LEFT JOIN (SELECT * FROM {processes}) a ON p.parent_id = a.process_id
                LEFT JOIN (SELECT * FROM {self.context.relation("handles").source}) h ON e.handle_id = h.handle_id
                LEFT JOIN (SELECT * FROM {processes}) o ON h.process_id = o.process_id
            ORDER BY e.sequence
            """,
            (
                *((name, kinds[name]) for name in _EVENT),
                ("image_path", "string"), ("parent", "string"), ("parent_pid", "uint32"), ("opened_by", "string"),
                ("opened_by_pid", "uint32"), ("opened_sequence", "int64"),
            ),
        )  # fmt: skip
        facts = engine.fetch(relation)
        before = self._before(facts) if with_before else {}
        found = [before.get(sequence, (None,) * len(_BEFORE)) for sequence in facts["sequence"].to_pylist()]
        for place, name in enumerate(_BEFORE):
            facts = facts.append_column(name, pa.array([one[place] for one in found], pa.string()))
        return facts

    def _held(self, numbers: NDArray[np.int64]) -> Relation:
        """Return numbers as a table of the engine, with the column `wanted`."""
        listed = pa.table({"wanted": pa.array(numbers, pa.int64())})
        key = sha256(numbers.tobytes()).hexdigest()
        return self.context.engine.hold("ruled", key, lambda: listed, (("wanted", "int64"),))

    def _before(self, facts: pa.Table) -> dict[int, tuple[str | None, ...]]:
        """Return what values held before some events, as text, of which type, and how that is known, by sequence.

        Of several captures only what the events themselves recorded: a history of each would take longer than the rules.
        """
        rows = facts.select(
            [
                "sequence",
                "operation",
                "key_id",
                "display_key",
                "previous_type",
                "previous_size",
                "previous_data",
            ]
        ).to_pylist()
        recorded: dict[int, tuple[str | None, ...]] = {
            row["sequence"]: (
                decode_value(row["previous_type"], row["previous_data"], row["previous_size"]),
                None if row["previous_type"] is None else type_name(row["previous_type"]),
                "event",
            )
            for row in rows
            if row["previous_data"] is not None
            or (row["previous_type"] is not None and row["previous_size"] == 0)
        }
        asked = {
            row["sequence"]: (row["key_id"], row["display_key"])
            for row in rows
            if row["operation"] in ("SetValueKey", "DeleteValueKey")
            and row["key_id"] is not None
            and row["sequence"] not in recorded
        }
        keys = sorted(set(asked.values()))
        if len(self.context.stores) > 1 or not 0 < len(keys) <= _MOST_KEYS:
            return recorded
        # A path is looked up sooner than an id; a key below an unnamed object has no other name than its id.
        names = [f"#{key_id}" if not path or path.startswith("<") else literal(path) for key_id, path in keys]
        found = history.query(self.context, Filters(key=names)).to_arrow()
        sequences, *told = (
            found[name].to_pylist() for name in ("sequence", "old_text", "old_type_name", "old_from")
        )
        by_sequence = zip(sequences, zip(*told, strict=True), strict=True)
        return recorded | {sequence: said for sequence, said in by_sequence if sequence in asked}


def query(
    context: QueryContext,
    filters: Filters,
    paths: str | Path | Iterable[str | Path],
    *,
    level: str | None = None,
    rule: str | None = None,
    attempts: bool = False,
    unknown: bool = False,
    limit: int | None = None,
) -> RulesQuery:
    """Return the query.

    Args:
        context: the context of the question.
        filters: which events count.
        paths: files, folders or patterns of Sigma rules.
        level: only rules of at least this level (`analysis.rules.sigma_levels.LEVELS`).
        rule: only rules with this text in their title or id.
        attempts: attempts that failed count too.
        unknown: list the events of which cannot be told whether they match.
        limit: the first so many hits, and so many of these events; None for all.

    Raises:
        UsageError: a filter, a path or the level cannot be understood.
        RegtraceError: pySigma is not installed.
    """
    context.rows(filters)  # a mistake is said now
    return RulesQuery(
        context, filters, load_rules(paths, level=level, rule=rule), attempts, unknown, check_limit(limit)
    )


def _order(rule: Rule) -> tuple[int, str, str]:
    severity = -1 if rule.level is None else LEVELS.index(rule.level)
    return -severity, rule.title, rule.path


def _of_rule(rule: Rule) -> dict[str, str | None]:
    """Return what the rows of a rule say of it."""
    return {
        "level": rule.level,
        "title": rule.title,
        "rule_id": rule.rule_id,
        "techniques": ", ".join(rule.techniques) or None,
        "author": rule.author,
        "path": rule.path,
    }


def _shown(known: Any) -> str | None:  # noqa: ANN401
    """Return Details of a hit; None where they are not known, or not as a whole."""
    return known.texts[0] if known.how == "whole" and len(known.texts) == 1 else None


def _gap_texts(verdict: Verdict, writes: NDArray[np.int64]) -> list[str]:
    """Return of each write what is not known, in words."""
    by_write: dict[int, list[str]] = {}
    for gap, rows in verdict.gaps:
        for row in rows.tolist():
            by_write.setdefault(row, []).append(gap)
    return ["; ".join(by_write.get(row, ())) for row in writes.tolist()]


def _unknown(verdicts: Sequence[Verdict], writes: Writes) -> Iterable[dict[str, Any]]:
    for verdict in verdicts:
        for gap, rows in sorted(verdict.gaps, key=lambda one: -len(one[1])):
            yield _of_rule(verdict.rule) | {
                "section": "unknown",
                "gap": gap,
                "events": int(writes.times[rows].sum()),
                "advice": advice(gap),
            }


def _gaps(verdicts: Sequence[Verdict], writes: Writes) -> Iterable[dict[str, Any]]:
    by_gap: dict[str, list[NDArray[np.int64]]] = {}
    for verdict in verdicts:
        for gap, rows in verdict.gaps:
            by_gap.setdefault(gap, []).append(rows)
    found = [(gap, len(some), np.unique(np.concatenate(some))) for gap, some in by_gap.items()]
    for gap, rules, rows in sorted(found, key=lambda one: (-one[1], one[0])):
        events = int(writes.times[rows].sum())
        yield {"section": "gap", "gap": gap, "rules": rules, "events": events, "advice": advice(gap)}


def _counts(rules: Rules, verdicts: Sequence[Verdict], writes: Writes) -> Iterable[dict[str, Any]]:
    words = Counter(one.word for one in verdicts)
    counts = {
        "tried": len(verdicts),
        "matched": words["match"],
        "no match": words["no match"],
        "cannot tell": words["cannot tell"],
        "left out": rules.skipped,
        "other log sources": sum(rules.others.values()),
        "broken": len(rules.broken),
    }
    events = {
        "matched": sum(int(writes.times[one.hits].sum()) for one in verdicts),
        "cannot tell": sum(
            int(writes.times[one.unknown].sum()) for one in verdicts if one.word == "cannot tell"
        ),
    }
    for name, count in counts.items():
        yield {"section": "count", "gap": name, "rules": count, "events": events.get(name)}
    for name, count in sorted(rules.others.items(), key=lambda one: (-one[1], one[0])):
        yield {"section": "source", "gap": name, "rules": count}
    for one in rules.broken:
        yield {"section": "broken", "gap": one.reason, "path": one.path}


def _table(rows: Sequence[dict[str, Any]] | dict[str, Any], count: int = 0) -> pa.Table:
    """Return rows, or columns of `count` rows, as a table of RULES; what is not said is NULL."""
    arrays = []
    for name, kind in RULES.items():
        type_ = pa.timestamp("us", "UTC") if kind.startswith("timestamp") else pa.type_for_alias(kind)
        if not isinstance(rows, dict):
            arrays.append(pa.array([row.get(name) for row in rows], type_))
            continue
        column = rows.get(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        arrays.append(pa.nulls(count, type_) if column is None else column.cast(type_))
    return pa.Table.from_arrays(arrays, names=list(RULES))
