"""What to look at first: autostart points, rules, policies and net changes in one list, ordered by weight."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.engine.relation import arrow_schema
from analysis.filters import Filters
from analysis.policy.folder import Policies
from analysis.questions import autoruns, changes, policies
from analysis.questions import rules as rules_question
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, check_limit, frame_of
from analysis.rules.weights import LEVEL_WEIGHTS, RARE_HOSTS, WEIGHTS
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError
from tracer.registry.text import fold_name

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["TRIAGE", "TriageQuery", "query", "ranked_findings"]

TRIAGE = {
    "weight": "int64", "reasons": "string", "found_by": "string", "time": "timestamp[us, tz=UTC]", "last_time": "timestamp[us, tz=UTC]",
    "process": "string", "pid": "uint32", "display_key": "string", "value_name": "string", "done": "bool", "before": "string",
    "after": "string", "category": "string", "techniques": "string", "rules": "string", "setting": "string", "events": "int64",
    "hosts": "int64", "sequence": "int64", "key_id": "int64", "process_id": "int64",
}  # fmt: skip
_USER = re.compile(r"HKU\\(S-1-5-21-[0-9-]+|\.DEFAULT)(_Classes)?(?=\\|\Z)", re.IGNORECASE)
_FINDERS = ("rules", "autoruns", "policy", "changes")


@dataclass(slots=True)
class _Finding:
    """What is known of one value that one process touched; the most telling source fills it first."""

    host: Mapping[str, Any]
    facts: dict[str, Any]
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)  # by group: weight and words
    finders: set[str] = field(default_factory=set)
    times: list[datetime] = field(default_factory=list)
    sequences: set[int] = field(default_factory=set)
    techniques: dict[str, None] = field(default_factory=dict)
    titles: dict[str, None] = field(default_factory=dict)
    hosts: int = 1

    def add(self, group: str, weight: int, words: str) -> None:
        """Note a reason; of a group only the heaviest counts."""
        if group not in self.reasons or self.reasons[group][0] < weight:
            self.reasons[group] = weight, words

    def fill(self, **facts: str | bool | None) -> None:
        """Note facts that are not known yet."""
        for name, fact in facts.items():
            if self.facts.get(name) is None:
                self.facts[name] = fact

    def row(self) -> dict[str, Any]:
        """Return the row of the answer."""
        ordered = sorted(self.reasons.values(), key=lambda reason: -reason[0])
        return {
            **self.host,
            **self.facts,
            "weight": sum(weight for weight, _ in ordered),
            "reasons": "; ".join(f"{words} ({weight})" for weight, words in ordered),
            "found_by": ", ".join(name for name in _FINDERS if name in self.finders),
            "time": min(self.times, default=None),
            "last_time": max(self.times, default=None),
            "techniques": ", ".join(self.techniques) or None,
            "rules": "; ".join(self.titles) or None,
            "events": len(self.sequences),
            "hosts": self.hosts,
            "sequence": min(self.sequences, default=None),
        }


@dataclass(frozen=True, slots=True)
class TriageQuery(ArrowSource):
    """The query of what to look at first.

    Attributes:
        context: the context of the question.
        filters: which events count.
        rules: verdicts of Sigma rules; None: no rules were given.
        policies: what policy files say; None: none were given.
        limit: the first so many rows; None for all.
    """

    context: QueryContext
    filters: Filters
    rules: "rules_question.RulesQuery | None" = None
    policies: Policies | None = None
    limit: int | None = None

    def to_arrow(self) -> pa.Table:
        """Run the query and return the answer, the heaviest first.

        One row for each value (or key, where value_name is NULL) that one process touched, and why: weight is the sum of
        the weights in `reasons` (`analysis.rules.weights`). found_by: rules, autoruns, policy, changes. time and last_time of
        what was found; done is False where only attempts failed. before and after: the data as text, NULL where nobody
        saw it, "(none)" for none. category of the autostart point, techniques (ATT&CK), rules (titles), setting (of a policy).
        events: how many; hosts: on how many of the captures' hosts a program of this name changed this value. Of a
        dataset with the columns host and capture first.
        """
        context, filters = self.context, self.filters
        ranked = ranked_findings(
            context,
            filters,
            touches=autoruns.query(context, filters).to_arrow(),
            verdicts=None if self.rules is None else self.rules.to_arrow(),
            written=None
            if self.policies is None
            else policies.policy_writes(context, filters, self.policies),
        )
        return ranked.slice(0, self.limit)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What else a reader must know: policy files that could not be read."""
        return () if self.policies is None else tuple(self.policies.problems)

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        frame = frame_of(self.to_arrow(), self.context, self.filters, depth=depth + 1)
        frame.attrs["notes"] = list(self.sentences)
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: the list is made outside the engine, and has no lazy form."""
        raise UsageError("triage has no lazy form; use to_arrow() or to_pandas()")


def ranked_findings(
    context: QueryContext,
    filters: Filters,
    *,
    touches: pa.Table,
    verdicts: pa.Table | None = None,
    written: pa.Table | None = None,
) -> pa.Table:
    """Return the rows of `TriageQuery.to_arrow` for answers that are there already, which are not asked for again.

    Args:
        context: the context of the question.
        filters: which events count; the answers were asked with the same.
        touches: the answer of `analysis.questions.autoruns`.
        verdicts: the answer of `analysis.questions.rules`; None: no rules were given.
        written: the answer of `analysis.questions.policies`; None: no policies were given.
    """
    findings: dict[tuple[Any, ...], _Finding] = {}
    _add_autoruns(
        findings, touches.to_pylist()
    )  # first: it tells data as other answers do, rules as Sysmon does
    if verdicts is not None:
        _add_rules(findings, verdicts.to_pylist())
    if written is not None:
        _add_policies(findings, written.to_pylist())
    _add_changes(findings, changes.query(context, filters, fold="noise").to_arrow().to_pylist())
    _count_hosts(findings.values(), len(context.stores))
    rows = sorted((one.row() for one in findings.values()), key=_order)
    labels = [label for label in touches.schema if label.name in ("host", "capture")]
    return from_rows(rows, pa.schema([*labels, *arrow_schema(tuple(TRIAGE.items()))]))


def query(
    context: QueryContext,
    filters: Filters,
    *,
    rules: "rules_question.RulesQuery | None" = None,
    policies: Policies | None = None,
    limit: int | None = None,
) -> TriageQuery:
    """Return the query.

    Args:
        context: the context of the question.
        filters: which events count.
        rules: the query of Sigma rules, with the same filters; None: without rules.
        policies: what policy files say; None: without policies.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    context.rows(filters)  # a mistake is said now
    return TriageQuery(context, filters, rules, policies, check_limit(limit))


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return -row["weight"], str(row.get("host", "")), row["sequence"] if row["sequence"] is not None else -1


