"""Two sides compared by plain loops over their rows in order: the reference of `diff`."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from plain_evidence import Follower, content_of, text_of
from plain_rows import folded_key, group_of, plain_rows

from analysis.capture import Capture
from analysis.filters import Filters
from tracer.text import fold_name

__all__ = ["plain_diff", "plain_meaning"]

Row = dict[str, Any]
Sides = Sequence[tuple[Capture, Filters]]
ORDER = {"process": 0, "key": 1, "value": 1, "operation": 2}
BELOW_FACTS = ("RenameKey",)


def plain_meaning(name: str, folds: Collection[str]) -> str:
    if "sid" in folds:
        name = re.sub(r"S-1-(5-21|12-1)(-\d+)+", "<SID>", name, flags=re.ASCII)
    if "guid" in folds:
        name = re.sub(r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", "{GUID}", name)
    parts = name.split("\\")
    numbered = parts[:2] == ["HKLM", "SYSTEM"] and re.fullmatch(r"CONTROLSET[0-9]{3}", "".join(parts[2:3]))
    if "controlset" in folds and numbered:
        parts[2] = "CURRENTCONTROLSET"
    name = "\\".join(parts)
    return name.replace("\\WOW6432NODE\\", "\\") if "wow64" in folds else name


def plain_diff(
    sides: Sides, *, kinds: Collection[str], folds: Collection[str] = (), counts: bool = False
) -> list[Row]:
    """Return the differences, in order, with the columns that the comparison decides."""
    a, b = (plain_side(capture, filters, kinds, folds) for capture, filters in sides)
    answers = []
    for name in a.keys() | b.keys():
        side = compare(name[0], a.get(name), b.get(name), counts=counts)
        if side is not None:
            answers.append(describe(name, side, a.get(name), b.get(name)))
    return [row for _, row in sorted(answers, key=lambda answer: answer[0])]


def plain_side(capture: Capture, filters: Filters, kinds: Collection[str], folds: Collection[str]) -> Any:
    rows = plain_rows(capture, replace(filters, value=None))
    paths = {key: path for key, path in folded_key(capture).items() if not path.startswith("<OBJECT 0X")}
    shown = capture.sql("SELECT key_id, display_path FROM keys")
    shown_paths = dict(zip(map(int, shown["key_id"]), shown["display_path"], strict=True))
    things: dict[Any, Row] = {}
    if {"keys", "values"} & set(kinds):
        for name, entry in states(capture, rows, paths, folds):
            if name[0] + "s" in kinds:
                merge(things, name, entry | {"key": shown_paths[entry["group"]]})
    for row in rows:
        image = row["process"]
        if "processes" in kinds and image is not None:
            name = ("process", "", "", fold_name(image), "")
            merge(things, name, {"at": row, "image": image, "times": 1})
        if "operations" in kinds and row["group"] in paths:
            path = plain_meaning(paths[row["group"]], folds)
            name = ("operation", path, "", fold_name(image or ""), row["operation"])
            merge(things, name, {"at": row, "image": image, "times": 1, "key": shown_paths[row["group"]]})
    return things


def states(capture: Capture, rows: list[Row], paths: dict[int, str], folds: Collection[str]) -> Any:
    follower = Follower(capture)
    follower.follow(rows)
    changes = count_changes(capture, rows)
    for group, key in follower.keys.items():
        if group not in paths:
            continue
        path = plain_meaning(paths[group], folds)
        if key.sure_word is not None:
            times = changes.get((group, None), 0)
            yield (
                ("key", path, "", "", ""),
                {"at": key.at, "word": key.sure_word, "times": times, "changed": times > 0, "group": group},
            )
        for value, known in key.values.items():
            word, at = known.sure_word(), known.word()[1]
            if word is None or value not in key.names:
                continue
            times = changes.get((group, value), 0)
            content = content_of(at) if word in ("write", "read") else (None, None, None)
            if content[1] == 0 and content[2] is None:
                content = (content[0], 0, b"")
            yield (
                ("value", path, plain_meaning(value, folds), "", ""),
                {
                    "at": at,
                    "word": word,
                    "times": times,
                    "changed": times > 0 or word == "deleted",
                    "content": content,
                    "spelled": key.names[value],
                    "group": group,
                },
            )


def count_changes(capture: Capture, rows: list[Row]) -> dict[Any, int]:
    """Return how often each key and each value was changed."""
    groups, all_paths = group_of(capture), folded_key(capture)
    found: dict[Any, int] = {}
    for row in rows:
        done = row["status"] is not None and row["status"] < 0x80000000 and row["status"] != 0x103
        operation, group = row["operation"], row["group"]
        if group is None or not done:
            continue
        changed = []
        if operation in ("SetValueKey", "DeleteValueKey") and row["value_name"] is not None:
            changed.append((group, row["folded_value"]))
        if operation == "CreateKey" and row["status"] == 0 and row["disposition"] == 1:
            changed.append((group, None))
        if operation in ("DeleteKey", "RenameKey"):
            changed.append((group, None))
        if operation == "RenameKey":
            changed += [
                (key, None)
                for key, path in all_paths.items()
                if groups[key] == key and path.startswith(all_paths[group] + "\\")
            ]
        for one in changed:
            found[one] = found.get(one, 0) + 1
    return found


def merge(things: dict[Any, Row], name: Any, entry: Row) -> None:
    """Keep what was heard last of things that are called the same."""
    old = things.get(name)
    if old is None:
        things[name] = dict(entry)
        return
    times = old["times"] + entry["times"]
    changed = old.get("changed", False) or entry.get("changed", False)
    if entry["at"]["sequence"] > old["at"]["sequence"]:
        old.update(entry)
    old.update(times=times, changed=changed)


def compare(what: str, a: Row | None, b: Row | None, *, counts: bool) -> str | None:
    is_state = what in ("key", "value")
    if a is None or b is None:
        known = a or b
        if is_state and not known["changed"]:
            return None
        return "only_b" if a is None else "only_a"
    if not is_state:
        return "differs" if counts and a["times"] != b["times"] else None
    there = [side["word"] in ("write", "read", "exists") for side in (a, b)]
    if there[0] != there[1]:
        return "differs"
    if what == "key" or not there[0]:
        return None
    (kind, size, data), (other_kind, other_size, other_data) = a["content"], b["content"]
    if None not in (kind, other_kind) and kind != other_kind:
        return "differs"
    if None not in (size, other_size) and size != other_size:
        return "differs"
    if data is not None and other_data is not None:
        shorter = min(len(data), len(other_data))
        cut = len(data) < (size or 0) or len(other_data) < (other_size or 0)
        if data[:shorter] != other_data[:shorter] or (len(data) != len(other_data) and not cut):
            return "differs"
        if shorter or data == other_data:
            return None
    if a["changed"] == b["changed"]:
        return None
    return "only_a" if a["changed"] else "only_b"


def describe(name: Any, side: str, a: Row | None, b: Row | None) -> tuple[Any, Row]:
    what, key, value, image, operation = name
    spelled = [one.get("spelled") for one in (a, b) if one and one.get("spelled") is not None]
    images = [one.get("image") for one in (a, b) if one and one.get("image") is not None]
    row = {
        "what": what,
        "side": side,
        "key": key or None,
        "value_name": spelled[0] if spelled else None,
        "process": images[0] if images else None,
        "operation": operation or None,
    }
    for letter, one in (("a", a), ("b", b)):
        kind, size, data = (one or {}).get("content", (None, None, None))
        at = {} if one is None else one["at"]
        row |= {
            f"{letter}_known": one and one.get("word"),
            f"{letter}_type": kind,
            f"{letter}_size": size,
            f"{letter}_data": data,
            f"{letter}_text": text_of((kind, size, data)),
            f"{letter}_count": one and one["times"],
            f"{letter}_key": one and one.get("key"),
            f"{letter}_process": at.get("process"),
            f"{letter}_pid": at.get("pid"),
            f"{letter}_time": at.get("time"),
            f"{letter}_sequence": at.get("sequence"),
            f"{letter}_process_id": at.get("process_id"),
        }
    return (ORDER[what], key, what, value, image, operation), row
