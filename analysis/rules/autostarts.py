r"""The table of autostart points, and which of its rows a key and a value are.

The rows are in `autostarts.csv`, beside this module; the ATT&CK techniques that they name in `techniques.csv`. A key is matched
by its folded display path, and each distinct path once: a path's place in the table is that of its parent and one component
more, so that keys far from all patterns cost one look into a dictionary.

A pattern is written without a root. Its scope says below which root it stands: ``machine`` is HKLM, ``user`` is the key of
each user below HKU, with the classes of ``<SID>_Classes`` at ``SOFTWARE\Classes``. ``*`` stands for any run of letters
within a component, ``**`` for any number of components, none included. ControlSet00N is CurrentControlSet. A row with a
Wow64 twin also fits below WOW6432Node.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tracer.errors import UsageError
from tracer.registry.suggestions import advice
from tracer.registry.text import fold_name

__all__ = [
    "KINDS",
    "Autostart",
    "AutostartTable",
    "attack_version",
    "autostart_table",
    "autostarts",
    "categories",
    "find_categories",
    "techniques",
]

KINDS = ("autostart", "hijack", "security control", "credential")
_FOLDER = Path(__file__).parent
_LIST = "regtrace list autostarts"
_KEY, _DEFAULT = "(KEY)", "(DEFAULT)"
_LINK = "SYMBOLICLINKVALUE"  # makes the key a link to another (wdm.h, REG_OPTION_CREATE_LINK), and is no entry of it
_WOW = "WOW6432NODE"
_CONTROL_SET = re.compile(r"CONTROLSET[0-9]{3}", re.ASCII)
_CLASSES_HIVE = re.compile(r".*_CLASSES", re.DOTALL)
_PLAIN_HIVE = re.compile(r"(?!.*_CLASSES\Z).*", re.DOTALL)
_PLACES = 200_000  # distinct parents that are remembered


@dataclass(frozen=True, slots=True)
class Autostart:
    r"""One row of the table: a place in the registry from which something is started, or that weakens what guards it.

    Attributes:
        id: its name, as `--where` and other programs use it.
        category: a group of rows, such as ``services``.
        kind: one of KINDS.
        key: key pattern below the root, such as ``SOFTWARE\Microsoft\Windows\CurrentVersion\Run``.
        value: value names or patterns, separated by ``|``: ``(Default)`` is the default value, ``(Key)`` the key itself,
            which is an entry once it is there; "" is any value.
        scope: machine, user or both.
        wow64: whether there is a twin for 32-bit programs.
        technique: the id of an ATT&CK technique (`techniques`).
        data: what the data is: command, commands, commands list, dll, dlls, driver, clsid, key clsid (the key's name is the
            CLSID), value clsid (the value's name is), value path (the value's name is a path), key progid, path, folder,
            url, task, task actions, flag, list, text or binary.
        source: where the fact is from, words separated by blanks.
        note: what is started, or switched.
    """

    id: str
    category: str
    kind: str
    key: str
    value: str
    scope: str
    wow64: bool
    technique: str
    data: str
    source: str
    note: str

    @property
    def is_key(self) -> bool:
        """Whether the key itself is an entry, not only a value of it."""
        return _KEY in fold_name(self.value).split("|")

    @property
    def location(self) -> str:
        r"""The place as people write it: ``HKLM\...\Run`` or ``HKCU\...\Run``, with the value behind it."""
        root = {"machine": "HKLM", "user": "HKCU", "both": "HKLM|HKCU"}[self.scope]
        return f"{root}\\{self.key}" + (f": {self.value}" if self.value else "")


@cache
def autostarts() -> tuple[Autostart, ...]:
    """Return the rows of the table, in order."""
    with (_FOLDER / "autostarts.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return tuple(Autostart(wow64=row.pop("wow64") == "yes", **row) for row in rows)


@cache
def categories() -> tuple[str, ...]:
    """Return the categories, in the table's order."""
    return tuple(dict.fromkeys(row.category for row in autostarts()))


