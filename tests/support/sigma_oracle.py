"""Sigma rules by another evaluator, pySigma's SQLite backend, over records of Sysmon as they are; and records that rules match."""

import gzip
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import yaml

__all__ = ["FIELDS", "SqliteRules", "candidates", "documents", "real_records", "records_of_json"]

FIELDS = ("EventID", "EventType", "TargetObject", "Details", "Image", "NewName", "User")
_TYPES = ("SetValue", "CreateKey", "DeleteKey", "DeleteValue", "RenameKey")
_OF_CATEGORY = {
    "registry_set": ("SetValue",),
    "registry_add": ("CreateKey",),
    "registry_delete": ("DeleteKey", "DeleteValue"),
    "registry_rename": ("RenameKey",),
    "registry_event": None,
}
_IDS = {"SetValue": 13, "RenameKey": 14}
_PER_RULE = 40
Record = tuple[Any, ...]


def documents(folder: Path) -> list[dict[str, Any]]:
    """Return the rules of a folder as mappings."""
    return [yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in sorted(folder.rglob("*.yml"))]


def real_records(path: Path, *, creates: int = 1) -> Counter[Record]:
    """Return the distinct records of a packed file of JSON lines by OTRF, with how often each occurs.

    Args:
        path: the file.
        creates: of the records of created keys, which are most of all, every so many is taken.
    """
    found: Counter[Record] = Counter()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % creates and '"CreateKey"' in line:
                continue
            raw = json.loads(line)
            kind = raw.get("EventType")
            if kind not in _TYPES:  # a collector overwrote it; the message may have it
                said = re.search(r"^EventType: (\w+)", raw.get("Message") or "", re.MULTILINE)
                kind = said[1] if said else {13: "SetValue", 14: "RenameKey"}.get(raw["EventID"])
            found[(raw["EventID"], kind, *(raw.get(name) for name in FIELDS[2:]))] += 1
    return found


def records_of_json(path: Path) -> Iterator[Record]:
    """Yield the records of a file in evtx_dump's form, one JSON object after the other."""
    text, decoder, place = path.read_text("utf-8"), json.JSONDecoder(), 0
    while place < len(text):
        event, place = decoder.raw_decode(text, place)
        data = event["Event"]["EventData"]
        yield (event["Event"]["System"]["EventID"], *(data.get(name) for name in FIELDS[1:]))
        place += len(text[place:]) - len(text[place:].lstrip())


class SqliteRules:
    """A table of records in SQLite, asked by the SQL that pySigma's backend makes of rules."""

    def __init__(self, records: Iterable[Record]) -> None:
        from sigma.backends.sqlite.sqlite import sqliteBackend

        self._backend = sqliteBackend()  # type: ignore[no-untyped-call]
        self._base = sqlite3.connect(":memory:")
        self._base.create_function(
            "REGEXP", 2, lambda regex, text: text is not None and bool(re.search(regex, text))
        )
        columns = ", ".join(
            f"{name} {'INT' if name == 'EventID' else 'TEXT COLLATE NOCASE'}" for name in FIELDS
        )
        self._base.execute(f"CREATE TABLE logs (number INT, {columns})")
        self._base.executemany(
            f"INSERT INTO logs VALUES ({', '.join('?' * (len(FIELDS) + 1))})",
            ((number, *record) for number, record in enumerate(records)),
        )
        self._base.execute("CREATE INDEX of_type ON logs (EventType)")

    def numbers(self, document: dict[str, Any], first: int = 0, last: int = 2**62) -> list[int]:
        """Return the numbers of the records that a rule matches, from `first` to `last`."""
        from sigma.collection import SigmaCollection

        (sql,) = self._backend.convert(SigmaCollection.from_dicts([document]))
        condition = sql.partition(" WHERE ")[2]
        kinds = _OF_CATEGORY[document["logsource"]["category"]]
        listed = ", ".join(f"'{kind}'" for kind in kinds or ())
        of_kind = f"EventType IN ({listed}) AND " if kinds else ""
        found = self._base.execute(
            f"SELECT number FROM logs WHERE {of_kind}number BETWEEN {first} AND {last} AND ({condition}) ORDER BY number"
        )
        return [number for (number,) in found]

    def close(self) -> None:
        """Close the table."""
        self._base.close()


def candidates(document: dict[str, Any]) -> list[Record]:
    """Return records that a rule may match: texts put together of what it looks for, one for each way to meet it.

    What it excludes is not looked at, so an evaluator decides whether a record is one.
    """
    from sigma.rule import SigmaRule

    kinds = _OF_CATEGORY[document["logsource"]["category"]] or _TYPES
    found = []
    for condition in SigmaRule.from_dict(document).detection.parsed_condition:
        for wanted in islice(_ways(condition.parsed), _PER_RULE):
            fields: dict[str, list[Any]] = {}
            for field, value in wanted:
                fields.setdefault(field, []).append(value)
            texts = {name: _text(name, values) for name, values in fields.items()}
            kind = texts.get("EventType") or kinds[0]
            record: dict[str, Any] = {
                "EventID": _IDS.get(kind, 12),
                "EventType": kind,
                "TargetObject": "HKLM\\SOFTWARE\\Zz\\zz",
                "Details": "zz" if kind == "SetValue" else None,
                "Image": "C:\\Zz\\zz.exe",
                "NewName": "HKLM\\SOFTWARE\\Zz\\new" if kind == "RenameKey" else None,
                "User": "ZZ\\zz",
            } | {
                name: text
                for name, text in texts.items()
                if name in FIELDS and name not in ("EventID", "EventType")
            }
            if (
                record["NewName"] is not None and "TargetObject" not in texts
            ):  # a rename stays below the same key
                record["TargetObject"] = record["NewName"].rpartition("\\")[0] + "\\zz"
            found.append(tuple(record[name] for name in FIELDS))
    return found


def _ways(condition: Any) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Yield the ways to meet a condition, as fields with the values that they must have."""
    name = type(condition).__name__
    if name == "ConditionFieldEqualsValueExpression":
        yield ((condition.field, condition.value),)
    elif name == "ConditionOR":
        for part in condition.args:
            yield from _ways(part)
    elif name == "ConditionAND":
        for some in product(*(list(islice(_ways(part), _PER_RULE)) for part in condition.args)):
            yield tuple(one for way in some for one in way)
    else:
        yield ()


def _text(field: str, values: list[Any]) -> str | None:
    """Return a text that begins, ends and holds what some values ask for; one that equals the first that asks for all of it."""
    begin, inside, end = "", "", ""
    for value in values:
        parts = getattr(value, "s", None)
        if parts is None:
            return None if type(value).__name__ == "SigmaNull" else str(getattr(value, "number", "zz"))
        text = "".join(
            part if isinstance(part, str) else "zz"
            for part in parts
            if isinstance(part, str) or part.name == "WILDCARD_SINGLE"
        )
        opens, closes = not isinstance(parts[0], str), not isinstance(parts[-1], str)
        if not opens and not closes:
            return text
        if opens and closes:
            inside += text
        elif opens:
            end = max(end, text, key=len)
        else:
            begin = max(begin, text, key=len)
    if field in ("TargetObject", "NewName"):
        begin = begin or "HKLM\\SOFTWARE\\Zz"
        whole = (
            begin + ("" if begin.endswith("\\") or not inside or inside.startswith("\\") else "\\") + inside
        )
        joint = "" if whole.endswith("\\") or end.startswith("\\") or not end else "\\"
        return whole + joint + (end or ("zz" if whole.endswith("\\") else ""))
    return begin + inside + end
