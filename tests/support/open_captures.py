"""Captures that stay open between the verbs of one test module: to make an engine takes as long as most answers.

A verb that runs in the process of the tests opens its capture; where an earlier one has opened the same files, as they
still are, it gets the engine that is open, and for the same query the rows that it gave: tests of verbs show one answer in
many forms. Verbs in a process of their own open for themselves, and so do tests of questions.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pyarrow as pa
import pytest

import cli.captures
from analysis.capture import Capture
from analysis.engine import connection, open_engine
from analysis.open import open_capture
from analysis.questions import context

__all__ = ["captures_stay_open"]

_ask = connection.answer
_answers: WeakKeyDictionary[connection.Engine, dict[tuple[str, bool], pa.Table]] = WeakKeyDictionary()
_MOST = 4  # open at once: each has memory that it gives back when it is closed


@contextmanager
def captures_stay_open() -> Iterator[None]:
    """Let verbs share open captures until the block ends."""
    opened: dict[Any, Capture] = {}

    def open_again(captures: Any, **options: Any) -> Capture:
        key = (_named(captures), tuple(sorted(options.items())))
        capture = opened.pop(key, None)
        if capture is None or not capture.context.engine.is_open:
            capture = open_capture(captures, **options)
            _answers[capture.context.engine] = {}
        opened[key] = capture  # behind those that were used before
        while len(opened) > _MOST:
            opened.pop(next(iter(opened))).close()
        lent = copy.copy(capture)
        lent.close = lambda: None  # type: ignore[method-assign]
        return lent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.captures, "open_capture", open_again)
        for module in (connection, open_engine, context):
            patch.setattr(module, "answer", _answer)
        try:
            yield
        finally:
            for capture in opened.values():
                capture.close()


def _answer(engine: connection.Engine, sql: str, *, few: bool = True) -> pa.Table:
    """Stand in for `analysis.engine.connection.answer`; modules that are loaded meanwhile keep it, which does no harm."""
    answers = _answers.get(engine)
    if answers is None:  # a test opened it
        return _ask(engine, sql, few=few)
    if (sql, few) not in answers:
        answers[sql, few] = _ask(engine, sql, few=few)
    return answers[sql, few]


def _named(captures: Any) -> tuple[Any, ...]:
    """Return what stands for captures and for each of their files as it is now."""
    if isinstance(captures, Mapping):
        return tuple((host, _named(path)) for host, path in captures.items())
    if not isinstance(captures, str | Path):
        return tuple(_named(path) for path in captures)
    folder = Path(captures).absolute()
    files = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return folder, *((path, facts.st_ino, facts.st_size, facts.st_mtime_ns) for path, facts in files)
