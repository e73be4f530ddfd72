"""The view itself: tree of keys, values of the chosen one, the line of time; what takes time is done on other threads."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from cli.browse.asker import Asker
from cli.browse.lines import Lines, fitted
from cli.browse.screens import Help, History
from cli.browse.slider import slider
from cli.browse.tree import KeyTree
from cli.output.safe import visible
from tracer.errors import RegtraceError

if TYPE_CHECKING:  # these import the engine, and the first frame comes before that is loaded
    from cli.browse.changes import Stops
    from cli.browse.model import Model
    from cli.browse.tables import Values

__all__ = ["Browser"]

_STEP = 20  # parts of the whole time that + and - move by
_NEAR = 10  # lines to either side of the cursor whose keys are asked about before somebody comes to them
_AHEAD = 3  # changes, likewise
_WAIT = 0.3  # seconds after which a question is said to take its time


class Browser(App[None]):
    """A terminal view of one capture.

    Args:
        load: returns the model; it is called on another thread, while the view is already on the screen.
        name: of the capture.
        zone: of the times.

    Attributes:
        model: what is shown; None until it is loaded.
        failure: why it could not be loaded; None where it could.
        at_ns: the time looked at, UTC nanoseconds.
        shown: key and time of the values that stand in the table; None while they are asked for.
        stops: the changes of the chosen key and those below it; None until the changes are read.
    """

    TITLE = "regtrace browse"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; }
    KeyTree { width: 1fr; }
    Values { width: 2fr; }
    #key, #time, #bar, #status { height: 1; }
    #key { text-style: bold; }
    #detail { height: 2; border: none; }
    #search { display: none; height: 1; border: none; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("full_stop,right_square_bracket", "move('after')", "next change"),
        Binding("comma,left_square_bracket", "move('before')", "previous change"),
        Binding("right_curly_bracket", "move('after', True)", "next change of all"),
        Binding("left_curly_bracket", "move('before', True)", "previous change of all"),
        Binding("plus", "slide(1)", "later"),
        Binding("minus", "slide(-1)", "earlier"),
        Binding("s", "slide(-1000)", "start"),
        Binding("e", "slide(1000)", "end"),
        Binding("slash", "search", "search"),
        Binding("n", "find(False)", "next found"),
        Binding("N", "find(True)", "previous found"),
        Binding("h", "history", "history"),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
        Binding("escape", "leave", "leave the search", show=False),
    ]

    def __init__(self, load: "Callable[[], Model]", *, name: str = "", zone: tzinfo = UTC) -> None:
        super().__init__(
            ansi_color=True
        )  # the terminal's own colours: few bytes, dark or light as its owner likes
        self.model: Model | None = None
        self.failure: RegtraceError | None = None
        self.zone = zone
        self.at_ns = 0
        self.shown: tuple[int, int] | None = None
        self.stops: Stops | None = None
        self._load_model, self._called = load, name
        self._values: Values | None = None
        self._asker: Asker | None = None
        self._value: str | None = None  # the value under the cursor, to be found again at another time
        self._step = 0  # the way of the last move through time
        self._searched = ""
        self._said = f"opening {name} ..."
        self._doubts = ""

    def compose(self) -> ComposeResult:
        """Yield the widgets from top to bottom."""
        yield Static(id="key", markup=False)
        with Horizontal():
            yield KeyTree(id="tree")
        yield Static(id="detail", markup=False)
        yield Static(id="time", markup=False)
        yield Static(id="bar", markup=False)
        yield Static(id="status", markup=False)
        yield Input(placeholder="part of a name of a key or value", id="search")

    def on_mount(self) -> None:
        """Load the model when the first frame is drawn."""
        self._tell()
        self.key_tree.focus()
        self.call_after_refresh(self.run_worker, self._load, thread=True)

    def on_unmount(self) -> None:
        """Ask no more."""
        if self._asker is not None:
            self._asker.end()

    def on_resize(self) -> None:
        """Draw the lines anew that have the width of the screen."""
        self._tell()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Look at the key or value under the cursor."""
        if event.lines is self.key_tree:
            self._look()
        elif self._values is not None and event.lines is self._values:
            self._value = self._values.value
            self._tell_detail()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Show the history of the key whose value was chosen."""
        if event.lines is self._values:
            self.action_history()

    def on_click(self, event: events.Click) -> None:
        """Go to the time of the place of the bar."""
        if self.model is not None and event.widget is not None and event.widget.id == "bar":
            span = self.model.last_ns - self.model.first_ns
            self.go_to(self.model.first_ns + span * event.x // max(1, self.size.width - 1))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search for what was typed."""
        self._searched = event.value
        self.action_leave()
        self.action_find(back=False)

    @property
    def key_tree(self) -> KeyTree:
        """The tree of keys."""
        return self.query_one("#tree", KeyTree)

    @property
    def key(self) -> int | None:
        """The key looked at; None where there is none."""
        return self.key_tree.key

    def action_move(self, way: str, whole: bool = False) -> None:
        """Go to the next change ("after") or the previous one ("before"), of the subtree or the whole capture."""
        stops = (
            None if self.model is None or self.stops is None else self.model.stops if whole else self.stops
        )
        if stops is None:
            self._say("the changes are still being read")
            return
        time = stops.after(self.at_ns) if way == "after" else stops.before(self.at_ns)
        if time is None:
            where = "the capture" if whole else "this key and those below it"
            self._say(f"no {'later' if way == 'after' else 'earlier'} change of {where}")
        else:
            self.go_to(time, step=0 if whole else 1 if way == "after" else -1)

    def action_slide(self, steps: int) -> None:
        """Move by a twentieth of the time, as often as `steps` says."""
        if self.model is None:
            return
        first, last = self.model.first_ns, self.model.last_ns
        self.go_to(min(last, max(first, self.at_ns + steps * (last - first) // _STEP)))

    def go_to(self, time_ns: int, *, step: int = 0) -> None:
        """Look at a time, UTC nanoseconds; `step` is 1 for the next change of the key, -1 for the previous one."""
        self.at_ns, self._step = time_ns, step
        self._look()

    def action_search(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#search", Input)
        self.query_one("#status").display = False
        field.display, field.value = True, ""
        field.focus()

    def action_leave(self) -> None:
        """Close the search."""
        self.query_one("#search").display = False
        self.query_one("#status").display = True
        self.key_tree.focus()

    def action_find(self, back: bool) -> None:
        """Go to the next key that the search fits."""
        if self.model is None:
            return
        if not self._searched:
            self._say("search first: /")
            return
        text, after = self._searched, self.key
        self._say("searching ...")
        self.run_worker(lambda: self._find(text, after, back=back), thread=True, exclusive=True, group="find")

    def action_history(self) -> None:
        """Show the writes and deletes of the key's values."""
        model, key = self.model, self.key
        if model is not None and key is not None:
            screen = History(model, key, zone=self.zone, called=model.keys.shown_path(key))
            self.push_screen(screen, self._come_back)

    def action_help(self) -> None:
        """Show what the keyboard does."""
        self.push_screen(Help(self._doubts))

    def reveal(self, key: int) -> None:
        """Open the tree down to a key and look at it."""
        self.key_tree.reveal(key)
        self._look()

    def _load(self) -> None:
        """Load what is shown, the tree first; on another thread."""
        try:
            model = self._load_model()
            from cli.browse import tables  # noqa: F401  (its imports take time, and are needed next)

            self.call_later(self._show, model)
            model.read_users()
            model.read_changes()
            doubts = " ".join(model.doubts())
        except RegtraceError as error:
            self.failure = error
            self.call_later(self.exit)
            return
        self.call_later(self._show_changes, doubts)

    async def _show(self, model: "Model") -> None:
        from cli.browse.tables import Values

        self.model, self.at_ns = model, model.last_ns
        self._values = Values(id="values", zone=self.zone)
        await self.query_one(Horizontal).mount(self._values)
        self._asker = Asker(model, self._answered)
        self.run_worker(self._asker.run, thread=True, group="asker")
        self._said = "" if len(model.keys) else f"{self._called} holds no keys"
        self.key_tree.show(model.keys)
        self._look()

    def _show_changes(self, doubts: str) -> None:
        self._doubts = doubts
        if self.model is not None and self.key is not None:
            self.stops = self.model.changes.below(self.key)
        elif self.model is not None:
            self.stops = self.model.stops
        self.key_tree.refresh()  # users have names now
        self._tell()

    def _come_back(self, time_ns: int | None) -> None:
        if time_ns is not None:
            self.go_to(time_ns)

    def _look(self) -> None:
        """Show the chosen key at the chosen time, at once where that is kept, else when it is known."""
        model, key, at_ns = self.model, self.key, self.at_ns
        if model is None or key is None or self._asker is None:
            self._tell()
            return
        self._said = ""
        if self.stops is not None:
            self.stops = model.changes.below(key)
        if model.kept(key, at_ns) is None:
            self.shown = None
            if self._values is not None:
                self._values.show(None)
            self.set_timer(_WAIT, self._wait)
        else:
            self._fill()
        self._asker.want(key, at_ns, self._next())
        self._tell()

    def _next(self) -> list[tuple[list[int], int]]:
        """Return the keys and times that may be looked at next."""
        assert self.key is not None
        near = [(self.key_tree.near(_NEAR), self.at_ns)]
        if self.stops is None or not self._step:
            return near
        times, ahead = [], self.at_ns
        for _ in range(_AHEAD):
            time = self.stops.after(ahead) if self._step > 0 else self.stops.before(ahead)
            if time is None:
                break
            times.append(ahead := time)
        return [*(([self.key], time) for time in times), *near]

    def _wait(self) -> None:
        if self.shown is None and not self._said:
            self._say("asking ...")

    def _answered(self, key: int, at_ns: int, failure: str | None) -> None:
        self.call_later(self._hear, key, at_ns, failure)

    def _hear(self, key: int, at_ns: int, failure: str | None) -> None:
        if (key, at_ns) != (self.key, self.at_ns) or self.shown == (key, at_ns):
            return
        if failure is not None:
            self._say(failure)
            return
        self._said = ""
        self._fill()
        self._tell()

    def _fill(self) -> None:
        model, key, values = self.model, self.key, self._values
        rows = None if model is None or key is None else model.kept(key, self.at_ns)
        if rows is None or values is None or key is None:
            return
        values.show(rows, self._value)
        self.shown = key, self.at_ns
        if not rows.num_rows:
            self._said = "nothing is known of this key at this time"

    def _find(self, text: str, after: int | None, *, back: bool) -> None:
        assert self.model is not None
        try:
            found = self.model.find(text, after, back=back)
        except RegtraceError as error:
            self.call_later(self._say, str(error))
            return
        if found is None:
            self.call_later(self._say, f"no key or value has {text!r} in its name")
        else:
            self.call_later(self.reveal, found)

    def _say(self, text: str) -> None:
        self._said = text
        self._tell()

    def _tell(self) -> None:
        """Write the lines around the tree and the table."""
        model, width = self.model, max(1, self.size.width)
        path = self._called if model is None or self.key is None else model.keys.shown_path(self.key)
        self._write("key", fitted(visible(path), width, end=True))
        self._tell_detail()
        if model is None:
            self._write("status", fitted(visible(self._said), width))
            return
        here = f"{told_in(self.stops, self.at_ns)} here, {told_in(self._all, self.at_ns)} all"
        time = _moment(self.at_ns, self.zone) if len(model.keys) else "no time"
        self._write("time", fitted(f"{time}  change {here}", width))
        losses = [] if self.stops is None else model.losses
        if self.stops is not None:
            self._write("bar", slider(width, self.at_ns, first_ns=model.first_ns, last_ns=model.last_ns,
                                      stops=self.stops, losses=losses))  # fmt: skip
        else:
            self._write("bar", "-" * width)
        lost = f"{_losses(len(losses))} (x). " if losses else ""
        said = self._said or f"? help  / search  , . change  h history  q quit  {lost}{self._doubts}"
        self._write("status", fitted(visible(said), width))

    def _tell_detail(self) -> None:
        """Write what is known of the value under the cursor, in full."""
        values, width = self._values, max(1, self.size.width)
        if values is None or self.shown is None or not values.count:
            self._write("detail", "")
            return
        line = values.line(values.cursor)
        what = "  ".join(filter(None, (line.name, line.kind, line.full)))
        known = f"{line.known}, was: {line.was}" if line.known == "unknown" and line.was else line.known
        lost = "events were lost since" if line.lost else ""
        how = "  ".join(filter(None, (known, line.who, line.when, lost)))
        self._write("detail", f"{fitted(what, width)}\n{fitted(how, width)}")

    def _write(self, name: str, text: str) -> None:
        self.query_one(f"#{name}", Static).update(text, layout=False)

    @property
    def _all(self) -> "Stops | None":
        return None if self.model is None or self.stops is None else self.model.stops


def told_in(stops: "Stops | None", at_ns: int) -> str:
    """Return how many changes lie behind, of how many; ? while they are read."""
    return "?" if stops is None else f"{stops.until(at_ns):,}/{len(stops):,}"


def _moment(at_ns: int, zone: tzinfo) -> str:
    from cli.browse.model import told_time

    return told_time(at_ns, zone)


def _losses(count: int) -> str:
    return "1 loss" if count == 1 else f"{count:,} losses"
