"""Net changes as two .reg files: one makes the changes again, one takes them back.

regedit works from top to bottom, so keys are deleted first, parents before their subkeys, and then each key is
made and its values follow. What a file cannot say is never written nearly: it is listed at the file's end and
in `RegFiles.left_out`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.regfile.powershell import POWERSHELL
from analysis.regfile.syntax import REG, NotExpressible, Syntax, encode_file, key_name, shown_data
from tracer.errors import TargetError
from tracer.files.targets import open_target
from tracer.registry.text import fold_name, unescape_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEFT_OUT", "RegFiles", "reg_files"]

LEFT_OUT = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("display_key", pa.string(), nullable=False),
        pa.field("value_name", pa.string()),
        pa.field("change", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("last_sequence", pa.int64()),
        pa.field("key_id", pa.int32()),
    ]
)
_APPLY, _UNDO = "apply", "undo"
_BREAK = "\r\n"
_SOURCES = {
    "event": "the old data is what the event recorded",
    "write": "the old data is an earlier write's",
    "read": "the old data is an earlier read's",
    "baseline": "the old data is what the hive held before the trace",
    "absent": "it was not there before",
}
_NEVER_SEEN = "what was there before, if anything, was never seen"
_RENAMED = "the key was renamed, which no .reg file can do"
_UNCLEAR = "what it is at the end is not known"
_GONE_WITH_KEY = "its key was gone, and what deleted that was not seen"
_VOLATILE = "below HKLM\\HARDWARE keys are in memory only, and importers make none of that kind"
_IN_MEMORY = "HKLM\\HARDWARE\\"
_CUT = "fewer bytes were captured than the value holds"
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class RegFiles:
    """The texts of two .reg files, and the changes that they lack.

    Attributes:
        apply: makes the changes, on a registry as it was before.
        undo: takes them back, on a registry as it was afterwards.
        powershell: whether they are scripts for PowerShell.
        left_out: the changes that a file lacks, or has in part: file (apply or undo), display_key, value_name
            (NULL: the key itself), change, reason, last_sequence, key_id; in the order of keys and values.
    """

    apply: str
    undo: str
    left_out: pa.Table
    powershell: bool = False

    def __repr__(self) -> str:
        parts = [
            f"{name}: {text.count(_BREAK):,} lines, {len(self.left_out_of(name)):,} changes left out"
            for name, text in ((_APPLY, self.apply), (_UNDO, self.undo))
        ]
        return f"RegFiles({'; '.join(parts)})"

    @property
    def not_undoable(self) -> "pd.DataFrame":
        """The changes that `undo` does not take back, or not exactly, with the reasons."""
        return self._frame_of(_UNDO)

    @property
    def not_applicable(self) -> "pd.DataFrame":
        """The changes that `apply` does not make again, or not exactly, with the reasons."""
        return self._frame_of(_APPLY)

    def left_out_of(self, file: str) -> list[tuple[str, str]]:
        """Return the changes that `apply` or `undo` lacks: the key and the value, and the reason."""
        return [(_label(row), row["reason"]) for row in self.left_out.to_pylist() if row["file"] == file]

    def save(
        self, apply: Path | str | None = None, undo: Path | str | None = None, *, force: bool = False
    ) -> None:
        """Write one file or both, each whole or not at all.

        Args:
            apply: where to write the file that makes the changes; None: nowhere.
            undo: where to write the one that takes them back.
            force: replace files that exist.

        Raises:
            TargetError: a file exists, or cannot be written.
        """
        for path, text in ((apply, self.apply), (undo, self.undo)):
            if path is not None:
                _write(Path(path), self._encoded(text), force=force)

    def encoded(self, file: str) -> bytes:
        """Return the bytes of the file `apply` or `undo`: UTF-16 for regedit, ASCII for PowerShell."""
        return self._encoded(self.apply if file == _APPLY else self.undo)

    def _encoded(self, text: str) -> bytes:
        return text.encode("ascii") if self.powershell else encode_file(text)

    def _frame_of(self, file: str) -> "pd.DataFrame":
        from analysis.engine.fetch import to_frame

        rows = self.left_out.filter(pc.equal(self.left_out.column("file"), file))
        return to_frame(rows.drop_columns(["file"]))


def reg_files(
    changes: pa.Table,
    *,
    user_sid: str | None = None,
    narrowed: bool = False,
    about: Sequence[str] = (),
    powershell: bool = False,
) -> RegFiles:
    """Return the .reg files of a change set, or PowerShell scripts that do the same.

    Args:
        changes: rows of `analysis.answers.changes.changes`.
        user_sid: SID whose key HKEY_CURRENT_USER is; None: users' keys stay below HKEY_USERS.
        narrowed: whether only some processes' or values' changes are among the rows. A key that was deleted
            and made again is then not emptied as a whole, which would take values that are not among them.
        about: what stands at the top of both files.
        powershell: scripts for PowerShell instead.
    """
    rows = sorted(changes.to_pylist(), key=_place)
    syntax = POWERSHELL if powershell else REG
    apply, not_applied = _File(_APPLY, syntax, user_sid, narrowed=narrowed).made(rows, about)
    undo, not_undone = _File(_UNDO, syntax, user_sid, narrowed=narrowed).made(rows, about)
    return RegFiles(apply, undo, pa.Table.from_pylist([*not_applied, *not_undone], LEFT_OUT), powershell)


def _place(row: _Row) -> tuple[list[str], bool, str, int]:
    """Sort by key, parents first, the key itself before its values."""
    value = row["value_name"]
    folded = fold_name(row["display_key"]).split("\\")
    return folded, value is not None, fold_name(value or ""), row["last_sequence"] or 0


class _File:
    """One of the two files under construction."""

    def __init__(self, direction: str, syntax: Syntax, user_sid: str | None, *, narrowed: bool) -> None:
        self._direction, self._syntax = direction, syntax
        self._user_sid = user_sid
        self._gone, self._made = (
            ({"deleted"}, {"created"}) if direction == _APPLY else ({"created"}, {"deleted"})
        )
        self._made.add("recreated")
        if not narrowed:
            self._gone.add("recreated")
        self._deleted: set[str] = set()  # folded names of keys of which nothing stays
        self._left_out: list[_Row] = []
        self._changed: set[str] = set()  # names of keys that were themselves changed

    def made(self, rows: list[_Row], about: Sequence[str]) -> tuple[str, list[_Row]]:
        """Return the text, and the changes that it lacks."""
        named = list(self._named(rows))
        self._changed = {name for name, row in named if row["value_name"] is None}
        blocks = [*self._deletions(named), *self._settings(named)]
        title = "makes the changes again" if self._direction == _APPLY else "takes the changes back"
        comment = self._syntax.comment
        lines = [*self._syntax.header, "", comment(f"This file {title}."), *(comment(line) for line in about)]
        for block in blocks:
            lines += ["", *block]
        if self._left_out:
            count = len(self._left_out)
            lines += ["", comment(f"Not done by this file, or not wholly ({count:,}):")]
            lines += [comment(f"{_label(row)}: {row['reason']}") for row in self._left_out]
        return "".join(line + _BREAK for line in lines), self._left_out

    def _named(self, rows: list[_Row]) -> Iterator[tuple[str, _Row]]:
        whole_keys = {row["key_id"]: self._never_done(row) for row in rows if row["value_name"] is None}
        for row in rows:
            reason = whole_keys.get(row["key_id"])
            if row["change"] == "unclear" and (row["value_name"] is None or self._direction == _APPLY):
                reason = _UNCLEAR
            if reason is not None:
                self._leave_out(row, reason)
                continue
            try:
                yield key_name(row["display_key"], self._user_sid), row
            except NotExpressible as said:
                self._leave_out(row, str(said))

    def _never_done(self, row: _Row) -> str | None:
        """Return the reason why no file can change a key; None where one can."""
        if row["change"] == "renamed":
            return _RENAMED
        below = fold_name(row["display_key"]).startswith(_IN_MEMORY)
        return _VOLATILE if below and row["change"] in self._made else None

    def _deletions(self, named: list[tuple[str, _Row]]) -> Iterator[list[str]]:
        """Yield the blocks that delete keys; a key goes with its topmost deleted parent."""
        for name, row in named:
            if row["value_name"] is not None or row["change"] not in self._gone:
                continue
            if self._below_deleted(name):
                continue
            try:
                line = self._syntax.delete_key(name)
            except NotExpressible as reason:
                self._leave_out(row, str(reason))
                continue
            self._deleted.add(fold_name(name))
            yield [self._provenance(row), line]

    def _settings(self, named: list[tuple[str, _Row]]) -> Iterator[list[str]]:
        """Yield the blocks that make keys and set or delete values, a block a key."""
        comments: list[str] = []
        lines: list[str] = []
        current = ""
        for name, row in named:
            if name != current:
                if lines:
                    yield [*comments, self._syntax.make_key(current), *lines[1:]]
                comments, lines, current = [], [], name
            try:
                self._syntax.make_key(name)  # raises where nothing of this key can be said
                line = self._key(row) if row["value_name"] is None else self._value(name, row)
            except NotExpressible as reason:
                self._leave_out(row, str(reason))
                continue
            if line is not None:
                comments.append(self._provenance(row))
                lines = lines or [""]
                lines += [line] if line else []
        if lines:
            yield [*comments, self._syntax.make_key(current), *lines[1:]]

    def _key(self, row: _Row) -> str | None:
        """Return "" for a key that the file creates, None for another."""
        if row["change"] not in self._made:
            return None
        if self._direction == _UNDO and not row["complete"]:
            self._leave_out(
                row, "the key is made again with the values that are known; it may have held more"
            )
        elif "recreated" not in self._gone and row["change"] == "recreated":
            self._leave_out(row, "the key is not emptied first, for only some of the changes were asked for")
        return ""

    def _value(self, name: str, row: _Row) -> str | None:
        """Return the line of a value; None where the deletion of its key is enough."""
        value = unescape_name(row["value_name"])
        side = "after" if self._direction == _APPLY else "before"
        absent = row["change"] == "removed" if self._direction == _APPLY else row["before_from"] == "absent"
        if absent and self._direction == _APPLY and row["with_key"] and name not in self._changed:
            raise NotExpressible(_GONE_WITH_KEY)  # a line for the value would make the key
        if absent:
            return None if self._below_deleted(name) else self._syntax.delete_value(value)
        kind, data = row[f"{side}_type"], row[f"{side}_data"]
        size = row[f"{side}_size"]
        if data is None and size == 0:
            data = b""
        if kind is None and data is not None:
            raise NotExpressible("the source shows the text, and not whether it is REG_SZ or REG_EXPAND_SZ")
        if kind is None or data is None:
            never = self._direction == _UNDO and row["before_from"] is None
            raise NotExpressible(_NEVER_SEEN if never else "the data was not captured")
        if size is None or len(data) < size:
            raise NotExpressible(_CUT)
        line = self._syntax.set_value(value, kind, data)
        if self._syntax.adds_nul and kind in (1, 2, 7) and (len(data) % 2 or data[-2:] != b"\0\0"):
            self._leave_out(row, "importers may add the NUL that the string does not end with")
        return line

    def _below_deleted(self, name: str) -> bool:
        """Tell whether a key, or one that it is below, was deleted at the top of the file."""
        folded = fold_name(name)
        if not self._deleted:
            return False
        return folded in self._deleted or any(
            folded[:place] in self._deleted for place, letter in enumerate(folded) if letter == "\\"
        )

    def _leave_out(self, row: _Row, reason: str) -> None:
        place = {
            name: row[name] for name in ("display_key", "value_name", "change", "last_sequence", "key_id")
        }
        self._left_out.append({"file": self._direction, "reason": reason} | place)

    def _provenance(self, row: _Row) -> str:
        """Return the comment that says who changed it, when, and where the old data is from."""
        what = "the key" if row["value_name"] is None else _quoted(row["value_name"])
        parts = [f"{what} was {row['change']} by {_process(row)}", _stamp(row["last_time"])]
        parts.append(f"sequence {row['last_sequence']}")
        if row["also_by_others"]:
            parts.append("others wrote it too")
        if row["value_name"] is not None and self._direction == _UNDO and row["before_from"] is not None:
            parts.append(_SOURCES[row["before_from"]])
        if row["value_name"] is not None and self._direction == _APPLY and row["before_data"] is not None:
            parts.append(f"before: {shown_data(row['before_type'], row['before_data'])}")
        return self._syntax.comment("; ".join([", ".join(parts[:3]), *parts[3:]]))


def _label(row: _Row) -> str:
    value = "" if row["value_name"] is None else f" {_quoted(row['value_name'])}"
    return f"{row['display_key']}{value}"


def _quoted(value: str) -> str:
    return f'"{value}"' if value else "(default)"


def _process(row: _Row) -> str:
    image, pid = row["process"], row["pid"]
    return f"{image or '?'} ({pid})" if pid is not None else image or "an unknown process"


def _stamp(time: datetime | None) -> str:
    return "at an unknown time" if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a whole file and flush it to the disk."""
    if path.exists() and not force:
        raise TargetError(f"{path} exists; give another name, or force=True to replace it")
    with open_target(path, force=force) as stream:
        stream.write(content)
