"""The view itself: tree of keys, values of the chosen one, the line of time; it asks the model on another thread."""

from datetime import UTC, tzinfo
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Static, Tree
from textual.widgets.tree import TreeNode

from cli.browse.cells import VALUE_TITLES, plain, value_rows
from cli.browse.model import Model, Stops, told_time
from cli.browse.screens import Help, Writes
from cli.browse.slider import slider
from cli.output.phrases import plural
from tracer.errors import RegtraceError

__all__ = ["Browser"]

_MOST_ROWS = 1000  # of a table; more are said, not shown
_MOST_CHILDREN = 500  # added to the tree at a time
_STEP = 20  # parts of the whole time that + and - move by


class Browser(App[None]):
    """A terminal view of one capture.

    Attributes:
        model: what is shown.
        at_ns: the time looked at, UTC nanoseconds.
        key: the key looked at; None before the first.
        lines: the line of the tree of each key that was added so far.
        shown: key and time of the values that stand in the table; None while the first are asked for.
    """

    TITLE = "regtrace browse"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Tree { width: 1fr; border-right: solid $primary; }
    DataTable { width: 2fr; }
    Tree, DataTable { scrollbar-size: 1 1; }
    #key, #time, #bar, #status { height: 1; }
    #key { text-style: bold; }
    #status { color: $text-muted; }
    #search { display: none; height: 1; border: none; }
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

    def __init__(self, model: Model, *, zone: tzinfo = UTC) -> None:
        super().__init__()
        self.model, self.zone = model, zone
        self.at_ns = model.last_ns
        self.key: int | None = None
        self.shown: tuple[int, int] | None = None
        self._stops = model.stops
        self.lines: dict[int, TreeNode[int]] = {}
        self._searched = ""
        self._said = ""
        self._doubts = " ".join(model.doubts())

    def compose(self) -> ComposeResult:
        """Yield the widgets from top to bottom."""
        yield Static(id="key", markup=False)
        with Horizontal():
            tree: Tree[int] = Tree("registry")
            tree.show_root, tree.guide_depth, tree.auto_expand = False, 2, True
            yield tree
            yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static(id="time", markup=False)
        yield Static(id="bar", markup=False)
        yield Static(id="status", markup=False)
        yield Input(placeholder="part of a name of a key or value", id="search")

    def on_mount(self) -> None:
        """Show the first keys."""
        self._table.add_columns(*VALUE_TITLES)
        self._grow(self._tree.root, self.model.tops, len(self.model.tops[:_MOST_CHILDREN]))
        self._tree.root.expand()
        self._tree.focus()
        self._tell_time()
        if self.model.tops:
            self.reveal(self.model.tops[0])

    def on_resize(self) -> None:
        """Draw the bar anew."""
        self._tell_time()

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[int]) -> None:
        """Add the keys below when they are first seen."""
        key = event.node.data
        if key is not None and not event.node.children:
            self._grow(event.node, self.model.children(key), _MOST_CHILDREN)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[int]) -> None:
        """Look at the key under the cursor; on the line that stands for more keys, show them."""
        node = event.node
        if node.data is not None and node.data != self.key:
            self.key, self._stops = node.data, self.model.stops_below(node.data)
            self._look()

    def on_tree_node_selected(self, event: Tree.NodeSelected[int]) -> None:
        """Show more keys, where the line stands for them."""
        node = event.node
        if node.data is None and node.parent is not None:
            above = node.parent
            keys = self.model.tops if above.data is None else self.model.children(above.data)
            known = len(above.children) - 1
            node.remove()
            self._grow(above, keys, known + _MOST_CHILDREN, known)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search for what was typed."""
        self._searched = event.value
        self.action_leave()
        self.action_find(back=False)

    def action_move(self, way: str, whole: bool = False) -> None:
        """Go to the next change ("after") or the previous one ("before"), of the subtree or the whole capture."""
        stops = self.model.stops if whole else self._stops
        time = stops.after(self.at_ns) if way == "after" else stops.before(self.at_ns)
        if time is None:
            where = "the capture" if whole else "this key and those below it"
            self._say(f"no {'later' if way == 'after' else 'earlier'} change of {where}")
        else:
            self.go_to(time)

    def action_slide(self, steps: int) -> None:
        """Move by a twentieth of the time, as often as `steps` says."""
        first, last = self.model.first_ns, self.model.last_ns
        self.go_to(min(last, max(first, self.at_ns + steps * (last - first) // _STEP)))

    def go_to(self, time_ns: int) -> None:
        """Look at a time, UTC nanoseconds."""
        self.at_ns = time_ns
        self._look()

    def action_search(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#search", Input)
        field.display, field.value = True, ""
        field.focus()

    def action_leave(self) -> None:
        """Close the search."""
        self.query_one("#search").display = False
        self._tree.focus()

    def action_find(self, back: bool) -> None:
        """Go to the next key that the search fits."""
        if not self._searched:
            self._say("search first: /")
            return
        text, after = self._searched, self.key
        self._say("searching ...")
        self.run_worker(lambda: self._find(text, after, back=back), thread=True, exclusive=True, group="find")

    def action_history(self) -> None:
        """Show the writes and deletes of the key's values."""
        if self.key is not None:
            self.push_screen(Writes(self.model, self.key, zone=self.zone), self._come_back)

    def action_help(self) -> None:
        """Show what the keyboard does."""
        self.push_screen(Help(self._doubts))

    def reveal(self, key: int) -> None:
        """Open the tree down to a key and look at it."""
        node = self._tree.root
        for one in (*self.model.ancestors(key), key):
            siblings = self.model.tops if node.data is None else self.model.children(node.data)
            if one not in self.lines:
                if node.children and node.children[-1].data is None:
                    node.children[-1].remove()
                self._grow(node, siblings, siblings.index(one) + _MOST_CHILDREN, len(node.children))
            node.expand()
            node = self.lines[one]
        if self._tree.last_line >= 0:  # the tree counts its lines here; before, the new ones have no number
            self._tree.move_cursor(node)
            self.call_after_refresh(self._tree.scroll_to_node, node, animate=False)

    @property
    def _tree(self) -> Tree[int]:
        return self.query_one(Tree)

    @property
    def _table(self) -> DataTable[Any]:
        return self.query_one(DataTable)

    def _grow(self, node: TreeNode[int], keys: list[int], until: int, known: int = 0) -> None:
        for key in keys[known:until]:
            label = plain(self.model.label(key))
            self.lines[key] = node.add(label, key, allow_expand=bool(self.model.children(key)))
        if len(keys) > until:
            node.add_leaf(plain(f"… {len(keys) - until:,} more: Enter"))

    def _come_back(self, time_ns: int | None) -> None:
        if time_ns is not None:
            self.go_to(time_ns)

    def _look(self) -> None:
        self._said = ""
        self._tell_time()
        if self.key is None:
            return
        key, at_ns = self.key, self.at_ns
        if self.model.is_kept(key, at_ns):
            self._fill(key, at_ns)
        else:
            self.run_worker(lambda: self._ask(key, at_ns), thread=True, exclusive=True, group="state")

    def _ask(self, key: int, at_ns: int) -> None:
        with self.model.turn:
            if (key, at_ns) != (self.key, self.at_ns):
                return  # who asked has gone on
            try:
                self.model.state(key, at_ns)
            except RegtraceError as error:
                self.call_later(self._say, str(error))
                return
        self.call_later(self._fill, key, at_ns)

    def _find(self, text: str, after: int | None, *, back: bool) -> None:
        try:
            found = self.model.find(text, after, back=back)
        except RegtraceError as error:
            self.call_later(self._say, str(error))
            return
        if found is None:
            self.call_later(self._say, f"no key or value has {text!r} in its name")
        else:
            self.call_later(self._say, "")
            self.call_later(self.reveal, found)

    def _fill(self, key: int, at_ns: int) -> None:
        if (key, at_ns) != (self.key, self.at_ns):
            return
        rows = value_rows(self.model.state(key, at_ns), zone=self.zone, width=self.size.width)
        table = self._table
        table.clear()
        table.add_rows(rows[:_MOST_ROWS])
        self.shown = key, at_ns
        if not rows:
            self._say("nothing is known of this key at this time")
        elif len(rows) > _MOST_ROWS:
            self._say(f"the first {_MOST_ROWS:,} of {len(rows):,} rows")

    def _say(self, text: str) -> None:
        self._said = text
        self._tell_time()

    def _tell_time(self) -> None:
        model = self.model
        path = "" if self.key is None else model.path(self.key)
        self.query_one("#key", Static).update(plain(path, most=self.size.width or None, end=True))
        here = f"{_counted(self._stops, self.at_ns)} here, {_counted(model.stops, self.at_ns)} all"
        self.query_one("#time", Static).update(plain(f"{told_time(self.at_ns, self.zone)}  change {here}"))
        bar = slider(
            max(1, self.size.width),
            self.at_ns,
            first_ns=model.first_ns,
            last_ns=model.last_ns,
            stops=self._stops,
            losses=model.losses,
        )
        self.query_one("#bar", Static).update(plain(bar))
        lost = f"{plural(len(model.losses), 'loss')} (x). " if model.losses else ""
        text = self._said or f"? help  / search  , . change  q quit  {lost}{self._doubts}"
        self.query_one("#status", Static).update(plain(text))


def _counted(stops: Stops, at_ns: int) -> str:
    return f"{stops.until(at_ns):,}/{len(stops):,}"
