"""`regtrace browse`: a terminal view of the registry with a time slider."""

import sys
from typing import Annotated

import typer

from cli.options.common import CapturePath, Example, Zone

__all__ = ["EXAMPLES", "browse"]

EXAMPLES = (
    Example("regtrace browse host.regtrace", "walk through keys and time; ? shows the keyboard, q ends it"),
    Example(
        "regtrace browse host.regtrace --tz local", "with times of values as this machine's clock shows them"
    ),
)


def browse(
    capture: CapturePath,
    tz: Zone = None,
    no_mouse: Annotated[
        bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal, to select and copy text.")
    ] = False,
) -> None:
    """Walk through the keys of a capture, and through its time.

    On the left stands the tree of keys, on the right what was known of the chosen key's values at one time, with
    who wrote or read them and when. Below is the line of time: . and , go to the next and the previous change of the key and
    those below it, } and { to those of the whole capture. / searches names, h shows the key's history, ? all keys
    of the keyboard. It needs a terminal, 80 columns are enough, no mouse; and the library textual:
    pip install 'regtrace[tui]'.
    """
    from contextlib import ExitStack
    from typing import TYPE_CHECKING

    from cli.options.zones import find_zone
    from cli.output.console import is_terminal
    from tracer.errors import UsageError
    from tracer.store.manifest import MANIFEST_NAME, Manifest

    if TYPE_CHECKING:
        from cli.browse.model import Model

    try:
        from cli.browse.app import Browser
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] != "textual":
            raise
        raise UsageError("browse needs the library textual: pip install 'regtrace[tui]'") from missing
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise UsageError(
            "browse needs a terminal; `regtrace state` and `regtrace history` print to files and pipes"
        )
    zone = find_zone(tz)
    if not capture.is_dir() or (capture / MANIFEST_NAME).exists():
        Manifest.load(capture, check_rows=False)  # a mistake is told before the screen is taken
    with ExitStack() as stack:

        def load() -> "Model":
            """Open the capture: on another thread, when the view is on the screen."""
            from analysis.capture import Dataset
            from analysis.open import open_capture
            from cli.browse.model import Model

            found = stack.enter_context(open_capture(capture))
            if isinstance(found, Dataset):
                raise UsageError(f"{capture} holds several captures; browse shows one: give its path")
            return Model(found)

        browser = Browser(load, name=capture.name, zone=zone)
        browser.run(mouse=not no_mouse)
        if browser.failure is not None:
            raise browser.failure
