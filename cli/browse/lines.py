"""A list of any length on the screen: only the lines that are seen are made, so that it moves at once."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

__all__ = ["Lines", "Part", "fitted"]

Part = tuple[str, Style | None]
_WHEEL = 3  # lines
_HERE = Style(reverse=True)  # seen on terminals of any colours, and of none
_HERE_AWAY = Style(bold=True, underline=True)
_HEAD = Style(bold=True)
_RAIL = Style(dim=True)


def fitted(text: str, width: int, *, end: bool = False) -> str:
    """Return a text in exactly so many columns: shortened with an ellipsis, at its beginning for `end`, or filled up."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if width < 1:
        return ""
    if not end:
        return set_cell_size(text, width - 1) + "…"
    rest = text
    while cell_len(rest) > width - 1:
        rest = rest[max(1, (cell_len(rest) - width + 1) // 2) :]
    return set_cell_size("…" + rest, width)


class Lines(Widget, can_focus=True):
    """The list.

    Attributes:
        count: how many lines it has.
        cursor: the line that is chosen.
        top: the first line on the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "go(-1)", "up", show=False),
        Binding("down,j", "go(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "go(-1000000000)", "first", show=False),
        Binding("end", "go(1000000000)", "last", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]

    HAS_HEAD: ClassVar[bool] = False
    # A rail also where everything is seen: it parts the list from what is beside it.
    ALWAYS_RAIL: ClassVar[bool] = False

    class Moved(Message):
        """The cursor came to another line, by the keyboard or the mouse."""

        def __init__(self, lines: "Lines") -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> "Lines":
            """The list."""
            return self.lines

    class Chosen(Moved):
        """Enter was pressed, or the chosen line clicked."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  (textual's name)
        super().__init__(id=id)
        self.count = self.cursor = self.top = 0

    def parts(self, index: int, width: int) -> Sequence[Part]:
        """Return the pieces of a line, with their styles, for so many columns."""
        raise NotImplementedError

    def head(self, width: int) -> str:
        """Return the line above the list, for lists that have one."""
        raise NotImplementedError

    @property
    def height(self) -> int:
        """How many lines are seen."""
        return max(1, self.size.height - self.HAS_HEAD)

    def reset(self, count: int, cursor: int = 0) -> None:
        """Show a list of so many other lines."""
        self.count = count
        self.cursor = min(max(0, cursor), max(0, count - 1))
        self._scroll()
        self.refresh()

    def move(self, cursor: int) -> None:
        """Choose a line, and tell nobody."""
        cursor = min(max(0, cursor), max(0, self.count - 1))
        if cursor == self.cursor:
            return
        before, self.cursor = self.cursor, cursor
        if self._scroll():
            self.refresh()
        else:
            self._draw(before)
            self._draw(cursor)

    def action_go(self, steps: int) -> None:
        """Move the cursor."""
        before = self.cursor
        self.move(before + steps)
        if self.cursor != before:
            self.post_message(self.Moved(self))

    def action_page(self, pages: int) -> None:
        """Move the cursor by a screen."""
        self.action_go(pages * max(1, self.height - 1))

    def action_choose(self) -> None:
        """Say that the line is chosen."""
        if self.count:
            self.post_message(self.Chosen(self))

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._scroll()

    def on_focus(self) -> None:
        """Draw the cursor anew."""
        self._draw(self.cursor)

    def on_blur(self) -> None:
        """Draw the cursor anew."""
        self._draw(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the line; a click on the chosen one chooses it."""
        index = self.top + event.y - self.HAS_HEAD
        if not self.top <= index < self.count:
            return
        if index == self.cursor:
            self.action_choose()
        else:
            self.action_go(index - self.cursor)

    def on_mouse_scroll_down(self) -> None:
        """Scroll, and take the cursor along where it would leave the screen."""
        self._wheel(_WHEEL)

    def on_mouse_scroll_up(self) -> None:
        """Scroll back."""
        self._wheel(-_WHEEL)

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        width, style = self.size.width, self.rich_style
        if self.HAS_HEAD and y == 0:
            return Strip([Segment(fitted(self.head(width), width), style + _HEAD)], width)
        row = y - self.HAS_HEAD
        index = self.top + row
        rail = self._rail(row)
        if index >= self.count:
            return Strip.blank(width, style)
        over = None if index != self.cursor else _HERE if self.has_focus or not self._is_two() else _HERE_AWAY
        segments = []
        for text, own in self.parts(index, width - bool(rail)):
            merged = style if own is None else style + own
            segments.append(Segment(text, merged if over is None else merged + over))
        if rail:
            segments.append(Segment(rail, style + _RAIL))
        return Strip(segments).adjust_cell_length(width, style)

    def _is_two(self) -> bool:
        return sum(True for _ in self.screen.query(Lines)) > 1

    def _rail(self, row: int) -> str:
        """Return the piece of a scroll bar beside a line of the screen; "" where everything is seen."""
        height = self.height
        if self.count <= height:
            return "│" if self.ALWAYS_RAIL else ""
        size = max(1, height * height // self.count)
        start = (height - size) * self.top // max(1, self.count - height)
        return "▐" if start <= row < start + size else "│"

    def _scroll(self) -> bool:
        """Bring the cursor on the screen, and return whether the list had to move."""
        height, before = self.height, self.top
        top = min(max(before, self.cursor - height + 1), self.cursor)
        self.top = max(0, min(top, self.count - height))
        return self.top != before

    def _wheel(self, lines: int) -> None:
        height = self.height
        self.top = max(0, min(self.top + lines, self.count - height))
        cursor = min(max(self.cursor, self.top), self.top + height - 1)
        self.refresh()
        self.action_go(cursor - self.cursor)

    def _draw(self, index: int) -> None:
        row = index - self.top + self.HAS_HEAD
        if 0 <= row < self.size.height:
            self.refresh(Region(0, row, self.size.width, 1))
