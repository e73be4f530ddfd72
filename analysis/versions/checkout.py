"""A checkout: keys and values as known at a time, as one file for regedit or PowerShell, or as a folder a key.

Only what is known whole is written: the type and every byte. All else is listed with its reason, in the file and in
`Checkout.unknown`, and never invented. What is absent or deleted is not there, and so in no list.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.filters import Filters
from analysis.questions import state
from analysis.questions.caveats import find_caveats
from analysis.questions.context import QueryContext
from analysis.regfile.powershell import POWERSHELL
from analysis.regfile.syntax import REG, NotExpressible, Syntax, encode_file, key_name
from analysis.versions.folder_names import INDEX, VALUES, Folders
from tracer.columns.arrays import from_rows
from tracer.errors import TargetError, UsageError
from tracer.files.targets import Slot, check_apart, open_target
from tracer.registry.text import escape_name, fold_name, unescape_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNKNOWN", "Checkout", "checkout"]

UNKNOWN = pa.schema([("display_key", pa.string()), ("value_name", pa.string()), ("reason", pa.string())])
_ROWS = pa.schema([(name, pa.string()) for name in ("display_key", "value_name", "reg", "unknown")])
_SCRIPT = ".ps1"
_WRAP = "\\\r\n  "  # where regedit wraps a line
_BREAK = "\r\n"
_HELD = ("write", "read", "baseline")
_GONE = ("absent", "deleted")
_MADE_BY = "regtrace checkout"
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Value:
    name: str  # raw
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Checkout:
    """Keys and values as known at a time.

    Attributes:
        keys: the values of each key by its display path, parents first; a key may have none that is known.
        unknown: what is not written, with the reason; UNKNOWN, by key and value (NULL: the key itself).
        about: sentences for the head of each file.
    """

    keys: "dict[str, list[_Value]]"
    unknown: pa.Table
    about: Sequence[str]

    def __repr__(self) -> str:
        values = sum(map(len, self.keys.values()))
        return f"Checkout({len(self.keys):,} keys, {values:,} values, {self.unknown.num_rows:,} unknown)"

    @property
    def values(self) -> int:
        """How many values are written."""
        return sum(map(len, self.keys.values()))

    @property
    def rows(self) -> pa.Table:
        """The lines of the file as rows, by key, and what is not in it behind them.

        Columns: display_key, value_name (NULL: the key itself), reg (its line in a .reg file; long data is not wrapped),
        unknown (why there is no line: it is not known whole, or no such file can hold it).
        """
        rows: list[_Row] = []
        for key, values in self.keys.items():
            rows.append({"display_key": key, "reg": REG.make_key(key_name(key))})
            for value in values:
                line = REG.set_value(value.name, value.kind, value.data).replace(_WRAP, "")
                rows.append({"display_key": key, "value_name": escape_name(value.name), "reg": line})
        rows += [row | {"unknown": row["reason"]} for row in self.unknown.to_pylist()]
        return from_rows(rows, _ROWS)

    def unknown_frame(self) -> "pd.DataFrame":
        """Return `unknown` as a DataFrame."""
        from analysis.engine.fetch import to_frame

        return to_frame(self.unknown)

    def text(self, *, powershell: bool = False) -> str:
        """Return the one file that makes these keys and values."""
        syntax = POWERSHELL if powershell else REG
        return _text(syntax, self.keys, self.unknown.to_pylist(), self.about)

    def save(self, path: Path | str, *, force: bool = False, sources: Sequence[Path] = ()) -> None:
        """Write NAME.reg, NAME.ps1, or a folder, each whole or not at all.

        The folder has a folder for each key with a file values.reg, and index.json, which says which key each folder is and
        what is unknown (`analysis.versions.folder_names` has the rule of names).

        Args:
            path: the file or folder.
            force: replace a file, or a folder that a checkout made; no other folder is ever replaced.
            sources: what is read, and must not be replaced.

        Raises:
            TargetError: it exists, or cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending in (".reg", _SCRIPT):
            text = self.text(powershell=ending == _SCRIPT)
            with open_target(path, force=force, sources=sources) as stream:
                stream.write(text.encode("ascii") if ending == _SCRIPT else encode_file(text))
            return
        _check_folder(path, force=force, sources=sources)
        try:
            slot = Slot(path)
            with slot.workspace() as workspace:
                made = workspace.path / "checkout"
                self._write_folders(made)
                with slot.publishing():
                    if path.exists():
                        slot.path.rename(workspace.replaced)
                    made.rename(slot.path)
        except OSError as problem:
            raise TargetError(f"cannot write {path}: {problem.strerror or problem}") from problem

    def _write_folders(self, top: Path) -> None:
        """Write a folder for each key, and the index."""
        top.mkdir()
        unknown: dict[str, list[_Row]] = {}
        for row in self.unknown.to_pylist():
            unknown.setdefault(row["display_key"], []).append(row)
        index = []
        folders = Folders()
        for key in dict.fromkeys([*self.keys, *unknown]):
            folder = folders.of(key)
            own = {key: self.keys[key]} if key in self.keys else {}
            place = top.joinpath(*folder.split("/"))
            place.mkdir(parents=True, exist_ok=True)
            text = _text(REG, own, unknown.get(key, ()), ())
            with (place / VALUES).open("xb") as stream:
                stream.write(encode_file(text))
            index.append(
                {
                    "folder": folder,
                    "key": key,
                    "known": key in self.keys,
                    "values": len(self.keys.get(key, ())),
                }
            )
        facts = {
            "made_by": _MADE_BY,
            "about": list(self.about),
            "keys": index,
            "unknown": self.unknown.to_pylist(),
        }
        (top / INDEX).write_text(json.dumps(facts, ensure_ascii=True, indent=1) + "\n", encoding="ascii")


