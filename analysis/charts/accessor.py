"""Pictures as methods of a capture, for notebooks: `capture.plot.timeline(...)` is an Altair chart."""

from typing import TYPE_CHECKING, Any, Unpack

from analysis.charts.source import Source
from analysis.filters import Filters, Words
from analysis.questions.words import ValueFilters, shows_filters

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Plots"]


class Plots:
    """The pictures of `analysis.charts.figures` as Altair charts, to be changed, joined and shown by Altair.

    A chart zooms and moves in time. Every text in it is made harmless. `rt.plot` draws the same pictures as images and as
    pages to explore.
    """

    def __init__(self, capture: Source) -> None:
        self._capture = capture

    def __repr__(self) -> str:
        names = ", ".join(f"{name}()" for name in vars(type(self)) if not name.startswith("_"))
        return f"<pictures: {names}>"

    @shows_filters
    def timeline(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> "alt.LayerChart":
        """Return the operations of each process as marks, or many as bars.

        Args:
            key: a key or pattern, or several; None for all.
            limit: how many operations at most are marks; None for 2,000.
            filters: which rows count.

        Raises:
            UsageError: nothing fits, a filter cannot be understood, or the extra `plots` is not installed.
        """
        return self._chart("timeline", Filters(key=key, **filters), limit)

    @shows_filters
    def activity(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> "alt.LayerChart":
        """Return operations per second, stacked by group, and failures per second as a line.

        Args:
            key: a key or pattern, or several; None for all.
            limit: how many steps the time is cut into at most; None for 150.
            filters: which rows count.

        Raises:
            UsageError: nothing fits, a filter cannot be understood, or the extra `plots` is not installed.
        """
        return self._chart("activity", Filters(key=key, **filters), limit)

    @shows_filters
    def handles(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> "alt.LayerChart":
        """Return the lives of key objects as bars.

        Args:
            key: a key or pattern, or several; None for all.
            limit: how many lives; None for 50.
            filters: which rows count.

        Raises:
            UsageError: nothing fits, a filter cannot be understood, or the extra `plots` is not installed.
        """
        return self._chart("handles", Filters(key=key, **filters), limit)

    @shows_filters
    def values(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> "alt.LayerChart":
        """Return values over time: steps for one numeric value, else a bar for each content.

        Args:
            key: a key or pattern, or several; None for all.
            limit: how many writes and deletes at most; None for 2,000.
            filters: which rows count.

        Raises:
            UsageError: nothing fits, a filter cannot be understood, or the extra `plots` is not installed.
        """
        return self._chart("values", Filters(key=key, **filters), limit)

    @shows_filters
    def tree(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> "alt.LayerChart":
        """Return a subtree as an icicle: a key is as high as there are operations on it and below it.

        Args:
            key: a key or pattern, or several, at which the tree begins; None for all.
            limit: how many levels; None for 6.
            filters: which rows count.

        Raises:
            UsageError: nothing fits, a filter cannot be understood, or the extra `plots` is not installed.
        """
        return self._chart("tree", Filters(key=key, **filters), limit)

    def _chart(self, kind: str, filters: Filters, limit: int | None) -> Any:  # noqa: ANN401  (Altair may be missing)
        from analysis.charts import extra
        from analysis.charts.figures import PICTURES
        from analysis.charts.safe_page import harmless

        chart = PICTURES[kind](self._capture, filters, limit=limit).chart
        if kind != "tree":
            chart = chart.interactive(bind_y=False)
        return extra.alt.LayerChart.from_dict(harmless(chart.to_dict(validate=False)))
