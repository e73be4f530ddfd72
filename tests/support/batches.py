"""Examples of Hypothesis that are checked several at a time: an engine plans a question for longer than it answers it.

What makes several examples one, say a capture that holds the keys of each, is the test's. A batch that fails is checked
again one by one: what fails alone is made smaller by Hypothesis, as ever.
"""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["check_in_batches"]

_Example = TypeVar("_Example")


def check_in_batches(
    examples: SearchStrategy[_Example],
    check: Callable[[Sequence[_Example]], None],
    sizes: Sequence[int],
    *,
    shrink: bool = True,
) -> None:
    """Call `check` with batches of examples.

    Args:
        examples: makes the examples.
        check: raises an error where something is wrong with the examples of a batch.
        sizes: how many examples each batch has; where a profile asks for more in all, the last size is repeated.
        shrink: whether Hypothesis looks for a smaller example of what is wrong with one; that asks hundreds of times.
    """
    found = _drawn(examples, max(sum(sizes), settings().max_examples if _is_search() else 0))
    left, place = list(sizes), 0
    while place < len(found):
        size = left.pop(0) if left else sizes[-1]
        batch = found[place : place + size]
        place += size
        try:
            check(batch)
        except Exception as error:
            _check_alone(examples, check, batch, shrink=shrink)
            error.add_note(f"each of these examples is right alone, and wrong among the others: {batch!r}")
            raise


def _is_search() -> bool:
    return os.environ.get("HYPOTHESIS_PROFILE") == "search"


def _drawn(examples: SearchStrategy[_Example], count: int) -> list[_Example]:
    found: list[_Example] = []

    @settings(
        max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
    )
    @given(examples)
    def draw(example: _Example) -> None:
        found.append(example)

    draw()
    return found


def _check_alone(
    examples: SearchStrategy[_Example],
    check: Callable[[Sequence[_Example]], None],
    batch: Sequence[_Example],
    *,
    shrink: bool,
) -> None:
    """Raise what is wrong with one example; return where each is right."""
    for example in batch:
        try:
            check([example])
        except Exception as error:
            error.add_note(f"the example: {example!r}")

            @settings(max_examples=200, suppress_health_check=list(HealthCheck), verbosity=Verbosity.normal)
            @given(examples)
            def smaller(one: _Example) -> None:
                check([one])

            if shrink:
                smaller()
            raise
