"""Why a value was written: its writer and the writer's parents, what was read before, and what came of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.causes.chain import Node, Reach, make_chain, walk
from analysis.causes.event_log import EventLog
from analysis.causes.links import MISSING, Operation
from analysis.causes.rules import RULES, weigh
from analysis.engine.connection import engine_errors
from analysis.engine.relation import Relation, arrow_schema, quoted
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, frame_of
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.registry.operations import find_operations
from tracer.registry.text import fold_name, plural
from tracer.registry.value_columns import with_texts
from tracer.sources.abilities import ABILITIES, cannot_report, never

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["NOT_PROOF", "WHY", "WhyQuery", "query"]

WHY = {
    "link": "int64", "of": "int64", "direction": "string", "depth": "int64", "what": "string", "weight": "int64",
    "rules": "string", "evidence": "string", "times": "int64", "left_out": "int64", "time": "timestamp[us, tz=UTC]",
    "apart_ns": "int64", "process": "string", "pid": "uint32", "thread_id": "uint32", "command_line": "string",
    "display_key": "string", "value_name": "string", "operation": "string", "status": "uint32", "data_type": "uint32",
    "data_size": "uint32", "data": "binary", "sequence": "int64", "key_id": "int64", "process_id": "int64",
}  # fmt: skip
NOT_PROOF = (
    "a link is evidence and no proof; what programs tell each other outside of the registry is not in it"
)
_MOST_PARENTS = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROCESSES = "process_id, pid, parent_id, parent_pid, image, command_line, source"
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WhyQuery(ArrowSource):
    """The question why a value was written.

    Attributes:
        context: the context of the question.
        filters: key, value, user, and the time until which (`end`).
        reach: how far the chain goes.
    """

    context: QueryContext
    filters: Filters
    reach: Reach
    needs = "reads"

    def to_arrow(self) -> pa.Table:
        """Return the chain, one row a link; `of` is the link that a row hangs on, and stands before it. No row: no write.

        Columns:

        * link, of: number of the row, and of the row that it hangs on (NULL: the write that is asked about);
        * direction: itself, who, cause or effect; depth: how many writes away;
        * what: write, delete, read, missing (it was read, and was not there), process;
        * weight, rules, evidence: the names of the rules that join it to the other row, the sum of their weights, a sentence;
        * times: how many such reads; left_out: how many further links of this row weigh less and are not shown;
        * time, apart_ns (nanoseconds between the two), process, pid, thread_id, command_line, display_key, value_name,
          operation, status, data_type, data_size, data, sequence, key_id, process_id.

        Of a dataset one chain for each capture that has a write, with the columns host and capture first.
        """
        tables = [self.context.labelled(rows) for rows in self._answers()]
        return with_texts(pa.concat_tables(tables))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats, `attrs["notes"]` what chains cannot say."""
        frame = frame_of(self.to_arrow(), self.context, self.filters, needs=self.needs, depth=depth + 1)
        frame.attrs["notes"] = list(self.sentences)
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: a chain is made step by step, and has no lazy form."""
        raise UsageError("why has no lazy form; use to_arrow() or to_pandas()")

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader must know of every chain: that it is no proof, and whether no source of the capture records reads."""
        sources = {word for _, manifest in self.context.stores for word in manifest.row_sources}
        blind = sources <= ABILITIES.keys() and cannot_report(sources, find_operations("reads"))
        said = never(sources, "reads") if blind else None
        return (NOT_PROOF,) if said is None else (NOT_PROOF, said)

    @property
    def no_write(self) -> str:
        """The sentence for an answer without a row."""
        until = "" if self.filters.end is None else f" by {self.filters.end}"
        name = self.filters.value or "(default)"
        return f"no write or delete of {name} that succeeded{until} is in {self.context.path.name}; `regtrace timeline` shows who read it"

    def _answers(self) -> Iterator[pa.Table]:
        yield from_rows([], _schema())
        for one in self.context.each(self.filters):
            found = _last_write(one, self.filters)
            if found is None:
                continue
            log = EventLog(
                one.engine, one.relation("stored_events"), one.relation("keys"), one.relation("handles")
            )
            sequence, value = found
            with engine_errors():
                root = make_chain(log, log.operations([sequence])[sequence], value, self.reach)
                paths = log.paths(
                    key_id for node, _ in walk(root) if (key_id := node.link.operation.key_id) is not None
                )
                yield from_rows(list(_rows(root, paths, _processes(one))), _schema())


