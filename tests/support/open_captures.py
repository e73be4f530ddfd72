"""Captures that stay open between the verbs of one test module: to make an engine takes as long as most answers.

A verb that runs in the process of the tests opens its capture; where an earlier one has opened the same files, as they
still are, it gets the engine that is open. Verbs in a process of their own open for themselves.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cli.captures
from analysis.capture import Capture
from analysis.open import open_capture

__all__ = ["captures_stay_open"]

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
        opened[key] = capture  # behind those that were used before
        while len(opened) > _MOST:
            opened.pop(next(iter(opened))).close()
        lent = copy.copy(capture)
        lent.close = lambda: None  # type: ignore[method-assign]
        return lent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.captures, "open_capture", open_again)
        try:
            yield
        finally:
            for capture in opened.values():
                capture.close()


def _named(captures: Any) -> tuple[Any, ...]:
    """Return what stands for captures and for each of their files as it is now."""
    if isinstance(captures, Mapping):
        return tuple((host, _named(path)) for host, path in captures.items())
    if not isinstance(captures, str | Path):
        return tuple(_named(path) for path in captures)
    folder = Path(captures).absolute()
    files = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return folder, *((path, facts.st_ino, facts.st_size, facts.st_mtime_ns) for path, facts in files)