def checkout(context: QueryContext, filters: Filters) -> Checkout:
    """Return the checkout of the keys that filters name, at their `end`.

    Raises:
        UsageError: a filter cannot be understood, or there are several captures.
    """
    if len(context.stores) > 1:
        raise UsageError("a checkout is of one registry; choose one capture, not several")
    asked = state.query(context, filters)
    fetched = context.engine.fetch(asked.relation)
    rows = (fetched if asked.finish is None else asked.finish(fetched)).to_pylist()
    rows.sort(key=_place)
    keys: dict[str, list[_Value]] = {}
    unknown: list[_Row] = []
    for row in rows:
        if row["known"] in _GONE:
            continue
        reason = _reason(row) or _not_expressible(row)
        if reason is not None:
            unknown.append(
                {"display_key": row["display_key"], "value_name": row["value_name"], "reason": reason}
            )
            continue
        values = keys.setdefault(row["display_key"], [])
        if row["value_name"] is not None:
            values.append(_Value(unescape_name(row["value_name"]), row["type"], row["data"] or b""))
    span = context.span()
    at_ns = context.interval(filters)[1] or (span and span[1])
    about = (
        [f"{context.path.name} as known at {_stamp(at_ns)}, by regtrace"]
        if at_ns
        else [f"{context.path.name}, by regtrace"]
    )
    about += ["What no event up to then mentions is not here.", *find_caveats(context, filters).sentences]
    return Checkout(keys, pa.Table.from_pylist(unknown, UNKNOWN), about)


def _place(row: _Row) -> tuple[list[str], bool, str]:
    """Sort by key, parents first, the key itself before its values."""
    value = row["value_name"]
    return fold_name(row["display_key"]).split("\\"), value is not None, fold_name(value or "")


def _reason(row: _Row) -> str | None:
    """Return why a row of a state cannot be written; None where it is known whole."""
    if row["known"] == "unknown":
        was = row["last_known"]
        return "it may have changed since it was last known" if was else "nothing that is proved tells of it"
    if row["value_name"] is None:
        return None
    if row["known"] in _HELD and row["type"] is None and (row["data"] is not None or row["text"] is not None):
        return "its type was not recorded"
    if row["known"] not in _HELD or row["type"] is None or row["size"] is None:
        return "it is there, and its data was not captured"
    if len(row["data"] or b"") < row["size"]:
        return f"{len(row['data'] or b''):,} of its {row['size']:,} bytes were captured"
    return None


def _not_expressible(row: _Row) -> str | None:
    """Return why a .reg file cannot have a key or value that is known; None where it can."""
    try:
        REG.make_key(key_name(row["display_key"]))
        if row["value_name"] is not None:
            REG.set_value(unescape_name(row["value_name"]), row["type"], row["data"] or b"")
    except NotExpressible as said:
        return str(said)
    return None


def _text(
    syntax: Syntax, keys: "dict[str, list[_Value]]", unknown: Sequence[_Row], about: Sequence[str]
) -> str:
    left_out = [(_label(row["display_key"], row["value_name"]), row["reason"]) for row in unknown]
    blocks = list(_blocks(syntax, keys, left_out))
    lines = [*syntax.header, "", *(syntax.comment(line) for line in about)]
    if left_out:
        lines += [
            "",
            syntax.comment(
                f"Not in this file, because it is not known or cannot be written ({len(left_out):,}):"
            ),
        ]
        lines += [syntax.comment(f"{what}: {reason}") for what, reason in left_out]
    for block in blocks:
        lines += ["", *block]
    return "".join(line + _BREAK for line in lines)


def _blocks(
    syntax: Syntax, keys: "dict[str, list[_Value]]", left_out: list[tuple[str, str]]
) -> Iterator[list[str]]:
    """Yield the lines of each key; what cannot be written is added to `left_out`."""
    for key, values in keys.items():
        try:
            lines = [syntax.make_key(key_name(key))]
        except NotExpressible as said:
            left_out.append((key, str(said)))
            continue
        for value in values:
            try:
                lines.append(syntax.set_value(value.name, value.kind, value.data))
            except NotExpressible as said:
                left_out.append((_label(key, value.name), str(said)))
        yield lines


def _label(key: str, value: str | None) -> str:
    return key if value is None else f'{key} "{value}"' if value else f"{key} (default)"


def _stamp(time_ns: int) -> str:
    from datetime import UTC, datetime

    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # before year 1 or after 9999
        return f"{time_ns} ns since 1970"
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}.{rest // 1000:06}Z"


def _check_folder(path: Path, *, force: bool, sources: Sequence[Path]) -> None:
    """Raise where a folder cannot be made or replaced."""
    check_apart(path, sources)
    if not path.parent.is_dir():
        raise TargetError(
            f"{path.parent} is not a folder; make it first, or name another place for {path.name}"
        )
    if not path.exists():
        return
    if not (force and _is_checkout(path)):
        hint = (
            "give --force to replace it"
            if _is_checkout(path)
            else "only a folder that a checkout made is replaced"
        )
        raise TargetError(f"{path} exists; {hint}, or choose another name")


def _is_checkout(path: Path) -> bool:
    try:
        with (path / INDEX).open("rb") as stream:
            return f'"made_by": "{_MADE_BY}"'.encode() in stream.read(200)
    except OSError:
        return False
