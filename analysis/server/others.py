"""Answers of tools that are no method of `analysis.capture.Questions`: a change set, a checkout as text, policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.filters import Filters

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.capture import Capture

__all__ = ["OTHERS"]


@dataclass(frozen=True, slots=True)
class _Made:
    """An answer that is there, with its own sentences; `analysis.server.fetch.fetched` reads it like a query."""

    rows: "pa.Table"
    sentences: Sequence[str] = ()

    def to_arrow(self) -> "pa.Table":
        return self.rows


def _change_set(
    capture: "Capture", filters: Filters, change_set: str, *, pause: float = 2.0, by: str = "tree"
) -> Any:  # noqa: ANN401  (a query)
    """Return the query of one change set; the arguments are those of `analysis.capture.Capture.show`.

    Raises:
        UsageError: no name begins so, or several do.
    """
    from analysis.versions import show
    from analysis.versions.change_sets import Grouping

    del filters
    return show.query(capture.context, change_set, grouping=Grouping.of(pause, by))


def _checkout(capture: "Capture", filters: Filters, *, at: Any = None) -> _Made:  # noqa: ANN401  (a time)
    """Return the lines of a checkout of the keys that filters name, and of those below them.

    Raises:
        UsageError: there are several captures.
    """
    made = capture.where(replace(filters, subtree=True)).checkout(at=at)
    return _Made(made.rows)


def _policies(capture: "Capture", filters: Filters, *, folder: str) -> _Made:
    """Return writes to values of policies, beside what the files of a folder say.

    Raises:
        UsageError: a filter cannot be understood, or the folder has no such file.
    """
    from analysis.policy.folder import read_policies
    from analysis.questions.policies import policy_writes

    files = read_policies(folder)
    return _Made(policy_writes(capture.context, filters, files), files.problems)


OTHERS: dict[str, Callable[..., Any]] = {
    "show": _change_set,
    "checkout": _checkout,
    "policies": _policies,
}
