"""What a report asks: `analysis.capture.Capture` is it, and stands above."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from analysis.charts import source as charts
from analysis.filters import Filters
from analysis.questions.caveats import Caveats
from analysis.questions.class_names import with_meanings
from analysis.questions.users import with_spelled_keys
from tracer.registry.user_keys import sid_of

__all__ = ["Asking", "Source"]

if TYPE_CHECKING:
    import pyarrow as pa


class Source(charts.Source, Protocol):
    """An open capture, or several as one; its members are described there."""

    @property
    def queries(self) -> Any:  # noqa: ANN401  (the questions, which stand above)
        """Every question as a query."""

    def where(self, filters: Filters, /) -> "Source":
        """Return the capture with these filters."""

    def info(self) -> dict[str, Any]:
        """Return the facts of the capture as JSON values."""

    def doubts(self, filters: Filters | None = None) -> Caveats:
        """Return why an answer may be incomplete."""

    def span(self) -> tuple[int, int] | None:
        """Return the times of the first and the last event."""


class Asking:
    r"""A capture whose answers spell keys as tables do: ``HKCU\...`` where one user is meant.

    Attributes:
        capture: the capture.
    """

    def __init__(self, capture: Source) -> None:
        self.capture = capture
        self._spell: Callable[[str], str] | None = None
        self._says_current_user = False

    def rows(self, answer: Any) -> "pa.Table":  # noqa: ANN401  (a query)
        """Return the rows of an answer."""
        return self.spelled(answer.to_arrow())

    def spelled(self, rows: "pa.Table") -> "pa.Table":
        """Return the rows of an answer with spelled keys."""
        return with_spelled_keys(rows, self._spelled)

    def finished(self, rows: "pa.Table") -> "pa.Table":
        """Return rows that no query made, with users, meanings and spelled keys."""
        context = self.capture.context
        return self.spelled(with_meanings(context, context.labelled(rows)))

    @property
    def users_sentence(self) -> str:
        """The sentence that says whose keys HKCU is; "" where no key was spelled so."""
        if not self._says_current_user:
            return ""
        return self.capture.context.users.sentence(replace(self.capture.filters, key="HKCU")) or ""

    def _spelled(self, display_key: str) -> str:
        if sid_of(display_key) is None:
            return display_key
        if self._spell is None:
            self._spell = self.capture.context.users.spelling(self.capture.filters)
        spelled = self._spell(display_key)
        self._says_current_user |= spelled.partition("\\")[0] == "HKCU"
        return spelled
