"""Asks for what the view wants to show, one question after the other, and then for what it may want next."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tracer.errors import RegtraceError

if TYPE_CHECKING:
    from cli.browse.model import Model

__all__ = ["Asker"]

_TOGETHER = 16  # keys of one question: so that a question nobody waits for ends soon


class Asker:
    """Whoever wants a state says so; what was wanted before and not begun is forgotten.

    Args:
        model: what is asked.
        tell: is called with key, time, and a sentence where the question failed, else None.
    """

    def __init__(self, model: "Model", tell: Callable[[int, int, str | None], None]) -> None:
        self._model, self._tell = model, tell
        self._news = threading.Condition()
        self._wanted: tuple[int, int] | None = None
        self._next: list[tuple[Sequence[int], int]] = []
        self._ended = False

    def want(self, key: int, at_ns: int, then: Sequence[tuple[Sequence[int], int]] = ()) -> None:
        """Ask for the state of a key, and afterwards for others.

        Args:
            key: the key.
            at_ns: the time, UTC nanoseconds.
            then: keys and a time, in the order in which they may be wanted.
        """
        with self._news:
            self._wanted, self._next = (key, at_ns), list(then)
            self._news.notify()

    def end(self) -> None:
        """Ask no more."""
        with self._news:
            self._ended = True
            self._news.notify()

    def run(self) -> None:
        """Ask until `end` is called: what a thread does."""
        while (wanted := self._take()) is not None:
            keys, at_ns, is_awaited = wanted
            try:
                if is_awaited:
                    self._model.state(keys[0], at_ns)
                else:
                    self._model.prepare(keys, at_ns)
            except RegtraceError as error:
                if is_awaited:  # whoever comes to the others asks again, and is told then
                    self._tell(keys[0], at_ns, str(error))
                continue
            if is_awaited:
                self._tell(keys[0], at_ns, None)

    def _take(self) -> tuple[Sequence[int], int, bool] | None:
        """Return keys, a time, and whether somebody waits; None at the end."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._wanted is not None or self._next)
            if self._ended:
                return None
            if self._wanted is not None:
                (key, at_ns), self._wanted = self._wanted, None
                return [key], at_ns, True
            keys, at_ns = self._next.pop(0)
            if len(keys) > _TOGETHER:
                self._next.insert(0, (keys[_TOGETHER:], at_ns))
            return keys[:_TOGETHER], at_ns, False
