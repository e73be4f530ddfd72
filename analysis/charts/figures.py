"""Charts of a capture for notebooks: when something happened, by which process, to which keys.

They are drawn by Altair with vl-convert (extra `plots`): the one library found that makes interactive pages
which need no network, PNG and SVG, all without a browser and within pip. Plotly makes PNG and SVG through
a browser only; Matplotlib makes no interactive page.

Each function takes an open capture and filters and returns an `analysis.charts.picture.Picture`.
"""

from typing import TYPE_CHECKING

from analysis.charts.activity import draw_activity
from analysis.charts.handles import draw_handles
from analysis.charts.picture import Picture
from analysis.charts.timeline import draw_timeline
from analysis.charts.tree import icicle
from analysis.charts.values import draw_values
from analysis.filters import Filters
from analysis.questions.words import merged_filters

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.charts.source import Source

__all__ = ["PICTURES", "activity", "handles", "timeline", "tree", "values"]


def timeline(capture: "Source", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw each operation as a mark, or many as bars, a row for each process; failures are crosses.

    Args:
        capture: an open capture.
        filters: what to draw; None for everything.
        limit: how many operations at most are marks; None for 2,000. Of more an image shows counts, as bars over the whole
            time. A page shows bars too, which open into marks on zoom; it holds the rows of up to 40,000 operations.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return draw_timeline(capture, _of_programs(capture, filters), limit=limit)


def activity(capture: "Source", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw operations per second over time, stacked by group, and failures per second as a line.

    Args:
        capture: an open capture.
        filters: which operations count; None for all.
        limit: how many steps an image cuts the time into at most; None for 150. A page cuts it anew on zoom.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return draw_activity(capture, _of_programs(capture, filters), limit=limit)


def handles(capture: "Source", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw the life of each key object that a fitting operation used, longest lives first, as a bar.

    Args:
        capture: an open capture.
        filters: operations whose objects are drawn; None for all.
        limit: how many lives; None for 50.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return draw_handles(
        capture, merged_filters(capture.filters, filters or Filters()), limit=50 if limit is None else limit
    )


def values(capture: "Source", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw values over time: steps for one numeric value, else a bar for each content.

    Args:
        capture: an open capture.
        filters: a key, or a value of it, or several.
        limit: how many writes and deletes at most; None for 2,000. Of more, the last one of each value in each of so many
            equal stretches of time is drawn.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return draw_values(
        capture, merged_filters(capture.filters, filters or Filters()), limit=2000 if limit is None else limit
    )


def tree(capture: "Source", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw a subtree as an icicle: the height of a key is the number of operations on it and below it.

    Args:
        capture: an open capture.
        filters: which operations count; a key there means it and the keys below it.
        limit: how many levels; None for 6.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return icicle(capture, _of_programs(capture, filters), levels=6 if limit is None else limit)


def _of_programs(capture: "Source", filters: Filters | None) -> Filters:
    """Return the filters of a picture, which leaves noise out as questions of load do."""
    return merged_filters(capture.filters, filters or Filters()).without_noise()


PICTURES: "dict[str, Callable[..., Picture]]" = {
    "timeline": timeline,
    "activity": activity,
    "handles": handles,
    "values": values,
    "tree": tree,
}
