"""Progress of an ingest in a notebook: a bar that is redrawn in its place, or a line of text where there is no HTML."""

import html
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from tracer.progress import Progress

__all__ = ["notebook_progress"]

_EVERY_S = 0.25
_UNIT = 1_000_000


def notebook_progress() -> "Callable[[Progress], None] | None":
    """Return what shows progress in the notebook that runs this; None where no notebook does.

    IPython is asked only where it is loaded already: it is, in a notebook.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    return _Bar(importlib.import_module("IPython.display").display)


class _Bar:
    """A bar in the output of a cell; called with each progress."""

    def __init__(self, display: "Callable[..., Any]") -> None:
        self._display = display
        self._handle: Any = None
        self._begin = self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        is_done = progress.bytes_done >= progress.bytes_total
        if not is_done and now - self._last < _EVERY_S:
            return
        self._last = now
        shown = _shown(progress, now - self._begin)
        if self._handle is not None:
            self._handle.update(shown, raw=True)
        elif not is_done:  # what is done at once needs no bar
            self._handle = self._display(shown, raw=True, display_id=True)


def _shown(progress: Progress, seconds: float) -> dict[str, str]:
    """Return the bar as HTML and as text."""
    done, total = progress.bytes_done, max(progress.bytes_total, 1)
    words = f"{done / _UNIT:,.1f} of {total / _UNIT:,.1f} MB, {progress.events:,} events"
    if seconds > 0 and progress.events:
        words += f", {progress.events / seconds:,.0f} a second"
    share = min(done / total, 1)
    if progress.note:
        words = progress.note
    elif 0 < share < 1 and seconds > 1:
        words += f", {seconds * (1 - share) / share:,.0f} s left"
    bar = f'<progress value="{share:.4f}" max="1" style="width:20em;vertical-align:middle"></progress> {html.escape(words)}'
    return {"text/html": bar, "text/plain": f"{100 * share:.0f} %: {words}"}
