"""The net changes of a capture, event by event with dictionaries: what `analysis.answers.changes` must equal."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from plain_evidence import tells_data

__all__ = ["plain_changes", "plain_fact"]

Row = dict[str, Any]
Doubt = Callable[[bool, str | None, int, int | None], bool]
_NOT_FOUND, _NO_PATH = 0xC0000034, 0xC000003A
_NOT_FAILED = (0x80000005, 0xC0000023, 0x8000001A)


@dataclass
class Known:
    """What is known of one value at one moment."""

    state: str | None = None  # present, absent, or None: nobody knows
    written: tuple[int, Any] | None = None  # sequence, (type, size, data)
    returned: tuple[int, Any] | None = None
    at: int | None = None  # sequence of the newest that tells the state

    def copy(self) -> "Known":
        return Known(self.state, self.written, self.returned, self.at)

    def told_at(self) -> int | None:
        """Return the sequence of what tells the data, else the state."""
        word, _ = self.content()
        if word not in ("read", "write"):
            return self.at
        told = self.returned if word == "read" else self.written
        return told[0] if told else self.at

    def content(self) -> tuple[str | None, Any]:
        """Return where the data is from, and (type, size, data)."""
        if self.state != "present":
            return ("absent" if self.state else None), (None, None, None)
        if self.returned and (not self.written or self.returned[0] > self.written[0]):
            got = self.returned[1]
            if not self.written or not _agree(self.written[1], got):
                return "read", got
        return ("write", self.written[1]) if self.written else (None, (None, None, None))


@dataclass
class Doubts:
    """Tells whether what is known may no longer be so."""

    doubt: Doubt
    times: dict[int, int]  # sequence -> time in whole microseconds, as nanoseconds

    def of(self, known: Known, value: str | None, until: Row | None) -> bool:
        at = known.told_at()
        if known.state is None or at is None:
            return False
        before = None if until is None else self.times[until["sequence"]] + 999
        return self.doubt(known.state == "absent", value, self.times[at], before)


@dataclass
class Value:
    now: Known = field(default_factory=Known)
    name: str | None = None
    before: Known | None = None  # from the first change on
    fact: str | None = None
    previous: Any = None
    asked: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)  # asked for or not
    others: bool = False
    by_key: bool = False  # the first change is the key's, and the value was there


@dataclass
class Key:
    there: str | None = None  # present, absent, None
    created: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    of_values: str | None = None  # state of values nobody spoke of
    before: str | None = None
    was_created: bool = False
    fact: str | None = None
    asked: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    of_values_before: str | None = None
    of_values_at: int | None = None
    of_values_before_at: int | None = None
    existed: bool = False
    at: int | None = None  # sequence of what tells whether it is there
    before_at: int | None = None
    touched: bool = False  # changed itself, not only together with a key above it


def plain_fact(row: Row) -> str | None:
    """Return what a row proves, in the words of `analysis.answers.evidence`."""
    said = _said(row)
    if said is None or said == "failed" or not row.get("unproved"):
        return said
    if said in ("write", "delete", "unclear"):
        return "doubtful"
    if said in ("key_created", "key_deleted", "key_renamed", "key_unknown"):
        return "key_doubtful"
    return "key_hearsay" if said.startswith("key_") else "hearsay"


def _said(row: Row) -> str | None:
    name, status, value = row["operation"], row["status"], row["value_name"]
    done = status is not None and status < 0x80000000 and status != 0x103
    failed = status is not None and status >= 0x80000000
    if name in ("SetValueKey", "DeleteValueKey"):
        if value is None:
            return None
        if done:
            return "write" if name == "SetValueKey" else "delete"
        if name == "DeleteValueKey" and status == _NOT_FOUND:
            return "miss"
        return "failed" if failed else "unclear"
    if name in ("QueryValueKey", "EnumerateValueKey") and value is not None:
        if name == "QueryValueKey" and status == _NOT_FOUND:
            return "miss"
        if done:
            return "read" if tells_data(row) else "seen"
        if status in (0x80000005, 0xC0000023):
            return "seen"
    if name in ("OpenKey", "CreateKey"):
        if status == 0:
            return "key_created" if name == "CreateKey" and row["disposition"] == 1 else "key_opened"
        return "key_missing" if status in (_NOT_FOUND, _NO_PATH) else None
    if name == "RenameKey" and not failed:
        assert status is None, "no capture of the tests has a rename that is known to be done"
        return "key_unknown"
    if name == "DeleteKey":
        return "key_deleted" if done else None if failed else "key_unknown"
    used = name in ("EnumerateKey", "EnumerateValueKey", "SetInformationKey")
    used = used or (name == "QueryKey" and row["information_class"] not in (None, 3, 7))
    return "key_used" if used and (done or status in _NOT_FAILED) else None


def plain_changes(
    rows: Iterable[Row],
    in_time: Callable[[Row], bool],
    asked: Callable[[Row], bool],
    below: Callable[[int], list[int]] = lambda group: [],
    doubt: Doubt = lambda absent, value, after_ns, before_ns: False,
) -> dict[tuple[int, str | None], dict[str, Any]]:
    """Return (key group, folded value or None) -> what the answer's row must say.

    Args:
        rows: all rows of the keys up to the time's end, in order, with group and folded_value.
        in_time: whether a row is not before the time's beginning.
        asked: whether a row's change is asked for, in time.
        below: the key groups below one.
        doubt: whether something known (to be absent?; the value, None for the key) at a time may have been changed
            without a record by another time (None: the end); UTC nanoseconds.
    """
    keys: dict[int, Key] = {}
    times: dict[int, int] = {}
    for row in rows:
        fact = plain_fact(row)
        times[row["sequence"]] = (row.get("time_ns") or 0) // 1000 * 1000
        if fact in (None, "failed", "hearsay", "key_hearsay") or row["group"] is None:
            continue
        assert fact is not None
        fact = {"doubtful": "unclear", "key_doubtful": "key_unknown"}.get(fact, fact)
        counts, late = asked(row), in_time(row)
        key = keys.setdefault(row["group"], Key())
        _note(key, row, fact, counts=counts, late=late)
        key.touched = key.touched or (late and _changes(row))
        if row["operation"] == "RenameKey":
            for other in below(row["group"]):
                _note(keys.setdefault(other, Key()), row, fact, counts=counts, late=late)
        if fact in ("key_created", "key_missing", "key_deleted"):
            for other in below(row["group"]):
                if other in keys and keys[other].existed:
                    _note(keys[other], row, "key_missing", counts=counts, late=late)
    answers = {}
    for group, key in keys.items():
        if key.touched:
            answers |= _answers(group, key, Doubts(doubt, times))
    return answers


def _changes(row: Row) -> bool:
    name = row["operation"]
    return name in ("SetValueKey", "DeleteValueKey", "DeleteKey", "RenameKey") or (
        name == "CreateKey" and row["disposition"] == 1
    )


def _note(key: Key, row: Row, fact: str, *, counts: bool, late: bool) -> None:
    if fact in ("key_created", "key_deleted", "key_unknown"):
        _note_key_change(key, row, fact, counts=counts, late=late)
    if fact in ("key_created", "key_deleted", "key_missing", "key_unknown"):
        state = None if fact == "key_unknown" else "absent"
        key.of_values = state
        key.of_values_at = row["sequence"]
        for value in key.values.values():
            value.now = Known(state, at=row["sequence"])
    if fact != "unclear":
        key.at = row["sequence"]
    if fact in ("key_deleted", "key_missing"):
        key.there, key.created = "absent", False
    elif fact == "key_unknown":
        key.there, key.created = None, False
    elif fact != "unclear":
        key.there = "present"
        key.existed = True
        key.created = key.created or fact == "key_created"
    if fact in ("write", "delete", "read", "seen", "miss", "unclear"):
        _note_value(key, row, fact, counts=counts, late=late)


def _note_key_change(key: Key, row: Row, fact: str, *, counts: bool, late: bool) -> None:
    if late:
        key.changed.append(row)
    if late and not counts:
        key.others.append(row)
    if not counts:
        return
    if not key.asked:
        key.fact, key.was_created = fact, key.created
        key.before, key.before_at = key.there, key.at
        key.of_values_before, key.of_values_before_at = key.of_values, key.of_values_at
        for value in key.values.values():
            if value.before is None:
                value.before, value.fact = value.now.copy(), fact
                value.by_key = value.now.state == "present"
    key.asked.append(row)


def _note_value(key: Key, row: Row, fact: str, *, counts: bool, late: bool) -> None:
    folded = row["folded_value"]
    if folded not in key.values:
        value = key.values[folded] = Value(Known(key.of_values, at=key.of_values_at), row["value_name"])
        if key.asked:
            value.before = Known(key.of_values_before, at=key.of_values_before_at)
            value.fact = key.fact
    value = key.values[folded]
    if fact in ("write", "delete", "unclear"):
        if late and not counts and value.before is not None:
            value.others = True
        if late:
            value.changed.append(row)
        if counts:
            if value.before is None:
                value.before, value.fact = value.now.copy(), fact
                if fact == "write" and row["previous_type"] is not None:
                    value.previous = (row["previous_type"], row["previous_size"], row["previous_data"])
            value.asked.append(row)
    now = value.now
    if fact in ("delete", "miss"):
        value.now = Known("absent")
    elif fact == "unclear":
        value.now = Known()
    elif fact == "write":
        value.now = Known(
            "present", (row["sequence"], (row["data_type"], row["data_size"], row["data"])), now.returned
        )
    elif fact == "read":
        got = (row["data_type"], row["data_size"], row["data"])
        value.now = Known("present", now.written, (row["sequence"], got))
    else:
        value.now = Known("present", now.written, now.returned)
    value.now.at = row["sequence"]


def _answers(group: int, key: Key, doubts: Doubts) -> dict[tuple[int, str | None], dict[str, Any]]:
    answers = {}
    if key.asked:
        before, was_created, after = key.before, key.was_created, Known(key.there, at=key.at)
        if doubts.of(Known(before, at=key.before_at), None, key.asked[0]):
            before, was_created = None, False
        is_doubted = doubts.of(after, None, None)
        if before != "present":
            before = {"key_created": "absent", "key_deleted": "present"}.get(key.fact or "", before)
        word = _key_word(before, None if is_doubted else key.there)
        if word:
            answers[group, None] = _answer(
                word, Known(before), Known(key.there), key.asked, key.changed,
                others=any(row["sequence"] > key.asked[0]["sequence"] for row in key.others),
            ) | {"complete": word != "unclear" and (was_created or before == "absent")}  # fmt: skip
    for folded, value in key.values.items():
        before = value.before
        if before is None or not (value.asked or before.state == "present"):
            continue
        start = key.asked[0] if value.fact not in ("write", "delete", "unclear") else value.asked[0]
        before = Known() if doubts.of(before, folded, start) else before.copy()
        is_doubted = doubts.of(value.now, folded, None)
        if value.fact == "key_created" and before.state != "present":
            before.state = "absent"
        if value.fact == "delete":
            before.state = "present"
            before = before if before.written or before.returned else Known("present")
        first_by_key = value.fact not in ("write", "delete", "unclear")
        start = key.asked[0] if first_by_key else value.asked[0]
        others = value.others or any(row["sequence"] > start["sequence"] for row in key.others)
        asked = list(value.asked)
        if value.by_key:
            asked.insert(0, key.asked[0])
        if key.asked and (asked or value.by_key) and key.asked[-1]["sequence"] > asked[-1]["sequence"]:
            asked.append(key.asked[-1])
        answer = _answer(
            None, before, value.now, asked, value.changed if value.asked else key.changed,
            others=others, previous=value.previous, writes=len(value.asked), is_doubted=is_doubted,
        )  # fmt: skip
        if answer:
            answers[group, folded] = answer | {"value_name": value.name}
    return answers


def _key_word(before: str | None, after: str | None) -> str | None:
    if after is None:
        return "unclear"
    words = {
        ("absent", "present"): "created",
        ("present", "present"): "recreated",
        ("present", "absent"): "deleted",
    }
    return None if (before, after) == ("absent", "absent") else words.get((before, after), "unclear")  # type: ignore[arg-type]


def _answer(
    word: str | None, before: Known, after: Known, asked: list[Row], changed: list[Row],
    *, others: bool, previous: Any = None, writes: int | None = None, is_doubted: bool = False,
) -> dict[str, Any]:  # fmt: skip
    of_key = word is not None
    source, old = before.content()
    state = before.state
    if previous is not None:
        source, old, state = "event", previous, "present"
    after_source, new = after.content()
    old, new = _whole(old), _whole(new)
    is_whole = all(
        each == "absent" or (each == "present" and content[0] is not None and content[2] is not None
                             and content[1] == len(content[2]))
        for each, content in ((state, old), (None if is_doubted else after.state, new))
    )  # fmt: skip
    if word is None:
        if after.state is None or is_doubted:
            word = "unclear"
        elif after.state == "present":
            if state == "present" and is_whole and old == new:
                return {}
            word = {"absent": "added", "present": "changed", None: "set"}[state]
        elif state == "absent":
            return {}
        else:
            word = "removed"
    people = {row["process_id"] for row in changed} - {None}
    return {
        "change": word,
        "before_from": source,
        "before": old,
        "after_from": after_source,
        "after": new,
        "complete": is_whole,
        "writes": len(asked) if of_key else writes,
        "processes": len(people),
        "also_by_others": others,
        "first_sequence": asked[0]["sequence"],
        "last_sequence": asked[-1]["sequence"],
        "process_id": asked[-1]["process_id"],
    }


def _whole(content: Any) -> Any:
    kind, size, data = content
    return kind, size, b"" if data is None and size == 0 else data


def _agree(written: Any, got: Any) -> bool:
    if written[:2] != got[:2]:
        return False
    ours, theirs = written[2] or b"", got[2] or b""
    shorter = min(len(ours), len(theirs))
    return ours[:shorter] == theirs[:shorter]
