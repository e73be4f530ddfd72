"""What an export says of its own rows: losses, doubts about names, and what the sources never tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.engine.connection import answer, engine_errors
from analysis.questions.caveats import find_caveats
from tracer.schema import LOST_KINDS
from tracer.sources.abilities import ABILITIES

if TYPE_CHECKING:
    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["NOTICE_KINDS", "Notice", "find_notices"]

NOTICE_KINDS = {
    "loss": "events are missing here",
    "blind": "names of open keys were not known yet",
    "clock": "the clock was set back",
    "doubt": "why answers may be incomplete",
    "source": "what a source never tells",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One fact about the rows of an export.

    Attributes:
        kind: a word of NOTICE_KINDS.
        sentence: the fact.
        time_ns: where it stands, UTC nanoseconds: where it begins, else the first event of the capture.
        start_ns: where it begins; None where that is not known.
        end_ns: where it ends; None where that is not known.
        count: how many events or buffers (damage: bytes; clock: nanoseconds); None if unknown.
        host: the machine; None where it is not known, or several are meant.
        capture: the capture; None where several are meant.
    """

    kind: str
    sentence: str
    time_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    count: int | None = None
    host: str | None = None
    capture: str | None = None


def find_notices(context: "QueryContext", filters: "Filters", host: str | None) -> Iterator[Notice]:
    """Yield what is to be said of an export with these filters: doubts, blind spots, then losses in their time.

    Args:
        context: one or several captures.
        filters: the filters of the rows.
        host: the machine of a single capture.
    """
    span = context.span()
    if span is None:
        return
    first = span[0]
    many = len(context.stores) > 1
    capture = None if many else context.path.name
    for sentence in find_caveats(context, filters).sentences:
        yield Notice("doubt", sentence, first, host=host, capture=capture)
    for word in dict.fromkeys(word for _, manifest in context.stores for word in manifest.row_sources):
        if (ability := ABILITIES.get(word)) is not None:
            never = "; ".join(ability.never)
            yield Notice("source", f"{ability.name} never tells {never}", first, host=host, capture=capture)
    start_ns, end_ns = context.interval(filters)
    conditions = ["true"]
    if start_ns is not None:
        conditions.append(f"(to_ns IS NULL OR to_ns >= {int(start_ns)})")
    if end_ns is not None:
        conditions.append(f"(from_ns IS NULL OR from_ns <= {int(end_ns)})")
    query = (
        'SELECT source_id, kind, "count", from_ns, to_ns, cpu, evidence FROM '
        f"{context.relation('losses').source} WHERE {' AND '.join(conditions)} ORDER BY from_ns NULLS FIRST, to_ns"
    )
    with engine_errors():
        rows = context.labelled(answer(context.engine, query))
    for batch in rows.to_batches(1024):
        for row in batch.to_pylist():
            yield Notice(
                kind="loss" if row["kind"] in LOST_KINDS else row["kind"],
                sentence=_sentence(row),
                time_ns=first if row["from_ns"] is None else row["from_ns"],
                start_ns=row["from_ns"],
                end_ns=row["to_ns"],
                count=row["count"],
                host=row.get("host", host),
                capture=row.get("capture", capture),
            )


def _sentence(row: dict[str, Any]) -> str:
    count = "an unknown number of" if row["count"] is None else f"{row['count']:,}"
    said = {
        "events": f"{count} events were lost",
        "buffers": f"{count} buffers of events were lost",
        "damage": f"{count} bytes are damaged, which hid events",
        "blind": "the names of keys that were open before were not known yet",
        "clock": f"the clock was set back by {count} ns: times come twice",
    }.get(row["kind"], f"{row['kind']}: {count}")
    where = "" if row["cpu"] is None else f" on processor {row['cpu']}"
    evidence = f" ({row['evidence']})" if row["evidence"] else ""
    return f"{said}{where}{evidence}"
