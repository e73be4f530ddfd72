"""The net changes of a capture, event by event with dictionaries: what `analysis.answers.changes` must equal."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from plain_facts import EITHER, HIVES, plain_fact

__all__ = ["Renamed", "plain_changes"]

Row = dict[str, Any]
Doubt = Callable[[bool, str | None, int, int | None], bool]
_OWN = ("write", "delete", "unclear")
_MADE = ("key_created", "key_arrived", "key_brought")


@dataclass
class Known:
    """What is known of one value at one moment."""

    state: str | None = None  # present, absent, or None: nobody knows
    written: tuple[int, Any] | None = None  # sequence, (type, size, data)
    returned: tuple[int, Any] | None = None
    at: int | None = None  # sequence of the newest that tells the state
    ever: bool = False  # whether it was there, as far as this key is known

    def copy(self) -> "Known":
        return Known(self.state, self.written, self.returned, self.at, self.ever)

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
    unclear: bool = False
    made: bool = False  # by a change that was asked for
    there_at: int = -1
    gone_at: int = -1
    absence: Row | None = None  # the last that proves that nothing is below it
    item: object = field(default_factory=object)  # the key itself, whatever its name
    items: list[object] = field(default_factory=list)  # all that were here
    names: set[str] = field(default_factory=set)  # values of which was heard
    item_existed: bool = False
    told: bool = False  # whether events told of it, and not only of what is above it
    listed: bool = False
    arrived: bool = False
    was_gone: bool = False  # when it came


Renamed = tuple[
    list[int], list[tuple[int, int | None, bool]]
]  # left; entered, from where, whether it is the key itself

# What goes with a key to another name; the rest is of the name.
_OF_ITEM = ("there", "created", "of_values", "of_values_at", "at", "unclear", "made", "there_at", "gone_at", "absence",
            "item", "names", "item_existed", "told")  # fmt: skip


def plain_changes(
    rows: Iterable[Row],
    in_time: Callable[[Row], bool],
    asked: Callable[[Row], bool],
    below: Callable[[int], list[int]] = lambda group: [],
    doubt: Doubt = lambda absent, value, after_ns, before_ns: False,
    renamed: Callable[[Row], Renamed | None] = lambda row: None,
    entered: Callable[[Row], list[int]] = lambda row: [],
) -> dict[tuple[int, str | None], dict[str, Any]]:
    """Return (key group, folded value or None) -> what the answer's row must say.

    Args:
        rows: all rows of the keys up to the time's end, in order, with group and folded_value.
        in_time: whether a row is not before the time's beginning.
        asked: whether a row's change is asked for, in time.
        below: the key groups below one.
        doubt: whether something known (to be absent?; the value, None for the key) at a time may have been changed
            without a record by another time (None: the end); UTC nanoseconds.
        renamed: what a rename moved that can be followed; None: no such rename.
        entered: the key groups at and below the new name of a rename that cannot be followed.
    """
    keys: dict[int, Key] = {}
    times: dict[int, int] = {}
    for row in rows:
        fact = plain_fact(row)
        times[row["sequence"]] = (row.get("time_ns") or 0) // 1000 * 1000
        if row["group"] is not None:
            key = keys.setdefault(row["group"], Key())
            key.touched = key.touched or (in_time(row) and _changes(row))
            key.listed = True
            is_moved = row["operation"] == "RenameKey" and renamed(row) is not None
            key.told = key.told or (fact is not None and not is_moved)
        if fact in (None, "failed", "hearsay", "key_hearsay") or row["group"] is None:
            continue
        assert fact is not None
        moves = renamed(row) if row["operation"] == "RenameKey" else None
        if moves is not None:
            if moves == ([], []):  # it is the same name
                for other in (row["group"], *below(row["group"])):
                    _stay(keys.setdefault(other, Key()), row, is_top=other == row["group"])
                continue
            _move(keys, row, moves, counts=asked(row), late=in_time(row))
            continue
        fact = {"doubtful": "unclear", "key_doubtful": "key_unknown"}.get(fact, fact)
        counts, late = asked(row), in_time(row)
        key = keys.setdefault(row["group"], Key())
        _note(key, row, fact, counts=counts, late=late)
        if row["operation"] not in ("CreateKey", "DeleteKey") and fact in ("key_renamed", "key_unknown"):
            for other in below(row["group"]):
                _note(keys.setdefault(other, Key()), row, fact, counts=counts, late=late)
            for other in entered(row):
                _note(keys.setdefault(other, Key()), row, "key_unknown", counts=counts, late=late)
        if fact in ("key_created", "key_missing", "key_deleted"):
            key.absence = row
            for other in below(row["group"]):
                if other in keys and keys[other].existed:
                    _note(keys[other], row, "key_missing", counts=counts, late=late)
                    keys[other].absence = row
    answers: dict[tuple[int, str | None], dict[str, Any]] = {}
    items = {id(item) for key in keys.values() if key.touched for item in (key.item, *key.items)}
    for group, key in keys.items():
        if not key.listed:
            continue
        if key.touched or items & {id(item) for item in (key.item, *key.items)}:
            answers |= _answers(group, key, Doubts(doubt, times))
    return answers


def _changes(row: Row) -> bool:
    name = row["operation"]
    return name in (
        "SetValueKey",
        "DeleteValueKey",
        "DeleteKey",
        "RenameKey",
        "HiveWork",
        EITHER,
        *HIVES,
    ) or (name == "CreateKey" and row["disposition"] == 1)


def _stay(key: Key, row: Row, *, is_top: bool) -> None:
    key.was_gone = key.gone_at > key.there_at
    if is_top:
        key.there, key.at, key.there_at = "present", row["sequence"], row["sequence"]
        key.existed = key.item_existed = key.told = True


def _move(keys: dict[int, Key], row: Row, moves: Renamed, *, counts: bool, late: bool) -> None:
    """Take keys with all that is known of them to their new names."""
    left, entered = moves
    own = keys.setdefault(row["group"], Key())
    top = {name: getattr(own, name) for name in _OF_ITEM}
    taken = {}
    for group in left:
        key = keys.setdefault(group, Key())
        values = {name: key.values[name] for name in key.names}
        held = {name: (value.now.copy(), value.name) for name, value in values.items()}
        taken[group] = {name: getattr(key, name) for name in _OF_ITEM} | {"values": held}
        _note_key_change(key, row, "key_renamed", counts=counts, late=late)
        _give(key, {**_fresh("absent", row["sequence"]), "gone_at": row["sequence"]})
        key.arrived = False
    for group, source, is_top in entered:
        key = keys.setdefault(group, Key())
        item = None if source is None else taken.get(source)
        if item is None:
            item = _fresh()
            if top["absence"]:
                at = top["absence"]["sequence"]
                item = {**_fresh("absent", at), "gone_at": at}
        _note_key_change(key, row, "key_arrived" if is_top else "key_brought", counts=counts, late=late)
        _give(key, item)
        key.arrived = counts
        key.was_gone = key.gone_at > key.there_at
        if is_top:
            key.there, key.at, key.there_at, key.item_existed = (
                "present",
                row["sequence"],
                row["sequence"],
                True,
            )
            key.told = True
        key.listed = key.listed or key.told
        key.existed = key.existed or key.item_existed


def _fresh(state: str | None = None, at: int | None = None) -> Row:
    """Return what is known of a key that nobody knew."""
    nothing = {
        "created": False,
        "unclear": False,
        "made": False,
        "there_at": -1,
        "gone_at": -1,
        "absence": None,
    }
    known = {"there": state, "of_values": state, "of_values_at": at, "at": at}
    return (
        nothing
        | known
        | {"item": object(), "names": set(), "values": {}, "item_existed": False, "told": False}
    )


def _give(key: Key, item: Row) -> None:
    """Let a key stand under a name."""
    key.items.append(key.item)
    for name in _OF_ITEM:
        setattr(key, name, item[name])
    for value in key.values.values():
        value.now = Known(key.of_values, at=key.of_values_at)
    for folded, (now, name) in item["values"].items():
        if folded not in key.values:
            value = key.values[folded] = Value(name=name)
            if key.asked:
                value.before, value.fact = Known(key.of_values_before, at=key.of_values_before_at), key.fact
        key.values[folded].now = now


def _note(key: Key, row: Row, fact: str, *, counts: bool, late: bool) -> None:
    if fact in ("key_created", "key_deleted", "key_renamed", "key_unknown"):
        _note_key_change(key, row, fact, counts=counts, late=late)
    if fact in ("key_created", "key_deleted", "key_renamed", "key_missing", "key_unknown"):
        state = None if fact == "key_unknown" else "absent"
        key.of_values = state
        key.of_values_at = row["sequence"]
        for value in key.values.values():
            value.now = Known(state, at=row["sequence"], ever=value.now.ever)
    if fact != "unclear":
        key.at = row["sequence"]
    if fact in ("key_deleted", "key_renamed", "key_missing"):
        key.there, key.created, key.gone_at = "absent", False, row["sequence"]
    elif fact == "key_unknown":
        key.there, key.created, key.unclear, key.made = None, False, True, False
    elif fact != "unclear":
        key.there, key.there_at = "present", row["sequence"]
        key.existed = key.item_existed = True
        key.made = key.made or (fact == "key_created" and counts)
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
    key.names.add(folded)
    if fact in ("write", "delete", "unclear"):
        if late and not counts and value.before is not None:
            value.others = True
        if late:
            value.changed.append(row)
        if counts:
            if value.before is None:
                value.before, value.fact = value.now.copy(), fact
                if fact in ("write", "delete") and row["previous_type"] is not None:
                    value.previous = (row["previous_type"], row["previous_size"], row["previous_data"])
            value.asked.append(row)
    now, ever = value.now, value.now.ever or fact in ("write", "read", "seen")
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
    value.now.at, value.now.ever = row["sequence"], ever


def _answers(group: int, key: Key, doubts: Doubts) -> dict[tuple[int, str | None], dict[str, Any]]:
    answers: dict[tuple[int, str | None], dict[str, Any]] = {}
    if key.asked:
        before, was_created, after = key.before, key.was_created, Known(key.there, at=key.at)
        if doubts.of(Known(before, at=key.before_at), None, key.asked[0]):
            before, was_created = None, False
        is_doubted = doubts.of(after, None, None)
        if before != "present":
            proved = dict.fromkeys(_MADE, "absent") | {"key_deleted": "present", "key_renamed": "present"}
            before = proved.get(key.fact or "", before)
        word = _key_word(before, None if is_doubted else key.there, key)
        only_came = key.fact == "key_brought" and len(key.asked) == 1
        if word and not (only_came and key.there != "present" and not (key.there is None and key.unclear)):
            answers[group, None] = _answer(
                word, Known(before), Known(key.there), key.asked, key.changed,
                others=any(row["sequence"] > key.asked[0]["sequence"] for row in key.others),
            ) | {"complete": word not in ("unclear", "renamed") and (was_created or before == "absent")}  # fmt: skip
    for folded, value in key.values.items():
        earlier = value.before
        if earlier is None:
            continue
        came = key.arrived and value.now.ever and value.now.state != "absent" and value.fact not in _OWN
        value.by_key = value.by_key or came
        if not (value.asked or earlier.state == "present" or came):
            continue
        start = key.asked[0] if value.fact not in _OWN else value.asked[0]
        earlier = Known() if doubts.of(earlier, folded, start) else earlier.copy()
        is_doubted = doubts.of(value.now, folded, None)
        if value.fact in _MADE and earlier.state != "present":
            earlier.state = "absent"
        if value.fact == "delete":
            earlier.state = "present"
            earlier = earlier if earlier.written or earlier.returned else Known("present")
        first_by_key = value.fact not in _OWN
        start = key.asked[0] if first_by_key else value.asked[0]
        others = value.others or any(row["sequence"] > start["sequence"] for row in key.others)
        asked = list(value.asked)
        if value.by_key:
            asked.insert(0, key.asked[0])
        if key.asked and (asked or value.by_key) and key.asked[-1]["sequence"] > asked[-1]["sequence"]:
            asked.append(key.asked[-1])
        answer = _answer(
            None, earlier, value.now, asked, value.changed if value.asked else key.changed,
            others=others, previous=value.previous, writes=len(value.asked), is_doubted=is_doubted,
        )  # fmt: skip
        if answer:
            answers[group, folded] = answer | {"value_name": value.name}
    return answers


def _key_word(before: str | None, after: str | None, key: Key) -> str | None:
    if after is None:
        return "unclear"
    if after == "present" and key.arrived and not (key.made or key.was_gone):
        return "renamed"
    if after == "absent" and before == "present" and key.fact == "key_renamed":
        return "renamed"
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
