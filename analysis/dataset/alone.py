"""One capture of a dataset, asked alone: for questions where what happened to one host must say nothing of another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ibis.expr.types import Table

from analysis.capture import Capture
from analysis.dataset.members import Member
from analysis.engine.duckdb_backend import HELPERS, bind, schemas_of_many
from analysis.engine.id_columns import LABELS

if TYPE_CHECKING:
    from analysis.dataset.dataset import Dataset

__all__ = ["Alone"]


class Alone(Capture):
    """The rows of one capture of an open dataset, with the dataset's ids and on its engine; not to be closed."""

    def __init__(self, whole: "Dataset", member: Member, prefix: str) -> None:
        self.path = member.path
        self.manifest = member.manifest
        self.backend = whole.engine()
        self._closer = whole._closer
        self._helpers = whole._helpers
        self._whole = whole
        self._prefix = prefix  # of the names of its views
        ends = whole.range_of(member)
        self._sequences, self._keys = ends["sequence"], ends["key_id"]

    def span(self) -> tuple[int, int] | None:
        """Return the times of the first and the last event of the whole dataset: what times are relative to."""
        return self._whole.span()

    def _table(self, name: str, helper: str | None = None) -> Table:
        if helper is not None:
            return self._whole._table(name, helper)
        return bind(self.engine(), f"{self._prefix}{name}", schemas_of_many(labelled=False)[name], HELPERS)

    def _source(self, key_ids: Sequence[int] | Table | None, *, joined: bool) -> Table:
        if key_ids is None:
            return super()._source(key_ids, joined=joined)
        return self._whole._source(key_ids, joined=joined).drop(*LABELS)

    def _fitting(self, condition: str) -> Table:
        rows = super()._fitting(condition).drop(*LABELS)
        return rows.filter(rows["sequence"].between(*self._sequences))

    def _key_condition(self, texts: Sequence[str], subtree: bool, user_sid: str | None) -> str:
        own = super()._key_condition(texts, subtree, user_sid)
        return f"(({own}) AND key_id BETWEEN {self._keys[0]} AND {self._keys[1]})"
