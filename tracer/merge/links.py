"""Links: reports of several sources that are of one operation, so that it becomes one row.

Sources are taken by how much they say of an operation (`tracer.merge.reports.Sources`). Reports of each are matched with
those of every source that says more, the one that says most first; what has found its operation is matched no further.
`tracer.merge.matching` has the rule, `docs/sources/several.md` says it for users.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.merge.matching import Clock, match, measure_clock
from tracer.merge.member import Member
from tracer.merge.reports import Keys, Reports, Sources, find_reports
from tracer.sources.abilities import ABILITIES

__all__ = ["Link", "Links", "find_links"]

Column = NDArray[np.int64]
_NAMES = {"etw": "ETW", "procmon": "Procmon"}
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Link:
    """Two sources and the operations that both reported.

    Attributes:
        sources: their words; the first says more of an operation.
        operations: how many both reported.
        clock: how much later the second's times are.
    """

    sources: tuple[str, str]
    operations: int
    clock: Clock

    def sentence(self) -> str:
        """Return what a user should know of it."""
        one, other = (_name(word) for word in self.sources)
        count = f"{self.operations:,} operation{'s were' if self.operations != 1 else ' was'}"
        text = f"{count} reported by {one} and {other}; "
        if self.clock.spread_ns is None:
            return text + "too few of them leave no choice to measure the difference of the clocks"
        later, within = self.clock.later_ns, f"nine of ten within {self.clock.spread_ns / _MS:,.3f} ms"
        if not later:
            return f"{text}their clocks agree ({within})"
        way = "later" if later > 0 else "earlier"
        return f"{text}the clock of {other} is {abs(later) / _MS:,.3f} ms {way} ({within})"

    def as_dict(self) -> dict[str, Any]:
        """Return it as capture.json has it."""
        return {
            "sources": list(self.sources),
            "operations": self.operations,
            "later_ns": self.clock.later_ns,
            "spread_ns": self.clock.spread_ns,
            "window_ns": self.clock.window_ns,
            "sentence": self.sentence(),
        }


@dataclass(frozen=True, slots=True)
class Links:
    """All links of the captures; rows are numbered through all of them, one capture after the other.

    Attributes:
        row_of: of each row, the row that stands for its operation: itself, unless another source says more of it.
        pairs: what was found for each pair of sources.
        alone: of each source the rows whose operation some other source may report, and that none did.
    """

    row_of: Column
    pairs: Sequence[Link] = ()
    alone: Mapping[str, int] = field(default_factory=dict)

    @property
    def goes(self) -> NDArray[np.bool_]:
        """Which rows become a part of another row."""
        return self.row_of != np.arange(len(self.row_of))


def find_links(members: Sequence[Member], keys: Keys) -> Links:
    """Return which rows of the captures are reports of one operation."""
    reports, sources, counts = find_reports(members, keys)
    row_of = np.arange(sum(member.rows for member in members))
    if reports is None:
        return Links(row_of, (), _alone(counts, sources, {}))
    base = np.full(len(reports.row), -1, np.int64)  # the report that stands for each
    pairs = []
    for one, other in _couples(reports):
        link = _link(reports, base, one, other)
        if link is not None:
            rows, others, clock = link
            base[others] = rows
            pairs.append(Link((sources.words[one], sources.words[other]), len(rows), clock))
    gone = np.flatnonzero(base >= 0)
    row_of[reports.row[gone]] = reports.row[base[gone]]
    linked: dict[int, int] = {}
    part = np.unique(np.concatenate([gone, base[gone]]))
    for source, count in zip(*np.unique(reports.source[part], return_counts=True), strict=True):
        linked[int(source)] = int(count)
    return Links(row_of, pairs, _alone(counts, sources, linked))


def _couples(reports: Reports) -> Iterator[tuple[int, int]]:
    """Yield sources by pairs: each with all that say more of an operation."""
    numbers = np.unique(reports.source).tolist()
    for place, other in enumerate(numbers):
        for one in numbers[:place]:
            yield one, other


def _link(reports: Reports, base: Column, one: int, other: int) -> tuple[Column, Column, Clock] | None:
    """Return which reports of `one` are of the operations of which reports of `other`, and the clock difference."""
    others = np.flatnonzero((reports.source == other) & (base < 0))
    # A report stands for one of each other source at most.
    taken = base[(reports.source == other) & (base >= 0)]
    is_free = (reports.source == one) & (base < 0)
    is_free[taken] = False
    rows = np.flatnonzero(is_free)

    def fits(some: Column, more: Column) -> NDArray[np.bool_]:
        return reports.fit(rows[some], others[more])

    what, other_what = reports.what[rows], reports.what[others]
    time_ns, other_time_ns = reports.time_ns[rows], reports.time_ns[others]
    clock = measure_clock(what, time_ns, other_what, other_time_ns, fits)
    some, more = match(what, time_ns, other_what, other_time_ns - clock.later_ns, clock.window_ns, fits)
    return (rows[some], others[more], clock) if len(some) else None


def _alone(
    counts: Mapping[int, Mapping[int, int]], sources: Sources, linked: Mapping[int, int]
) -> dict[str, int]:
    """Return rows of operations that another source has too, and that are linked with none, by source."""
    alone = {}
    for source, own in counts.items():
        elsewhere = {one for rival, its in counts.items() if rival != source for one in its}
        count = sum(own[one] for one in own if one in elsewhere) - linked.get(source, 0)
        if count:
            alone[sources.words[source]] = count
    return alone


def _name(word: str) -> str:
    ability = ABILITIES.get(word)
    return _NAMES.get(word, word) if ability is None else ability.name
