"""Two sides compared by plain loops over their rows in order: the reference of `diff`."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from plain_evidence import Follower, content_of, is_below, is_followed, new_path, text_of
from plain_rows import folded_key, group_of, plain_rows

from analysis.capture import Capture
from analysis.filters import Filters
from tracer.registry.text import fold_name

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


def plain_names(a: Collection[str], b: Collection[str], folds: Collection[str]) -> list[dict[str, str]]:
    """Return what the names of each side are called: folded where one name of each side at most is left for it."""
    called: list[dict[str, str]] = [{}, {}]

    def walk(entries: list[tuple[int, str, str, str]]) -> None:
        groups: dict[str, list[tuple[int, str, str, str, str]]] = {}
        for side, name, before, rest in entries:
            found = identifier(rest, folds)
            if found is None:
                called[side][name] = before + rest
            else:
                text, own, after = rest[: found.start()], found[0], rest[found.end() :]
                key = before + text + ("{GUID}" if own[0] == "{" else "<SID>")
                groups.setdefault(key, []).append((side, name, before + text, own, after))
        for key, group in groups.items():
            alone = all(len({own for side, _, _, own, _ in group if side == one}) <= 1 for one in (0, 1))
            walk(
                [
                    (side, name, key if alone else before + own, after)
                    for side, name, before, own, after in group
                ]
            )

    walk([(side, name, "", name) for side, names in enumerate((a, b)) for name in set(names)])
    views = [fold for fold in folds if fold in ("controlset", "wow64")]
    meant = [{name: plain_meaning(new, views) for name, new in one.items()} for one in called]
    for side, one in enumerate(meant):
        for name, new in one.items():
            if all(list(each.values()).count(new) <= 1 for each in meant):
                called[side][name] = new
    for one in called:
        while True:
            several = [name for name, new in one.items() if name != new and list(one.values()).count(new) > 1]
            if not several:
                break
            one.update((name, name) for name in several)
    return called


def identifier(text: str, folds: Collection[str]) -> re.Match[str] | None:
    patterns = {"sid": r"S-1-(5-21|12-1)(-\d+)+", "guid": r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}"}
    found = [re.search(patterns[fold], text, re.ASCII) for fold in patterns if fold in folds]
    return min((one for one in found if one), key=lambda one: one.start(), default=None)


def plain_text(content: Any, folds: Collection[str]) -> Any:
    """Return a content with the identifiers in its text folded, where all of it was captured."""
    kind, size, data = content
    if kind not in (1, 2, 6, 7) or data is None or len(data) != size or len(data) % 2:
        return content
    text = data.decode("utf-16-le", "surrogatepass")
    kept = {"sid": r"S-1-(5-21|12-1)(-\d+)+", "guid": r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}"}
    for fold, word in (("sid", "<SID>"), ("guid", "{GUID}")):
        if fold in folds:
            text = re.sub(kept[fold], word, text, flags=re.ASCII | re.IGNORECASE)
    return content if text.encode("utf-16-le", "surrogatepass") == data else (kind, None, text)


def plain_diff(
    sides: Sides, *, kinds: Collection[str], folds: Collection[str] = (), counts: bool = False
) -> list[Row]:
    """Return the differences, in order, with the columns that the comparison decides."""
    (one, _), (other, _) = sides
    own_keys = [
        {path for path in folded_key(capture).values() if not path.startswith("<OBJECT 0X")}
        for capture, _ in sides
    ]
    key_names = plain_names(own_keys[0], own_keys[1], folds)
    things = [
        plain_side(capture, filters, kinds, names)
        for (capture, filters), names in zip(sides, key_names, strict=True)
    ]
    if folds and one is not other:
        things = with_values(things, folds)
    a, b = things
    alike = [Counter(meant(entry, name, folds) for name, entry in side.items()) for side in things]
    answers = []
    for name in a.keys() | b.keys():
        side = compare(name[0], a.get(name), b.get(name), counts=counts, folds=folds)
        if side is not None:
            entry = a.get(name) or b.get(name)
            called = meant(entry, name, folds)
            other_has = alike[1] if name not in b else alike[0] if name not in a else {}
            apart = bool(folds) and bool(other_has.get(called))
            order, row = describe(name, side, a.get(name), b.get(name))
            held = plain_text(entry.get("content", (None, None, None)), folds)
            changed = tuple(
                None if each is None else each.get("changed") for each in (a.get(name), b.get(name))
            )
            twin = (called, entry.get("word"), any(changed), held)
            answers.append((order, row | {"apart": apart}, twin))
    answers.sort(key=lambda answer: answer[0])
    return [row for _, row, _ in without_twins(answers)]


def meant(entry: Row, name: Any, folds: Collection[str]) -> Any:
    """Return what a thing is called with everything folded."""
    what, _, _, image, operation = name
    own_key, own_value = entry["own"]
    return what, plain_meaning(own_key, folds), plain_meaning(own_value, folds), image, operation


def without_twins(answers: list[Any]) -> list[Any]:
    """Leave out what stays apart and holds the same on both sides, the first of each as often as the other has it."""
    counts = Counter[tuple[Any, ...]]((row["side"], twin) for _, row, twin in answers if row["apart"])
    kept = []
    for answer in answers:
        _, row, twin = answer
        if row["apart"]:
            pairs = min(counts["only_a", twin], counts["only_b", twin])
            gone = (row["side"], twin, "gone")
            if counts[gone] < pairs:
                counts[gone] += 1
                continue
        kept.append(answer)
    return kept


def with_values(things: list[Any], folds: Collection[str]) -> list[Any]:
    """Return the things with their values called by their meaning where they pair by that, key by key."""
    named: dict[str, list[list[str]]] = {}
    for side, entries in enumerate(things):
        for what, key, value, *_ in entries:
            if what == "value" and plain_meaning(value, folds) != value:
                named.setdefault(key, [[], []])[side].append(value)
    called = {key: plain_names(names[0], names[1], folds) for key, names in named.items()}
    return [
        {
            (
                what,
                key,
                called[key][side].get(value, value) if what == "value" and key in called else value,
                *rest,
            ): entry
            for (what, key, value, *rest), entry in entries.items()
        }
        for side, entries in enumerate(things)
    ]


def plain_side(capture: Capture, filters: Filters, kinds: Collection[str], names: dict[str, str]) -> Any:
    rows = plain_rows(capture, replace(filters, value=None))
    paths = {key: path for key, path in folded_key(capture).items() if not path.startswith("<OBJECT 0X")}
    shown = capture.sql("SELECT key_id, display_path FROM keys")
    shown_paths = dict(zip(map(int, shown["key_id"]), shown["display_path"], strict=True))
    things: dict[Any, Row] = {}
    if {"keys", "values"} & set(kinds):
        for name, entry in states(capture, rows, paths, names):
            if name[0] + "s" in kinds:
                merge(things, name, entry | {"key": shown_paths[entry["group"]]})
    for row in rows:
        image = row["process"]
        if "processes" in kinds and image is not None:
            name = ("process", "", "", fold_name(image), "")
            merge(things, name, {"at": row, "image": image, "times": 1, "own": ("", "")})
        if "operations" in kinds and row["group"] in paths:
            own = paths[row["group"]]
            name = ("operation", names[own], "", fold_name(image or ""), row["operation"])
            told = {"at": row, "image": image, "times": 1, "key": shown_paths[row["group"]], "own": (own, "")}
            merge(things, name, told)
    return things


def states(capture: Capture, rows: list[Row], paths: dict[int, str], names: dict[str, str]) -> Any:
    follower = Follower(capture)
    before = Follower(
        capture
    )  # below a key that is missing is nothing, also where a key was heard of before this side
    before.follow(
        row
        for row in plain_rows(capture)
        if rows and not row["unproved"] and row["sequence"] < rows[0]["sequence"]
    )
    for group in {row["group"] for row in rows} & before.keys.keys():
        if group in before.heard:
            follower.heard.add(group)
    follower.listed = {row["group"] for row in rows}
    follower.follow(rows, only_proved=True)  # the others may be of another key
    changes = count_changes(capture, rows)
    for group, key in follower.keys.items():
        if group not in paths or group not in follower.listed:
            continue
        own = paths[group]
        path = names[own]
        _, said, at = key.shown()
        if said is not None:
            times = changes.get((group, None), 0)
            yield (
                ("key", path, "", "", ""),
                {
                    "at": at,
                    "word": said,
                    "times": times,
                    "changed": times > 0 or (group in follower.arrived and said == "exists"),
                    "group": group,
                    "own": (own, ""),
                },
            )
        for value, known in follower.values(group):
            word, at = known.sure_word(), known.word()[1]
            if word is None:
                continue
            times = changes.get((group, value), 0)
            came = group in follower.arrived and word in ("write", "read")
            content = content_of(at) if at is not None and word in ("write", "read") else (None, None, None)
            if content[1] == 0 and content[2] is None:
                content = (content[0], 0, b"")
            yield (
                ("value", path, value, "", ""),
                {
                    "at": at,
                    "word": word,
                    "times": times,
                    "changed": times > 0 or word == "deleted" or came,
                    "content": content,
                    "spelled": follower.names[group, value],
                    "group": group,
                    "own": (own, value),
                },
            )


def count_changes(capture: Capture, rows: list[Row]) -> dict[Any, int]:
    """Return how often each key and each value was changed."""
    groups, all_paths = group_of(capture), folded_key(capture)
    found: dict[Any, int] = {}
    for row in rows:
        done = row["status"] is not None and row["status"] < 0x80000000 and row["status"] != 0x103
        operation, group = row["operation"], row["group"]
        if group is None or not done or row["unproved"]:
            continue
        changed: list[tuple[int, str | None]] = []
        if operation == "RenameKey" and is_followed(row):
            old, new = all_paths[group], new_path(all_paths[group], row)
            heads = [key for key in all_paths if groups[key] == key and new != old]
            changed += [
                (key, None) for key in heads if is_below(all_paths[key], old) or all_paths[key] == new
            ]
            operation = ""
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


def compare(
    what: str, a: Row | None, b: Row | None, *, counts: bool, folds: Collection[str] = ()
) -> str | None:
    is_state = what in ("key", "value")
    if a is None or b is None:
        if is_state and not (a or b or {})["changed"]:
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
    same = plain_text(a["content"], folds) == plain_text(b["content"], folds)
    if folds and data is not None and same:
        return None
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
