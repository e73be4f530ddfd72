"""The tree of keys on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.binding import Binding, BindingType

from cli.browse.lines import Lines, Part, fitted
from cli.output.safe import visible

if TYPE_CHECKING:
    from cli.browse.keys import Keys  # it imports the engine, and the tree is shown before that is loaded

__all__ = ["KeyTree"]

_GUIDE = Style(dim=True)
_NAME = 16  # columns of a name that are seen, however deep its key is


class KeyTree(Lines):
    """Keys below one another; a key whose line is open shows those right below.

    Attributes:
        keys: the keys; None until they are read.
        lines: the key of each line.
    """

    ALWAYS_RAIL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "enter", "open", show=False),
        Binding("left", "leave", "close", show=False),
        Binding("enter,space", "fold", "open or close", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  (textual's name)
        super().__init__(id=id)
        self.keys: Keys | None = None
        self.lines: list[int] = []
        self._depths: list[int] = []
        self._open: set[int] = set()

    @property
    def key(self) -> int | None:
        """The chosen key; None where there is none."""
        return self.lines[self.cursor] if self.lines else None

    def show(self, keys: "Keys") -> None:
        """Show the highest keys."""
        self.keys = keys
        self.lines, self._depths = list(keys.tops), [0] * len(keys.tops)
        self.reset(len(self.lines))

    def is_open(self, key: int) -> bool:
        """Tell whether the keys below are shown wherever the key is."""
        return key in self._open

    def near(self, lines: int) -> list[int]:
        """Return the keys of so many lines to either side of the cursor, the nearest first."""
        reach = range(1, lines + 1)
        spots = [self.cursor + step * side for step in reach for side in (1, -1)]
        return [self.lines[spot] for spot in spots if 0 <= spot < len(self.lines)]

    def reveal(self, key: int) -> None:
        """Open the keys above a key, and choose it."""
        assert self.keys is not None
        line = -1
        for each in (*self.keys.ancestors(key), key):
            if line >= 0:
                self._set_open(line, True)
            line = self.lines.index(each, line + 1)
        self.reset(len(self.lines), line)

    def action_fold(self) -> None:
        """Open or close the key."""
        if self.key is not None:
            self._set_open(self.cursor, self.key not in self._open)
            self.reset(len(self.lines), self.cursor)
            self.post_message(self.Moved(self))

    def action_enter(self) -> None:
        """Open the key; where it is open, go to the first below."""
        if self.keys is None or self.key is None or not self.keys.has_children(self.key):
            return
        if self.key in self._open:
            self.action_go(1)
        else:
            self.action_fold()

    def action_leave(self) -> None:
        """Close the key; where it is closed, go to the one above."""
        if self.key is None:
            return
        if self.key in self._open:
            self.action_fold()
            return
        depth, line = self._depths[self.cursor], self.cursor
        while line > 0 and self._depths[line] >= depth:
            line -= 1
        if self._depths[line] < depth:
            self.action_go(line - self.cursor)

    def action_choose(self) -> None:
        """Open or close the key: what a click on the chosen line does."""
        self.action_fold()

    def parts(self, index: int, width: int) -> Sequence[Part]:
        """Return the guides, the mark and the name; deep lines are moved to the left for the chosen one's sake."""
        assert self.keys is not None
        key, depth = self.lines[index], self._depths[index]
        away = max(0, self._indent(self.cursor) + min(_NAME, self._length(self.cursor)) - width)
        mark = "▼ " if key in self._open else "▶ " if self.keys.has_children(key) else "  "
        guides = ("│" * depth + mark)[away:]
        rest = width - len(guides)
        if rest <= 0:
            return [(guides[:width], _GUIDE)]
        name = visible(self.keys.shown_label(key))[max(0, away - depth - 2) :]
        return [(guides, _GUIDE), (fitted(name, rest), None)]

    def move(self, cursor: int) -> None:
        """Choose a line; a line at another depth may move all."""
        depth = self._depths[self.cursor] if self.lines else 0
        super().move(cursor)
        if self.lines and self._depths[self.cursor] != depth:
            self.refresh()

    def _indent(self, index: int) -> int:
        return self._depths[index] + 2

    def _length(self, index: int) -> int:
        assert self.keys is not None
        return cell_len(visible(self.keys.shown_label(self.lines[index])))

    def _set_open(self, line: int, is_open: bool) -> None:
        assert self.keys is not None
        key = self.lines[line]
        if is_open == (key in self._open) or not self.keys.has_children(key):
            return
        below = slice(line + 1, self._end_of(line))
        if is_open:
            self._open.add(key)
            found = self._seen_below(key, self._depths[line] + 1)
            self.lines[below] = [each for each, _ in found]
            self._depths[below] = [depth for _, depth in found]
        else:
            self._open.discard(key)
            self.lines[below] = self._depths[below] = []

    def _end_of(self, line: int) -> int:
        end, depth = line + 1, self._depths[line]
        while end < len(self.lines) and self._depths[end] > depth:
            end += 1
        return end

    def _seen_below(self, key: int, depth: int) -> list[tuple[int, int]]:
        """Return the keys that an open key shows, with their depths; what was open below it is so again."""
        assert self.keys is not None
        found = []
        waiting = [(each, depth) for each in reversed(self.keys.children(key))]
        while waiting:
            found.append(one := waiting.pop())
            if one[0] in self._open:
                waiting += [(each, one[1] + 1) for each in reversed(self.keys.children(one[0]))]
        return found
