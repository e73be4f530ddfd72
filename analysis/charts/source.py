"""What pictures ask of a capture: `analysis.capture.Capture` is it, and stands above."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from analysis.filters import Filters
from analysis.questions.context import QueryContext
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["Source"]


class Source(Protocol):
    """An open capture, or several as one; its members are described there."""

    @property
    def path(self) -> Path:
        """The directory."""

    @property
    def manifest(self) -> Manifest:
        """The manifest."""

    @property
    def context(self) -> QueryContext:
        """What questions are asked of."""

    @property
    def filters(self) -> Filters:
        """The filters that the capture was narrowed to."""

    @property
    def tables(self) -> "Mapping[str, Table]":
        """The stored tables by name."""

    @property
    def lazy(self) -> Any:  # noqa: ANN401  (the questions, which stand above)
        """The questions, answered with lazy tables."""

    def where(self, filters: Filters, /) -> "Source":
        """Return the capture with these filters."""

    def rows(self, filters: Filters, *, joined: bool) -> "Table":
        """Return the event rows that fit, in no order."""
