"""The screens that lie over the view: a key's history, and help."""

from datetime import tzinfo
from typing import Any, ClassVar

import pyarrow as pa
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from cli.browse.cells import WRITE_TITLES, plain, write_rows
from cli.browse.model import Model
from cli.output.safe import visible
from tracer.errors import RegtraceError

__all__ = ["HELP", "Help", "Writes"]

_MOST_ROWS = 1000
HELP = """\
up down        choose a key; Enter opens it, Tab goes to its values
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
may have happened since that the capture does not tell.
Escape closes this."""


class Help(ModalScreen[None]):
    """What the keyboard does."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help Static { width: auto; max-width: 100%; border: solid $primary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "close")]

    def __init__(self, doubts: str = "") -> None:
        super().__init__()
        self._doubts = doubts

    def compose(self) -> ComposeResult:
        """Yield the text."""
        yield Static(f"{HELP}\n\nIn doubt: {visible(self._doubts)}" if self._doubts else HELP, markup=False)


class Writes(ModalScreen[int | None]):
    """The writes and deletes of a key's values, oldest first; it returns the time of the chosen one, or None."""

    DEFAULT_CSS = (
        "Writes { align: center middle; } Writes DataTable { height: 1fr; } Writes Static { height: 1; }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,h,q", "dismiss", "close")]

    def __init__(self, model: Model, key: int, *, zone: tzinfo) -> None:
        super().__init__()
        self._model, self._key, self._zone = model, key, zone
        self._times: list[int] = []

    def compose(self) -> ComposeResult:
        """Yield the table and a line."""
        yield Static(id="title", markup=False)
        yield DataTable(cursor_type="row", zebra_stripes=True)

    def on_mount(self) -> None:
        """Ask on another thread."""
        self._say(f"history of {self._model.path(self._key)}")
        self._table.add_columns(*WRITE_TITLES)
        self.run_worker(self._ask, thread=True)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Return the time of the row."""
        self.dismiss(self._times[event.cursor_row])

    @property
    def _table(self) -> DataTable[Any]:
        return self.query_one(DataTable)

    def _ask(self) -> None:
        try:
            rows = self._model.history(self._key)
        except RegtraceError as error:
            self.app.call_later(self._say, str(error))
            return
        times = self._model.times_of(rows.slice(max(0, rows.num_rows - _MOST_ROWS)))
        self.app.call_later(self._fill, rows, times)

    def _say(self, text: str) -> None:
        if self.is_mounted:
            self.query_one("#title", Static).update(plain(text, most=self.app.size.width or None))

    def _fill(self, rows: pa.Table, times: list[int]) -> None:
        if not self.is_mounted:
            return
        last = rows.slice(max(0, rows.num_rows - _MOST_ROWS))
        self._times = times
        self._table.add_rows(write_rows(last, zone=self._zone))
        self._table.focus()
        part = f"the last {last.num_rows:,} of " if last.num_rows < rows.num_rows else ""
        name = self._model.label(self._key)
        self._say(f"{part}{rows.num_rows:,} writes and deletes of values of {name}; Enter: to that time")