def _finding(findings: dict[tuple[Any, ...], _Finding], row: Mapping[str, Any], finder: str) -> _Finding:
    """Return the finding of a row's value and process, made where it is new."""
    host = {name: row[name] for name in ("host", "capture") if name in row}
    value = row["value_name"]
    identity = (*host.values(), row["key_id"], None if value is None else fold_name(value), row["process_id"])
    found = findings.get(identity)
    if found is None:
        names = ("display_key", "value_name", "process", "pid", "key_id", "process_id")
        found = findings[identity] = _Finding(host, {name: row[name] for name in names})
    found.finders.add(finder)
    for name in ("time", "last_time"):
        if row.get(name) is not None:
            found.times.append(row[name])
    for name in ("sequence", "last_sequence"):
        if row.get(name) is not None:
            found.sequences.add(row[name])
    return found


def _add_rules(findings: dict[tuple[Any, ...], _Finding], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["section"] != "hit":
            continue
        found = _finding(findings, row, "rules")
        found.add(
            "rule",
            LEVEL_WEIGHTS.get(row["level"], LEVEL_WEIGHTS[None]),
            f"rule {row['level'] or 'without level'}: {row['title']}",
        )
        found.titles[row["title"] or row["path"]] = None
        found.techniques |= dict.fromkeys(filter(None, (row["techniques"] or "").split(", ")))
        found.fill(
            done=row["done"], before=_none_if_absent(row["before_from"], row["before"]), after=row["details"]
        )


def _add_autoruns(findings: dict[tuple[Any, ...], _Finding], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        found = _finding(findings, row, "autoruns")
        weight, _ = WEIGHTS[row["kind"]]
        found.add("place", weight, f"{row['kind']}: {row['autostart']}")
        found.techniques[row["technique"]] = None
        if row["novelty"] in ("new", "changed"):
            found.add("novelty", WEIGHTS[row["novelty"]][0], row["novelty"])
        if row["user_writable"] or row["payload_folder"] == "user":
            found.add("folder", WEIGHTS["user folder"][0], "user folder")
        if row["host_program"] is not None:
            found.add("host", WEIGHTS["script host"][0], f"script host {row['host_program']}")
        if row["remote"] is not None:
            found.add("remote", WEIGHTS["remote"][0], f"remote {row['remote']}")
        found.fill(
            category=row["category"],
            done=row["done"],
            before=_none_if_absent(row["old_from"], row["old_text"]),
            after=row["new_text"] if row["operation"] == "SetValueKey" else None,
        )


def _add_policies(findings: dict[tuple[Any, ...], _Finding], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["verdict"] != policies.AGAINST:
            continue
        found = _finding(findings, row, "policy")
        wanted = "no such value" if row["policy_text"] is None else row["policy_text"]
        found.add("policy", WEIGHTS["against policy"][0], f"against policy, which says {wanted}")
        if row["overwrote"]:
            found.add("overwrote", WEIGHTS["overwrote policy"][0], "overwrote policy")
        found.fill(setting=row["setting"], done=row["done"], after=row["new_text"])


def _add_changes(findings: dict[tuple[Any, ...], _Finding], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        row = {**row, "sequence": row["first_sequence"], "time": row["first_time"]}
        found = _finding(findings, row, "changes")
        if not found.reasons:
            what = f"key {row['change']}" if row["value_name"] is None else row["change"]
            found.add("change", WEIGHTS["net change"][0], f"net change: {what}")
        is_value = row["value_name"] is not None
        found.fill(
            done=True,
            before=_none_if_absent(row["before_from"], row["before_text"]) if is_value else None,
            after=("(none)" if row["change"] == "removed" else row["after_text"]) if is_value else None,
        )


def _none_if_absent(source: str | None, text: str | None) -> str | None:
    return "(none)" if source == "absent" else text


def _count_hosts(findings: Iterable[_Finding], captures: int) -> None:
    """Note on how many hosts a program of the same name changed the same value; of few hosts nothing is rare."""
    if captures < 2:
        return
    listed = list(findings)
    hosts: dict[tuple[Any, ...], set[Any]] = {}
    for one in listed:
        hosts.setdefault(_pair(one), set()).add(one.host.get("host"))
    every = {one.host.get("host") for one in listed}
    for one in listed:
        one.hosts = len(hosts[_pair(one)])
        if one.hosts == 1 and len(every) >= RARE_HOSTS:
            one.add("rare", WEIGHTS["rare"][0], f"rare: on 1 of {len(every):,} hosts")


def _pair(one: _Finding) -> tuple[Any, ...]:
    """Return the program's name, the key with its user left out, and the value."""
    facts = one.facts
    key = _USER.sub(lambda found: f"HKU\\*{found[2] or ''}", facts["display_key"] or "")
    value = facts["value_name"]
    return fold_name(facts["process"] or ""), fold_name(key), None if value is None else fold_name(value)
