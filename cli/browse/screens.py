"""The screens that lie over the view: a key's history, and help."""

from datetime import tzinfo
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from cli.browse.lines import Lines, fitted
from cli.output.phrases import plural
from cli.output.safe import visible
from tracer.errors import RegtraceError

if TYPE_CHECKING:
    import pyarrow as pa

    from cli.browse.model import Model

__all__ = ["HELP", "Help", "History"]

_MOST_ROWS = 100_000  # whose times are looked up
HELP = """\
up down        choose a key; right opens it, left closes it or goes up
Tab            to the values and back; the lines below tell one in full
. or ]         to the next change of this key and those below it
, or [         to the previous one
} and {        the same of the whole capture
+ and -        later and earlier by a twentieth of the time
s and e        to the start and to the end
/              search the names of keys and values; n next, N previous
h              history of the key's values; Enter goes to that time
?              this help
q              quit

The bar: | the time looked at, + changes, x lost events.
known: how a value's content is known (docs/glossary.md); unknown: something
may have happened since that the capture does not tell."""


class Help(ModalScreen[None]):
    """What the keyboard does."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help VerticalScroll { width: auto; max-width: 100%; height: auto; max-height: 100%; border: solid; padding: 0 1; }
    Help Static { width: auto; max-width: 76; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "close")]

    def __init__(self, doubts: str = "") -> None:
        super().__init__()
        self._doubts = doubts

    def compose(self) -> ComposeResult:
        """Yield the text."""
        doubts = f"\n\nIn doubt: {visible(self._doubts)}" if self._doubts else ""
        with VerticalScroll() as box:
            box.border_subtitle = "Escape closes this"
            yield Static(HELP + doubts, markup=False)


class History(ModalScreen[int | None]):
    """The writes and deletes of a key's values, oldest first; it returns the time of the chosen one, or None."""

    DEFAULT_CSS = "History Lines { height: 1fr; } History Static { height: 1; text-style: bold; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,h,q", "dismiss", "close")]

    def __init__(self, model: "Model", key: int, *, zone: tzinfo, called: str) -> None:
        super().__init__()
        from cli.browse.tables import Writes

        self._model, self._key, self._called = model, key, called
        self._writes = Writes(zone=zone)
        self._times: list[int] = []

    def compose(self) -> ComposeResult:
        """Yield the table and a line."""
        yield Static(id="title", markup=False)
        yield self._writes

    def on_mount(self) -> None:
        """Ask on another thread."""
        self._say(f"history of {self._called} ...")
        self.run_worker(self._ask, thread=True)

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Return the time of the row."""
        event.stop()
        self.dismiss(self._times[self._writes.cursor])

    def _ask(self) -> None:
        try:
            rows = self._model.history(self._key)
        except RegtraceError as error:
            self.app.call_later(self._say, str(error))
            return
        last = rows.slice(max(0, rows.num_rows - _MOST_ROWS))
        self.app.call_later(self._fill, last, rows.num_rows, self._model.times_of(last))

    def _say(self, text: str) -> None:
        if self.is_mounted:
            title = fitted(visible(text), max(1, self.app.size.width), end=True)
            self.query_one("#title", Static).update(title, layout=False)

    def _fill(self, rows: "pa.Table", count: int, times: list[int]) -> None:
        if not self.is_mounted:
            return
        self._times = times
        self._writes.show(rows)
        self._writes.focus()
        part = f"the last {rows.num_rows:,} of " if rows.num_rows < count else ""
        ends = "Enter goes to its time, Escape back" if count else "Escape goes back"
        label = self._model.keys.shown_label(self._key)
        self._say(f"{label}: {part}{plural(count, 'write')} and deletes of values. {ends}")
