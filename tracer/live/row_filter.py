"""Which live rows somebody asked for: the filters of a timeline, applied to Arrow tables as they come."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.callbacks.selection import Selection
from tracer.registry.ntstatus import NOT_FAILURES, NOT_SUCCESS
from tracer.registry.operation_rows import fitting
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
    r"""What rows are asked for; every filter narrows, None asks nothing. The meaning is that of a timeline.

    Args:
        keys: keys or patterns (`tracer.registry.paths.compile_pattern`) of which one must match.
        subtree: keys below a matching key are asked for too.
        user_sid: SID whose key HKCU is.
        processes: image names (patterns with ``*`` and ``?``), image paths (with a backslash), or pids.
        operation: words separated by commas: SetValueKey, set, delete, read, write ...
        status: success, error, a status name or code; several separated by commas.
        value: value name or pattern; "" and "(default)" are the default value.

    Attributes:
        operations: the operations among which the rows asked for are, by name; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str] | None = None,
        subtree: bool = False,
        user_sid: str | None = None,
        processes: Sequence[str] | None = None,
        operation: Words = None,
        status: Codes = None,
        value: str | None = None,
    ) -> None:
        self._keys = Selection(keys=tuple(keys) if keys else None, subtree=subtree, user_sid=user_sid)
        self._processes = [(name_regex(word), word) for word in processes or ()]
        self.operations, self._cases = operation_names(operation), operation_cases(operation)
        self._status = None if status is None else status_words(status)
        self._value = None if value is None else name_regex(value_pattern(value))

    def chosen(self, rows: pa.Table, *, control_set: int | None = None) -> pa.Table:
        """Return the rows that were asked for.

        Args:
            rows: rows of `tracer.live.pipeline.LivePipeline`.
            control_set: number of the current control set; None where unknown.
        """
        if not rows.num_rows:
            return rows
        mask: Bools = np.ones(rows.num_rows, np.bool_)
        if self._cases is not None:
            mask &= fitting(rows, self._cases)
        if self._status is not None:
            mask &= self._of_status(rows.column("status"))
        if self._value is not None:
            mask &= _matching(rows.column("value_name"), pc.match_substring_regex, pattern=self._value)
        if self._processes:
            mask &= self._of_process(rows)
        rows = rows if mask.all() else rows.filter(pa.array(mask))
        if self._keys.keys is None or not rows.num_rows:
            return rows
        return rows.filter(pa.array(self._keys.wanted(rows, control_set=control_set)))

    def _of_status(self, status: pa.ChunkedArray) -> Bools:
        assert self._status is not None
        codes = pc.fill_null(status.cast(pa.int64()), -1).to_numpy()
        mask: Bools = np.isin(codes, self._status.codes)
        failed = codes >= NOT_SUCCESS
        if self._status.success:
            mask |= (codes >= 0) & ~failed
        if self._status.failure:
            mask |= failed & ~np.isin(codes, NOT_FAILURES)
        return mask

    def _of_process(self, rows: pa.Table) -> Bools:
        mask: Bools = np.zeros(rows.num_rows, np.bool_)
        for regex, word in self._processes:
            column = rows.column("image_path" if "\\" in word else "process")
            mask |= _matching(column, pc.match_substring_regex, pattern=regex)
            if word.isascii() and word.isdigit() and len(word) <= 10 and int(word) < 1 << 32:
                mask |= np.asarray(pc.fill_null(pc.equal(rows.column("pid"), int(word)), False).to_numpy())
        return mask


def _matching(column: pa.ChunkedArray, test, **options: object) -> Bools:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Return the rows of a dictionary column whose text passes; each distinct text is tested once, NULL never passes."""
    encoded = column.combine_chunks()
    verdicts = np.append(np.asarray(pc.fill_null(test(encoded.dictionary, **options), False)), False)
    places = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()
    found: Bools = verdicts.astype(np.bool_)[places]
    return found