def find_categories(words: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the categories that a user names; None where there is no word.

    Args:
        words: categories, separated by commas or as a list, in any case.

    Raises:
        UsageError: a word is no category.
    """
    if words is None:
        return None
    several = words.split(",") if isinstance(words, str) else words
    found = [word.strip().lower() for word in several]
    for word in found:
        if word not in categories():
            raise UsageError(
                f"{word!r} is no category of autostarts; {advice(word, categories(), see=_LIST)}"
            )
    return tuple(dict.fromkeys(found))


@cache
def techniques() -> dict[str, str]:
    """Return the names of the ATT&CK techniques of the table, by id."""
    return {row["technique"]: row["name"] for row in _technique_rows()}


@cache
def attack_version() -> str:
    """Return the version of ATT&CK for Enterprise whose ids the table uses."""
    (version,) = {row["version"] for row in _technique_rows()}
    return version


def _technique_rows() -> list[dict[str, str]]:
    with (_FOLDER / "techniques.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@cache
def autostart_table() -> "AutostartTable":
    """Return the matcher of the whole table."""
    return AutostartTable(autostarts())


@dataclass(slots=True, eq=False)
class _Node:
    """One place in the patterns: which component leads where."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    patterns: list[tuple[re.Pattern[str], "_Node"]] = field(default_factory=list)
    any: "_Node | None" = None
    deep: "_Node | None" = None  # reached without a component, and stays for any
    stays: bool = False
    rows: list[int] = field(default_factory=list)

    def child(self, component: str) -> "_Node":
        if component == "**":
            if self.deep is None:
                self.deep = _Node(stays=True)
            return self.deep
        if component == "*":
            if self.any is None:
                self.any = _Node()
            return self.any
        if "*" not in component:
            return self.literal.setdefault(component, _Node())
        regex = _glob(component)
        for pattern, node in self.patterns:
            if pattern.pattern == regex.pattern:
                return node
        self.patterns.append((regex, _Node()))
        return self.patterns[-1][1]

    def at(self, *components: str) -> "_Node":
        node = self
        for component in components:
            node = node.child(component)
        return node

    def steps(self, component: str) -> Iterator["_Node"]:
        found = self.literal.get(component)
        if found is not None and component == _WOW:  # the twin, and no name that a pattern leaves open
            yield found
            return
        if self.stays:
            yield self
        if found is not None:
            yield found
        if self.any is not None:
            yield self.any
        for pattern, node in self.patterns:
            if pattern.fullmatch(component):
                yield node


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if letter == "*" else re.escape(letter) for letter in pattern), re.DOTALL)


