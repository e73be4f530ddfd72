"""Tests of rows of Arrow tables against the cases of `tracer.registry.operations`: for live rows, and for sums at ingest."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import read_numbers
from tracer.registry.operations import Case, Condition

__all__ = ["holds", "match_cases"]

Bools = NDArray[np.bool_]


def match_cases(rows: pa.Table, cases: Sequence[Case]) -> Bools:
    """Return which rows match one of the cases; a row without an operation matches none.

    Args:
        rows: a table with the column `operation` and those of the conditions.
        cases: as `tracer.registry.operations.find_cases` returns them.
    """
    matches: Bools = np.zeros(rows.num_rows, np.bool_)
    operation = rows.column("operation").combine_chunks()
    if not pa.types.is_dictionary(operation.type):
        operation = operation.dictionary_encode()
    places = read_numbers(operation.indices.cast(pa.int64())).or_else(-1)
    names = operation.dictionary.to_pylist()
    for case in cases:
        of_case: Bools = np.array([*(name in case.operations for name in names), False])[places]
        for condition in case.conditions:
            column = read_numbers(rows.column(condition.column).combine_chunks())
            of_case &= holds(condition, column.values, column.is_valid)
        matches |= of_case
    return matches


def holds(condition: Condition, values: NDArray, is_valid: Bools) -> Bools:  # type: ignore[type-arg]
    """Return which values a condition holds for.

    Args:
        condition: what is asked of the column.
        values: the column, anything where it is NULL.
        is_valid: where it is not NULL.
    """
    between: Bools = (values >= condition.low) & (values <= condition.high)
    fit = between if condition.inside else ~between
    return np.where(is_valid, fit, condition.unknown)