def query(
    context: QueryContext, filters: Filters, *, depth: int = 3, within_s: float = 5.0, most: int = 5
) -> WhyQuery:
    """Return the query.

    Args:
        context: the context of the question.
        filters: key and value, whose (`user`), and until when (`end`): the last write or delete until then is asked about.
        depth: how many writes away from it the chain goes.
        within_s: how far a read may be before a write, and a write after a read; seconds.
        most: links of one kind at one operation.

    Raises:
        UsageError: a filter cannot be understood, or is none of these; a number is out of range.
    """
    if filters.key is None or filters.value is None:
        raise UsageError("why needs a key and a value, whose write is asked about")
    odd = replace(filters, key=None, value=None, user=None, end=None, subtree=False)
    if odd != Filters():
        raise UsageError(
            "why takes a key, a value, a user and a time; ask a narrowed capture for its timeline instead"
        )
    if not 0 <= depth <= 20:
        raise UsageError(f"invalid depth {depth}; use a number from 0 to 20")
    if not 0 <= within_s <= 86_400:
        raise UsageError(f"invalid time {within_s} s; use 0 to 86400 seconds")
    if not 1 <= most <= 50:
        raise UsageError(f"invalid number of links {most}; use a number from 1 to 50")
    context.rows(filters)  # a mistake is said now
    return WhyQuery(context, filters, Reach(depth, int(within_s * 1e9), most))


def _last_write(context: QueryContext, filters: Filters) -> tuple[int, tuple[int | None, str | None]] | None:
    """Return the last write or delete of a value, as its sequence, and the value; None: there is none."""
    written = _latest(context, filters, ("SetValueKey", "DeleteValueKey"))
    if filters.value is None:
        return written
    gone = _latest(context, replace(filters, value=None), ("DeleteKey",))
    if written is None or gone is None or gone[0] < written[0] or gone[1][0] != written[1][0]:
        return written
    return gone[0], written[1]


def _latest(
    context: QueryContext, filters: Filters, operations: tuple[str, ...]
) -> tuple[int, tuple[int | None, str | None]] | None:
    rows, keys = context.rows(filters), context.relation("keys")
    kinds = dict(rows.columns)
    sql = (
        f"SELECT e.sequence, k.same_as AS key_id, e.value_name FROM {rows.source} e LEFT JOIN {keys.source} k USING (key_id) "
        f"WHERE e.operation IN ({', '.join(map(quoted, operations))}) AND coalesce(e.status, 0) < {NOT_SUCCESS} "
        "ORDER BY e.sequence DESC LIMIT 1"
    )
    columns = (("sequence", "int64"), ("key_id", kinds["key_id"]), ("value_name", "string"))
    found = context.engine.fetch(Relation(sql, columns)).to_pylist()
    if not found:
        return None
    name = found[0]["value_name"]
    return found[0]["sequence"], (found[0]["key_id"], None if name is None else fold_name(name))


def _processes(context: QueryContext) -> dict[int, _Row]:
    listed = context.relation("processes").select(*_PROCESSES.split(", "))
    return {row["process_id"]: row for row in context.engine.fetch(listed).to_pylist()}


def _schema() -> pa.Schema:
    return arrow_schema(tuple(WHY.items()))


def _rows(root: Node, paths: Mapping[int, str], processes: Mapping[int, _Row]) -> Iterator[_Row]:
    """Yield the rows of a chain: the write, who wrote it, then causes and effects."""
    numbers = {id(root): 0}
    yield _row(root, None, 0, None, paths, processes)
    count = 1
    for row in _who(root.link.operation, processes):
        yield row | {"link": count, "of": 0 if row["depth"] == 0 else count - 1}
        count += 1
    for node, above in walk(root):
        if above is None:
            continue
        numbers[id(node)] = count
        yield _row(node, above, count, numbers[id(above)], paths, processes)
        count += 1