class AutostartTable:
    """Finds the rows of keys and values.

    Attributes:
        rows: the rows.
    """

    def __init__(self, rows: Sequence[Autostart]) -> None:
        self.rows = tuple(rows)
        self._values = [_value_patterns(row.value) for row in self.rows]
        self._best = sorted(
            range(len(self.rows)), key=lambda place: _exactness(self.rows[place]), reverse=True
        )
        self._states: dict[frozenset[_Node], int] = {frozenset(): 0}
        self._nodes: list[tuple[_Node, ...]] = [()]
        self._moves: list[dict[str, int]] = [{}]
        self._hits: list[tuple[int, ...]] = [()]
        self._parents: dict[str, int] = {"": self._state([_root(self.rows)])}
        self._of_value: dict[tuple[int, str | None], int | None] = {}

    def match_keys(self, folded_paths: Iterable[str]) -> list[int]:
        """Return for each folded display path a number that `of_value` and `of_key` take; 0: no row is of this key."""
        place = self._place
        return [state if self._hits[state] else 0 for state in map(place, folded_paths)]

    def of_value(self, place: int, value_name: str | None) -> Autostart | None:
        """Return the most exact row of a value; None where no row is.

        Args:
            place: what `match_keys` says of the key.
            value_name: the name; "" is the default value, None is a value of unknown name, which only rows of any value fit.
        """
        folded = None if value_name is None else fold_name(value_name)
        known = (place, folded)
        if known not in self._of_value:
            if len(self._of_value) >= _PLACES:
                self._of_value.clear()
            fits = (row for row in self._hits[place] if _has_value(self._values[row], folded))
            self._of_value[known] = next(fits, None)
        row = self._of_value[known]
        return None if row is None else self.rows[row]

    def of_key(self, place: int, *, itself: bool) -> Autostart | None:
        """Return the most exact row of a key; None where no row is.

        Args:
            place: what `match_keys` says of the key.
            itself: True: only rows for which the key itself is an entry; False: also those of its values.
        """
        found = (self.rows[row] for row in self._hits[place])
        return next((row for row in found if row.is_key or not itself), None)

    def _place(self, path: str) -> int:
        above, _, name = path.rpartition("\\")
        state = self._parents.get(above)
        if state is None:
            state = self._place(above) if above.count("\\") < _DEEPEST else 0
            if len(self._parents) < _PLACES:
                self._parents[above] = state
        return self._step(state, name) if state else 0

    def _step(self, state: int, component: str) -> int:
        moves = self._moves[state]
        found = moves.get(component)
        if found is None:
            found = self._state([node for one in self._nodes[state] for node in one.steps(component)])
            if len(moves) < _PLACES:
                moves[component] = found
        return found

    def _state(self, nodes: Iterable[_Node]) -> int:
        every = set()
        for node in nodes:
            every.add(node)
            while node.deep is not None:
                node = node.deep
                every.add(node)
        known = frozenset(every)
        if known not in self._states:
            self._states[known] = len(self._nodes)
            self._nodes.append(tuple(every))
            self._moves.append({})
            rows = {row for node in every for row in node.rows}
            self._hits.append(tuple(row for row in self._best if row in rows))
        return self._states[known]


_DEEPEST = 512  # components of a key (Microsoft Learn, "Registry Element Size Limits")


def _root(rows: Sequence[Autostart]) -> _Node:
    """Return the patterns of all rows below their roots; what stands for something else leads to the same place."""
    root = _Node()
    machine, user = root.at("HKLM"), _Node()
    users = root.at("HKU")
    classes = ("SOFTWARE", "CLASSES")
    users.patterns = [(_CLASSES_HIVE, user.at(*classes)), (_PLAIN_HIVE, user)]
    for scope, top in (("machine", machine), ("user", user)):
        twin = _Node()
        for place, row in enumerate(rows):
            if row.scope in (scope, "both"):
                components = fold_name(row.key).split("\\")
                top.at(*components).rows.append(place)
                if row.wow64:
                    twin.at(*components).rows.append(place)
        top.at("SOFTWARE").literal[_WOW] = twin.at("SOFTWARE")
        top.at(*classes).literal[_WOW] = twin.at(*classes)
    system = machine.at("SYSTEM")
    system.patterns.append((_CONTROL_SET, system.at("CURRENTCONTROLSET")))
    return root


def _exactness(row: Autostart) -> tuple[int, int, int]:
    """Return how much of a row is spelled out: of two rows that fit, the more exact one says more."""
    letters = sum(len(component.replace("*", "")) for component in row.key.split("\\"))
    exact = 2 if row.value and "*" not in row.value else 1 if row.value else 0
    return letters, exact, -row.key.count("*")


def _value_patterns(value: str) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]] | None:
    """Return the folded names and the patterns of values; None for any value."""
    if not value:
        return None
    words = ["" if word == _DEFAULT else word for word in fold_name(value).split("|") if word != _KEY]
    return frozenset(word for word in words if "*" not in word), tuple(
        _glob(word) for word in words if "*" in word
    )


def _has_value(
    patterns: tuple[frozenset[str], tuple[re.Pattern[str], ...]] | None, folded: str | None
) -> bool:
    if patterns is None:
        return folded != _LINK
    names, globs = patterns
    return folded is not None and (folded in names or any(glob.fullmatch(folded) for glob in globs))
