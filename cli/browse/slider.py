"""The line of time: a bar with the time looked at, the places of changes, and the losses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.browse.changes import Stops

__all__ = ["slider"]


def slider(
    width: int,
    at_ns: int,
    *,
    first_ns: int,
    last_ns: int,
    stops: "Stops",
    losses: Sequence[tuple[int, int]] = (),
) -> str:
    """Return the bar: `|` the time looked at, `+` changes, `x` losses, `-` neither.

    Args:
        width: of the bar, columns.
        at_ns: the time looked at, UTC nanoseconds.
        first_ns: time of the first column.
        last_ns: time of the last column.
        stops: the changes to mark.
        losses: from and to of each loss.
    """
    span = max(1, last_ns - first_ns)

    def column(time_ns: int) -> int:
        return min(width - 1, max(0, (int(time_ns) - first_ns) * width // span))

    bar = ["-"] * width
    seen = -1
    while (time := stops.after(seen)) is not None:  # at most one look for each column
        place = column(time)
        bar[place] = "+"
        if place == width - 1:
            break
        seen = max(time, first_ns + -(-(place + 1) * span // width) - 1)
    for low, high in losses:
        bar[column(low) : column(high) + 1] = "x" * (column(high) + 1 - column(low))
    bar[column(at_ns)] = "|"
    return "".join(bar)
