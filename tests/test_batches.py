"""Examples that are checked in batches: what is wrong is found, and shown as small as it is alone."""

from collections.abc import Sequence

import pytest
from batches import check_in_batches
from hypothesis import strategies as st

NUMBERS = st.lists(st.integers(0, 1000), max_size=20)


def test_batches_have_their_sizes() -> None:
    sizes: list[int] = []
    check_in_batches(NUMBERS, lambda batch: sizes.append(len(batch)), (1, 3, 6))
    assert sizes == [1, 3, 6]


def test_an_example_that_is_wrong_alone_is_made_smaller() -> None:
    wrong: list[Sequence[list[int]]] = []

    def check(batch: Sequence[list[int]]) -> None:
        if any(sum(numbers) > 100 for numbers in batch):
            wrong.append(batch)
            raise AssertionError("too much")

    with pytest.raises(AssertionError, match="too much"):
        check_in_batches(NUMBERS, check, (8, 8))
    assert wrong[-1] == [[101]]


def test_examples_that_are_wrong_only_together_are_shown_together() -> None:
    def check(batch: Sequence[list[int]]) -> None:
        assert len(batch) < 2, "two are too many"

    with pytest.raises(AssertionError) as raised:
        check_in_batches(NUMBERS, check, (1, 2))
    assert "wrong among the others" in raised.value.__notes__[-1]
