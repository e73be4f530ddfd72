"""What stands beside every answer: losses, rows without a name, and what the sources of the capture never tell.

These sentences are ours, with numbers: no name of a capture stands in them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from analysis.filters import Filters
from analysis.questions.caveats import find_caveats
from tracer.sources.abilities import ABILITIES

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["caveats_of"]


def caveats_of(context: "QueryContext", filters: Filters) -> Iterator[str]:
    """Yield why an answer of these filters may be incomplete or mislead, a sentence each."""
    manifests = [manifest for _, manifest in context.stores]
    if not all(manifest.complete for manifest in manifests):
        yield "the capture is incomplete: events were lost or unreadable; the tool info says what and when"
    if any(source.get("simulated") for manifest in manifests for source in manifest.sources):
        yield "the capture was made from a simulated trace: no real machine was recorded"
    yield from find_caveats(context, filters).sentences
    for word in dict.fromkeys(word for manifest in manifests for word in manifest.row_sources):
        if (ability := ABILITIES.get(word)) is not None:
            yield f"{ability.name} never tells {'; '.join(ability.never)}"
            yield f"{ability.name}: {ability.caveat}"
    yield from _outside(context, filters)


def _outside(context: "QueryContext", filters: Filters) -> Iterator[str]:
    start_ns, end_ns = context.interval(filters)
    span = context.span()
    if span is None:
        yield "the capture holds no events"
    elif (start_ns is not None and start_ns > span[1]) or (end_ns is not None and end_ns < span[0]):
        first, last = map(_moment, span)
        yield f"the time asked about is outside the capture, which spans {first} to {last}"


def _moment(time_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):  # a damaged clock: a year that the calendar does not have
        return f"{time_ns} ns"
