"""What evidence amounts to, followed event by event in a plain loop: the reference of `history` and `state`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from plain_facts import EITHER, HIVES, MISSING, SHORT, is_other_hive, plain_fact, tells_data
from plain_rows import folded_key, group_of, link_target, plain_answer, plain_rows

from analysis.capture import Capture
from tracer.registry.text import fold_name
from tracer.registry.values import decode_value

__all__ = [
    "Follower",
    "Known",
    "content_of",
    "follow",
    "is_doubtful",
    "is_lost",
    "text_of",
    "unproved_times",
]

Row = dict[str, Any]
Content = tuple[int | None, int | None, bytes | None]
NOTHING: Content = (None, None, None)


def content_of(row: Row) -> Content:
    """Return type, size and data that a write or a read tells."""
    return row["data_type"], row["data_size"], row["data"]


def text_of(content: Content) -> str | None:
    """Return a content as people read it; None where nothing is known of it."""
    kind, size, data = content
    if data is None and size is None:
        return None
    return decode_value(kind, b"" if data is None and size == 0 else data, size)


@dataclass
class Known:
    """What is known of one value, or of the values of a key of which nothing was heard yet."""

    data: tuple[str, Row] | None = None  # newest write or read since it was gone
    seen: Row | None = None
    gone: tuple[str, Row] | None = None
    unsure: Row | None = None  # newest since the data
    heard: tuple[str, Row] | None = None  # newest of what is said and not proved
    last_unsure: bool = False
    begun: Row | None = None  # the rename by which the key came, where nothing was known of it

    def hear(self, fact: str, row: Row) -> None:
        """Take what a row says under a name that is not proved: a change may be one of this value, or not."""
        self.heard = (fact, row)
        if fact in ("write", "deleted", "unsure"):
            self.learn("unsure", row)

    def learn(self, fact: str, row: Row) -> None:
        self.last_unsure = fact == "unsure"
        if fact in ("write", "read"):
            self.data, self.unsure = (fact, row), None
        elif fact == "seen":
            self.seen = row
        elif fact in ("absent", "deleted"):
            self.gone, self.data, self.seen, self.unsure = (fact, row), None, None, None
        elif fact == "unsure":
            self.unsure = row

    def word(self) -> tuple[str | None, Row | None]:
        """Return how it is known, and by which event."""
        sure = self.data or (self.seen and ("read", self.seen)) or self.gone
        if self.last_unsure or (sure is None and self.heard):
            if self.heard and self.heard_last():
                return "unknown", self.heard[1]
            return "unknown", sure[1] if sure else self.unsure
        if self.data and not self.unsure:
            return self.data
        if self.seen:
            return "read", self.seen
        return self.gone or (("unknown", self.begun) if self.begun else (None, None))

    def heard_last(self) -> bool:
        newest = [row["sequence"] for _, row in filter(None, (self.data, self.gone))]
        newest += [self.seen["sequence"]] if self.seen else []
        return self.heard is not None and self.heard[1]["sequence"] > max(newest, default=-1)

    def sure_word(self) -> str | None:
        """Return what the event by which it is known said of it when it happened."""
        if self.word()[0] != "unknown":
            return self.word()[0]
        if self.heard and self.heard_last():
            return {"seen": "read", "unsure": None}.get(self.heard[0], self.heard[0])
        return self.data[0] if self.data else "read" if self.seen else self.gone[0] if self.gone else None


@dataclass
class KeyState:
    """What is known of one key and its values."""

    values: dict[str, Known] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unheard: Known = field(default_factory=Known)
    word: str | None = None
    at: Row | None = None
    sure: Row | None = None
    sure_word: str | None = None
    heard: tuple[str | None, Row] | None = None
    existed: bool = False
    begun: Row | None = None
    told: bool = False  # whether events told of it, and not only of what is above it
    absence: Row | None = None  # the last event that proved that nothing is below it

    def of(self, value: str) -> Known:
        if value not in self.values:
            self.values[value] = replace(self.unheard)
        return self.values[value]

    def learn(self, fact: str, row: Row) -> None:
        for known in (*self.values.values(), self.unheard):
            known.learn(fact, row)

    def is_now(self, word: str, row: Row) -> None:
        if word != "unknown":
            self.sure, self.sure_word = row, word
        self.word, self.at = word, self.sure or row
        self.existed = self.existed or word == "exists"

    def hear(self, word: str | None, row: Row, *, change: bool) -> None:
        """Take what a row says under a name that is not proved; `word` is exists, absent, deleted or None."""
        self.heard = (word, row)
        if change or self.sure is None:
            self.word = "unknown"

    def shown(self) -> tuple[str | None, str | None, Row | None]:
        """Return the word, what was last said, and by which event."""
        sure_at = -1 if self.sure is None else self.sure["sequence"]
        if self.word == "unknown" and self.heard and self.heard[1]["sequence"] > sure_at:
            return self.word, self.heard[0], self.heard[1]
        if self.word is None and self.begun:
            return "unknown", None, self.begun
        return self.word, self.sure_word if self.sure else None, self.at


class Follower:
    """Follows the rows of a capture in order.

    Attributes:
        paths: group of a key that events are about, or to which one came by a rename -> its folded path.
        keys: group of a key -> what is known of it now.
        names: (group, value) -> the name, as first spelled.
        heard: groups of which something was heard, under this name or before it had it.
        listed: groups of which answers tell.
        arrived: groups to which a key came by a rename, and stayed.
        changes: (row, value, known before, by which event, group) of what `history` tells.
    """

    def __init__(self, capture: Capture) -> None:
        paths, groups = folded_key(capture), group_of(capture)
        self.every_path = {key: path for key, path in paths.items() if groups[key] == key}
        used = {
            groups[int(key)] for key in capture.sql("SELECT DISTINCT key_id FROM events")["key_id"].dropna()
        }
        self.listed = set(used)
        for row in plain_rows(capture):
            if row["operation"] == "RenameKey" and row["group"] is not None and is_followed(row):
                new = new_path(self.every_path[row["group"]], row)
                used |= {key for key, path in self.every_path.items() if is_below(path, new)}
        self.paths = {key: path for key, path in self.every_path.items() if key in used}
        self.keys: dict[int, KeyState] = {}
        self.names: dict[tuple[int, str], str] = {}
        self.heard: set[int] = set()
        self.arrived: set[int] = set()
        self.changes: list[tuple[Row, str, str | None, Row | None, int]] = []

    def follow(self, rows: Iterable[Row], *, only_proved: bool = False) -> None:
        """Follow rows; `only_proved`: others tell only that there is such a key, and what failed names a value."""
        for row in rows:
            if row["group"] is None:
                continue
            key = self._key(row["group"])
            if only_proved and row["unproved"] and plain_fact(row) != "failed":
                key.told = key.told or plain_fact(row) is not None
            else:
                self._one(row, key)

    def values(self, group: int) -> Iterator[tuple[str, Known]]:
        """Yield what is known of each value of which was heard under a path, whichever key it was."""
        key = self._key(group)
        for other, value in self.names:
            if other == group:
                yield value, key.values.get(value) or replace(key.unheard)

    def _key(self, group: int) -> KeyState:
        return self.keys.setdefault(group, KeyState())

    def _one(self, row: Row, key: KeyState) -> None:
        if row["operation"] == "RenameKey" and is_followed(row):
            self._move(row)
            return
        key.told = key.told or plain_fact(row) is not None
        self._tell(row, key)
        if key.existed:
            self.heard.add(row["group"])

    def _tell(self, row: Row, key: KeyState) -> None:
        operation, status = row["operation"], row["status"]
        done = status is not None and status < 0x80000000 and status != 0x103
        failed = status is not None and status >= 0x80000000
        if row["value_name"] is not None and self._value(row, key, done, failed):
            return
        if row["unproved"]:
            self._hear(row, key, done, failed)
            return
        if operation in ("OpenKey", "CreateKey"):
            if status == 0 and operation == "CreateKey" and row["disposition"] == 1:
                key.learn("absent", row)
                key.is_now("exists", row)
                self._nothing_below(row)
            elif status == 0:
                key.is_now("exists", row)
            elif status in MISSING:
                key.learn("absent", row)
                key.is_now("absent", row)
                self._nothing_below(row)
        elif operation in ("DeleteKey", "RenameKey") and done:
            self._end(row, key, row["group"])
            if operation == "DeleteKey":
                self._nothing_below(row)
            if operation == "RenameKey":
                for group in self._below(row["group"]):
                    self._end(row, self._key(group), group)
                self._rename(row)
        elif operation in ("DeleteKey", "RenameKey") and not failed:
            self._doubt(row, row["group"], below=operation == "RenameKey")
            if operation == "RenameKey":
                self._rename(row)
        elif not failed and (
            operation in (*HIVES, EITHER) or (operation == "HiveWork" and is_other_hive(row))
        ):
            self._doubt(row, row["group"], below=True)
        elif operation in ("EnumerateKey", "EnumerateValueKey", "SetInformationKey", "QueryKey"):
            of_name = operation == "QueryKey" and row["information_class"] in (3, 7, None)
            if (done or status in (*SHORT, 0x8000001A)) and not of_name:
                key.is_now("exists", row)

    def _hear(self, row: Row, key: KeyState, done: bool, failed: bool) -> None:
        """Take what is said of a key under a name that is not proved."""
        operation, status = row["operation"], row["status"]
        opens = operation in ("OpenKey", "CreateKey")
        whole = operation in (*HIVES, EITHER) or (operation == "HiveWork" and is_other_hive(row))
        if (opens and status == 0) or (status in MISSING and opens):
            made = operation == "CreateKey" and row["disposition"] == 1 and status == 0
            if made:
                key.learn("unsure", row)
            key.hear("exists" if status == 0 else "absent", row, change=made)
        elif (operation in ("DeleteKey", "RenameKey") or whole) and not failed:
            ended = done and operation in ("DeleteKey", "RenameKey")
            below = self._below(row["group"]) if operation != "DeleteKey" else []
            for group in (row["group"], *below):
                self._key(group).learn("unsure", row)
                self._key(group).hear("deleted" if ended else None, row, change=True)
            if operation == "RenameKey":
                self._rename(row)
        elif operation in ("EnumerateKey", "EnumerateValueKey", "SetInformationKey", "QueryKey"):
            of_name = operation == "QueryKey" and row["information_class"] in (3, 7, None)
            if (done or status in (*SHORT, 0x8000001A)) and not of_name:
                key.hear("exists", row, change=False)

    def _value(self, row: Row, key: KeyState, done: bool, failed: bool) -> bool:
        """Learn what a row says of a value; return whether it does."""
        operation, status, value = row["operation"], row["status"], row["folded_value"]
        if operation not in ("SetValueKey", "DeleteValueKey", "QueryValueKey", "EnumerateValueKey"):
            return False
        changes = operation in ("SetValueKey", "DeleteValueKey")
        fact = None
        if changes and done:
            fact = "write" if operation == "SetValueKey" else "deleted"
        elif status == 0xC0000034 and operation in ("DeleteValueKey", "QueryValueKey"):
            fact = "absent"
        elif changes and not failed:
            fact = "unsure"
        elif not changes and done and tells_data(row):
            fact = "read"
        elif not changes and (done or status in SHORT):
            fact = "seen"
        if fact is None and not changes:
            return False
        known = key.of(value)
        key.names.setdefault(value, row["value_name"])
        self.names.setdefault((row["group"], value), row["value_name"])
        if changes:
            self.changes.append((row, value, *known.word(), row["group"]))
        if fact is not None and row["unproved"]:
            known.hear(fact, row)
            key.hear(None if fact == "unsure" else "exists", row, change=False)
        elif fact is not None:
            known.learn(fact, row)
            if fact != "unsure":
                key.is_now("exists", row)
        return True

    def _nothing_below(self, row: Row) -> None:
        """Below a key that is missing, or was just made, is nothing, whatever was there."""
        self._key(row["group"]).absence = row
        for group in self._below(row["group"]):
            key = self._key(group)
            if group in self.heard:
                key.learn("absent", row)
                key.is_now("absent", row)
                key.absence = row

    def _move(self, row: Row) -> None:
        """Take a key, and what is below it, with all that is known of them, from one path to another."""
        old = self.every_path[row["group"]]
        new = new_path(old, row)
        if new == old:
            key = self._key(row["group"])
            key.is_now("exists", row)
            key.told = True
            for group in (row["group"], *self._below(row["group"])):
                other = self._key(group)
                other.begun = other.unheard.begun = None
                for known in other.values.values():
                    known.begun = None
            self.heard.add(row["group"])
            return
        left = [group for group, path in self.every_path.items() if is_below(path, old)]
        moved = {self.every_path[group]: self._key(group) for group in left}
        for group in left:
            self._leave(row, group)
        for group, path in self.every_path.items():
            if is_below(path, new):
                self._enter(row, group, moved.get(old + path[len(new) :]), moved[old], is_top=path == new)

    def _leave(self, row: Row, group: int) -> None:
        key = self.keys[group]
        self.keys[group] = now = KeyState()
        self.arrived.discard(group)
        for value, known in key.values.items():
            word, at = known.word()
            if word in ("write", "read"):
                self.changes.append((row, value, word, at, group))
        now.learn("deleted", row)
        now.is_now("deleted", row)

    def _enter(self, row: Row, group: int, came: KeyState | None, top: KeyState, *, is_top: bool) -> None:
        key = self.keys[group] = came or KeyState()
        if came is None and top.absence:
            key.learn("absent", top.absence)
            key.is_now("absent", top.absence)
        if is_top:
            key.is_now("exists", row)
            key.told = True
        key.begun = row
        self.arrived.add(group)
        for known in (*key.values.values(), key.unheard):
            known.begun = row
        if key.told:
            self.listed.add(group)
        if key.existed:
            self.heard.add(group)
        for value, name in key.names.items():
            self.names.setdefault((group, value), name)

    def _end(self, row: Row, key: KeyState, group: int) -> None:
        for value, known in key.values.items():
            word, at = known.word()
            if word in ("write", "read"):
                self.changes.append((row, value, word, at, group))
        key.learn("deleted", row)
        key.is_now("deleted", row)

    def _rename(self, row: Row) -> None:
        if row["requested_name"] is None:
            return
        old = self.paths[row["group"]]
        new = new_path(old, row)
        for group, path in self.paths.items():
            if new != old and (path == new or path.startswith(f"{new}\\")):
                self._doubt(row, group, below=False)

    def _doubt(self, row: Row, group: int, *, below: bool) -> None:
        for other in (group, *(self._below(group) if below else ())):
            self._key(other).learn("unsure", row)
            self._key(other).is_now("unknown", row)

    def _below(self, group: int) -> list[int]:
        return [other for other, path in self.paths.items() if path.startswith(self.paths[group] + "\\")]


def is_followed(row: Row) -> bool:
    """Tell whether a rename is known to be done, and of which key, and to what."""
    done = row["status"] is not None and row["status"] < 0x80000000 and row["status"] != 0x103
    name = row["requested_name"]
    return done and not row["unproved"] and name is not None and "\\" not in name


def new_path(old: str, row: Row) -> str:
    return link_target(old[: old.rfind("\\") + 1] + fold_name(row["requested_name"]))


def is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}\\")


def follow(capture: Capture, until_ns: int | None = None) -> Follower:
    """Follow a capture up to a time."""
    follower = Follower(capture)
    follower.follow(row for row in plain_rows(capture) if until_ns is None or row["time_ns"] <= until_ns)
    return follower


def unproved_times(capture: Capture, until_ns: int | None = None) -> list[Row]:
    """Return when something was changed under no proved name: kind, name, from_ns, to_ns."""
    first_ns, last_ns = capture.span() or (0, 0)
    width = (last_ns - first_ns) // 1000 + 1
    names = {key["key_id"]: key["name"] for key in plain_answer(capture.tables["keys"])}
    times: dict[tuple[str, str | None, int], list[int]] = {}
    for row in plain_rows(capture):
        late = until_ns is not None and row["time_ns"] > until_ns
        if late or (row["status"] is not None and row["status"] >= 0x80000000):
            continue
        nameless = row["nameless"] or row["key_id"] is None or bool(row["flags"] & 16)
        either = row["operation"] == EITHER and row["key_id"] is not None
        kind = "value" if either else _doubtful_kind(row) if nameless else None
        if kind is not None:
            name = row["folded_value"] if kind == "value" else None
            if either:
                name = fold_name(names[row["key_id"]])
            times.setdefault((kind, name, row["time_ns"] // width), []).append(row["time_ns"])
    return [
        {"kind": kind, "name": name, "from_ns": min(some), "to_ns": max(some)}
        for (kind, name, _), some in times.items()
    ]


def _doubtful_kind(row: Row) -> str | None:
    operation = row["operation"]
    if operation in ("SetValueKey", "DeleteValueKey"):
        return "everything" if row["value_name"] is None else "value"
    if operation in (EITHER, "DeleteKey", "RenameKey", "UnloadKey", "RestoreKey", "ReplaceKey"):
        return "everything"
    if operation == "CreateKey":
        return None if row["disposition"] == 2 else "key"
    if operation == "LoadKey":
        return "absence"
    if operation != "HiveWork" or row["key_id"] is not None:
        return None
    detail = json.loads(row["detail"] or "{}")
    if detail.get("StatusCode", 0) >= 0x80000000:
        return None
    if detail.get("event") in ("LoadHiveStart", "LoadHiveStop", "MountHiveStop", "HiveLink"):
        return "absence"
    replaced = ("RestoreHiveStart", "RestoreHiveStop", "UnloadHiveStart", "HiveDestroy")
    return "everything" if detail.get("event") in replaced else None


def is_doubtful(
    times: list[Row], word: str | None, value: str | None, after_ns: int, before_ns: int | None
) -> bool:
    """Tell whether what was known may have been changed under no proved name between two times; None: the end.

    Args:
        times: of `unproved_times`.
        word: how it was known.
        value: folded name; None: a key.
        after_ns: when it was known.
        before_ns: until when.
    """
    gone = word in ("absent", "deleted")
    return any(
        time["to_ns"] >= after_ns
        and (before_ns is None or time["from_ns"] <= before_ns)
        and (
            time["kind"] == "everything"
            or (time["kind"] == "value" and time["name"] == value)
            or (time["kind"] == "absence" and gone)
            or (time["kind"] == "key" and gone and value is None)
        )
        for time in times
    )


def is_lost(losses: list[Row], after_ns: int, before_ns: int | None) -> bool:
    """Tell whether something may have been lost between two times; None: the end."""
    return any(
        loss["kind"] != "blind"
        and (loss["to_ns"] is None or loss["to_ns"] >= after_ns)
        and (loss["from_ns"] is None or before_ns is None or loss["from_ns"] <= before_ns)
        for loss in losses
    )
