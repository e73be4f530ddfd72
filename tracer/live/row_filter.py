"""Filters of live rows: those of a timeline, applied to Arrow tables as they come."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.callbacks.selection import Names, Processes, Selection
from tracer.registry.ntstatus import NOT_FAILURES, NOT_SUCCESS
from tracer.registry.operation_rows import match_cases
from tracer.registry.terms import (
    Codes,
    Words,
    name_regex,
    operation_cases,
    operation_names,
    status_words,
    value_pattern,
)

__all__ = ["RowFilter"]

Bools = NDArray[np.bool_]


class RowFilter:
    r"""Filters of rows; a row must pass all of them, None lets every row pass. They mean what they mean for a timeline.

    Args:
        key: a key or a pattern (`tracer.registry.paths.compile_pattern`), or several of which one must match.
        subtree: keys below a matching key match too.
        user: SID of the user whose keys HKCU and HKCR are; None: everybody's with a profile.
        process: image names (patterns with ``*`` and ``?``), image paths (with a backslash), or pids.
        operation: words separated by commas: SetValueKey, set, delete, read, write ...
        status: success, error, a status name or code; several separated by commas.
        value: value name or pattern; "" and "(default)" are the default value.

    Attributes:
        operations: names of all operations that can pass; None for every operation.

    Raises:
        UsageError: a filter cannot be understood.
    """

    def __init__(
        self,
        *,
        key: Names = None,
        subtree: bool = False,
        user: str | None = None,
        process: Processes = None,
        operation: Words = None,
        status: Codes = None,
        value: str | None = None,
    ) -> None:
        self._selection = Selection(key=key, process=process, subtree=subtree, user=user)
        self.operations, self._cases = operation_names(operation), operation_cases(operation)
        self._status = None if status is None else status_words(status)
        self._value = None if value is None else name_regex(value_pattern(value))

    def apply(self, rows: pa.Table, *, control_set: int | None = None) -> pa.Table:
        """Return the rows that pass.

        Args:
            rows: rows of `tracer.live.pipeline.LivePipeline`.
            control_set: number of the current control set; None if unknown.
        """
        if not rows.num_rows:
            return rows
        mask: Bools = np.ones(rows.num_rows, np.bool_)
        if self._cases is not None:
            mask &= match_cases(rows, self._cases)
        if self._status is not None:
            mask &= self._match_status(rows.column("status"))
        if self._value is not None:
            mask &= _match_text(rows.column("value_name"), self._value)
        rows = rows if mask.all() else rows.filter(pa.array(mask))
        mask = self._selection.match(rows, control_set=control_set)
        return rows if mask.all() else rows.filter(pa.array(mask))

    def _match_status(self, status: pa.ChunkedArray) -> Bools:
        assert self._status is not None
        codes = pc.fill_null(status.cast(pa.int64()), -1).to_numpy()
        mask: Bools = np.isin(codes, self._status.codes)
        failed = codes >= NOT_SUCCESS
        if self._status.success:
            mask |= (codes >= 0) & ~failed
        if self._status.failure:
            mask |= failed & ~np.isin(codes, NOT_FAILURES)
        return mask


def _match_text(column: pa.ChunkedArray, regex: str) -> Bools:
    """Return the rows of a dictionary column whose text matches; each distinct text is tested once, NULL never matches."""
    encoded = column.combine_chunks()
    test = pc.match_substring_regex(encoded.dictionary, pattern=regex)
    verdicts = np.append(np.asarray(pc.fill_null(test, False)), False).astype(np.bool_)
    places = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()
    matches: Bools = verdicts[places]
    return matches
