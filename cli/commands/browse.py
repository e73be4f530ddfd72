"""`regtrace browse`: a terminal view of the registry with a time slider."""

from cli.options.common import CapturePath, Example, Zone

__all__ = ["EXAMPLES", "browse"]

EXAMPLES = (
    Example("regtrace browse host.regtrace", "walk through keys and time; ? shows the keyboard, q ends it"),
    Example(
        "regtrace browse host.regtrace --tz local", "with times of values as this machine's clock shows them"
    ),
)


def browse(capture: CapturePath, tz: Zone = None) -> None:
    """Walk through the keys of a capture, and through its time.

    On the left stands the tree of keys, on the right what was known of the chosen key's values at one time, with
    who wrote or read them and when. Below is the line of time: . and , go to the next and the previous change of the key and
    those below it, } and { to those of the whole capture. / searches names, h shows the key's history, ? all keys
    of the keyboard. It needs a terminal, 80 columns are enough, no mouse; and the library textual:
    pip install 'regtrace[tui]'.
    """
    from analysis.capture import Dataset
    from cli.captures import opened
    from cli.options.zones import find_zone
    from cli.output.pager import is_interactive
    from cli.output.waiting import waiting
    from tracer.errors import UsageError

    try:
        from cli.browse.app import Browser
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] != "textual":
            raise
        raise UsageError("browse needs the library textual: pip install 'regtrace[tui]'") from missing
    from cli.browse.model import Model

    if not is_interactive():
        raise UsageError(
            "browse needs a terminal; `regtrace state` and `regtrace history` print to files and pipes"
        )
    zone = find_zone(tz)
    with opened(capture) as found:
        if isinstance(found, Dataset):
            raise UsageError(f"{capture} holds several captures; browse shows one: give its path")
        model = Model(found)
        waiting.end()
        Browser(model, zone=zone).run()
