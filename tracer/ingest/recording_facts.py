"""Facts of a recording besides its trace files: the system was asked for them while it ran.

The pipeline takes it as it takes the sources; how it was learnt is `tracer.live`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tracer.etl.losses import Loss
from tracer.rows.processes import ProcessRecord

__all__ = ["LiveFacts", "place_losses"]


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """Facts of a recording that its .etl files do not hold.

    Attributes:
        processes: processes that were seen running, each at the time it was looked at.
        losses: losses that session counters told, each between two polls; `source` is that of its session.
        blind: times in which objects could be opened and closed without anybody learning their names.
        counters: rows of the table `counters`, oldest first.
        seed: addresses and native paths of the objects that were open at `seed_ns`; None where not read.
        seed_ns: when that was, UTC nanoseconds.
        seed_facts: counts and time of that reading, ready for JSON.
        settings: what was asked for and how it ended, ready for JSON.
    """

    processes: tuple[ProcessRecord, ...] = ()
    losses: tuple[Loss, ...] = ()
    blind: tuple[Loss, ...] = ()
    counters: tuple[dict[str, Any], ...] = ()
    seed: tuple[list[int], list[str]] | None = None
    seed_ns: int | None = None
    seed_facts: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def place_losses(found: Sequence[Loss], polled: Sequence[Loss]) -> list[Loss]:
    """Return the losses of the files with those that were polled: totals that polls place are not told twice.

    A log file header says how much was lost in the whole trace, the polls say when. What the polls saw less than
    the header counts stays where it was: anywhere. Flags of buffers are kept, they place losses better still.
    """
    seen: dict[tuple[int, str], int] = {}
    for loss in polled:
        seen[loss.source, loss.kind] = seen.get((loss.source, loss.kind), 0) + (loss.count or 0)
    kept = []
    for loss in found:
        placed = seen.get((loss.source, loss.kind), 0)
        total = loss.count is not None and loss.evidence.startswith(f"log file header: {loss.kind} lost")
        if not (total and placed):
            kept.append(loss)
        elif loss.count is not None and loss.count > placed:
            rest = loss.count - placed
            kept.append(
                Loss(loss.source, loss.kind, rest, loss.from_ns, None, loss.cpu, f"{loss.evidence}; the rest")
            )
    return [*kept, *polled]
