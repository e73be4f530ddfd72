"""A reader of .reg files of its own, and a registry of dictionaries to read them into: the importers' stand-in.

It takes version 5.00 literally, one line after another, and shares no code with what writes the files.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["Model", "read_reg"]

HEADER = "Windows Registry Editor Version 5.00"
Value = tuple[int, bytes]


def read_reg(content: bytes) -> list[tuple[Any, ...]]:
    """Return what a file says to do: (delete, key), (key, key), (set, key, name, type, data), (unset, key, name)."""
    assert content[:2] == b"\xff\xfe", "no byte order mark"
    text = content[2:].decode("utf-16-le", "surrogatepass")
    assert text.endswith("\r\n")
    lines = text.split("\r\n")
    assert not any("\r" in line or "\n" in line for line in lines), "a line break of another kind"
    assert lines.pop(0) == HEADER
    steps: list[tuple[Any, ...]] = []
    key = None
    while lines:
        line = lines.pop(0)
        if line == "":
            key = None
        elif line[0] == ";":
            assert key is None, "hivexregedit ends a key's values at a comment"
            assert not line.endswith("\\"), "hivexregedit joins the next line"
        elif line[0] == "[":
            assert line[-1] == "]", line  # the last one ends the name, as for Wine
            if line[1] == "-":
                steps.append(("delete", line[2:-1]))
            else:
                key = line[1:-1]
                steps.append(("key", key))
        else:
            assert key is not None, f"a value without a key: {line}"
            name, rest = _name(line)
            while rest.endswith("\\"):
                assert rest.startswith("hex")
                following = lines.pop(0)
                assert following.startswith("  ")
                rest = rest[:-1] + following[2:]
            steps.append(("unset", key, name) if rest == "-" else ("set", key, name, *_data(rest)))
    return steps


def _name(line: str) -> tuple[str, str]:
    if line[0] == "@":
        assert line[1] == "="
        return "", line[2:]
    name, end = _text(line)
    assert line[end] == "="
    return name, line[end + 1 :]


def _text(line: str) -> tuple[str, int]:
    """Return the text between quotes at the line's beginning, and where the rest begins."""
    assert line[0] == '"', line
    letters = []
    place = 1
    while line[place] != '"':
        if line[place] == "\\":
            place += 1
            assert line[place] in '"\\', line
        letters.append(line[place])
        place += 1
    return "".join(letters), place + 1


def _data(rest: str) -> Value:
    if rest[0] == '"':
        text, end = _text(rest)
        assert end == len(rest)
        return 1, text.encode("utf-16-le") + b"\0\0"
    kind, colon, digits = rest.partition(":")
    assert colon
    if kind == "dword":
        assert len(digits) == 8
        return 4, int(digits, 16).to_bytes(4, "little")
    data = bytes(int(pair, 16) for pair in digits.split(",")) if digits else b""
    if kind == "hex":
        return 3, data
    assert kind[:4] == "hex("
    assert kind[-1] == ")"
    return int(kind[4:-1], 16), data


class Model:
    """A registry: keys by folded path, each with its values by folded name.

    Args:
        fold: how names are compared.
        follow: turns a folded path into that of the key it leads to, for links.
    """

    def __init__(self, fold: Callable[[str], str], follow: Callable[[str], str] = str) -> None:
        self.fold, self.follow = fold, follow
        self.keys: dict[str, dict[str, Value]] = {}

    def copy(self) -> "Model":
        other = Model(self.fold, self.follow)
        other.keys = {path: dict(values) for path, values in self.keys.items()}
        return other

    def make(self, path: str) -> dict[str, Value]:
        """Return the values of a key, which is made with all above it where it is not there."""
        folded = self.follow(self.fold(path))
        for place, letter in enumerate(folded):
            if letter == "\\":
                self.keys.setdefault(folded[:place], {})
        return self.keys.setdefault(folded, {})

    def delete(self, path: str) -> None:
        folded = self.follow(self.fold(path))
        for key in [key for key in self.keys if key == folded or key.startswith(folded + "\\")]:
            del self.keys[key]

    def apply(self, content: bytes) -> None:
        """Do what a .reg file says."""
        for what, key, *more in read_reg(content):
            if what == "delete":
                self.delete(key)
            elif what == "key":
                self.make(key)
            elif what == "unset":
                self.make(key).pop(self.fold(more[0]), None)
            else:
                self.make(key)[self.fold(more[0])] = (more[1], more[2])