def _who(write: Operation, processes: Mapping[int, _Row]) -> Iterator[_Row]:
    """Yield the process of a write and its parents."""
    number = write.process_id
    seen: set[int] = set()
    for depth in range(_MOST_PARENTS):
        process = processes.get(number) if number is not None else None
        if process is None or process["process_id"] in seen:
            return
        seen.add(process["process_id"])
        rule = "process table" if depth else "named by the record"
        known = process["source"] or "none"
        evidence = (
            f"the process table names it as the parent; this process is known by: {known}"
            if depth
            else "the record of the write names this process"
        )
        if process["parent_id"] is None:
            parent = process["parent_pid"]
            evidence += (
                "; its own parent is not known"
                if parent is None
                else f"; its parent had the pid {parent}, and no such process is in the capture"
                if parent
                else "; it has no parent"
            )
        yield {
            "direction": "who", "depth": depth, "what": "process", "weight": weigh((rule,)), "rules": rule, "evidence": evidence,
            "process": process["image"], "pid": process["pid"], "command_line": process["command_line"],
            "process_id": process["process_id"],
        }  # fmt: skip
        number = process["parent_id"]


def _row(
    node: Node, above: Node | None, link: int, of: int | None, paths: Mapping[int, str], processes: Mapping[int, _Row]
) -> _Row:  # fmt: skip
    one = node.link.operation
    process: _Row = processes.get(one.process_id, {}) if one.process_id is not None else {}
    apart = None if above is None else abs(one.time_ns - above.link.operation.time_ns)
    return {
        "link": link, "of": of, "direction": node.direction, "depth": node.depth, "what": _what(one),
        "weight": None if above is None else node.link.weight, "rules": ", ".join(node.link.rules) or None,
        "evidence": None if above is None else _evidence(node, above), "times": node.link.times, "left_out": node.left_out,
        "time": _EPOCH + timedelta(microseconds=one.time_ns // 1000), "apart_ns": apart,
        "process": process.get("image"), "pid": process.get("pid"), "thread_id": one.thread_id,
        "command_line": process.get("command_line"),
        "display_key": None if one.key_id is None else paths.get(one.key_id), "value_name": one.value_name,
        "operation": one.operation, "status": one.status, "data_type": one.data_type, "data_size": one.data_size,
        "data": one.data, "sequence": one.sequence, "key_id": one.key_id, "process_id": one.process_id,
    }  # fmt: skip


def _what(one: Operation) -> str:
    if one.operation == "SetValueKey":
        return "write"
    if one.operation in ("DeleteValueKey", "DeleteKey"):
        return "delete"
    return "missing" if one.status == MISSING else "read"


_SAID = {
    "no write": "no write of it before is in this capture: it was there, or missing, from the start",
    "other data": "what was read is something else: a change in between was not recorded",
    "shown": "its own links stand where it is named first",
}


def _evidence(node: Node, above: Node) -> str:
    """Return the sentence of a link."""
    words = [
        _MEANINGS[rule](node, above) if rule in _MEANINGS else RULES[rule].meaning for rule in node.link.rules
    ]
    if node.link.times > 1 and _what(node.link.operation) in ("read", "missing"):
        words.append(f"so {plural(node.link.times, 'time')} in all")
    if node.said is not None:
        words.append(_SAID[node.said])
    return "; ".join(words)


_MEANINGS: dict[str, Callable[[Node, Node], str]] = {
    "as read": lambda _, __: "what was written is what was read",
    "write after read": lambda node, _: (
        (
            "the same thread"
            if node.link.operation.thread_id is not None
            else "the same process, thread unknown,"
        )
        + " wrote it soon after the read"
    ),
    "recent read": lambda _, above: (
        (
            "the same thread"
            if above.link.operation.thread_id is not None
            else "the same process, thread unknown,"
        )
        + " read it shortly before the write"
    ),
}
