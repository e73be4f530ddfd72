"""The chain of causes as plain loops over rows: the oracle of `analysis.questions.why`."""

from collections.abc import Sequence
from typing import Any

from analysis.causes.rules import FEW_BYTES, NEXT_WRITES, PART_BYTES, RECENT_READS, RULES
from tracer.registry.text import fold_name

__all__ = ["plain_content", "plain_why"]

READ = ("QueryValueKey", "EnumerateValueKey")
WRITE = ("SetValueKey", "DeleteValueKey", "DeleteKey")
MISSING = 0xC0000034
MOST = 100  # reads of a thread before a write that are looked at
TEXTS = (1, 2, 6, 7)
Row = dict[str, Any]


def bare(row: Row) -> bytes:
    data = row["data"] or b""
    if row["data_type"] in TEXTS:
        while len(data) >= 2 and len(data) % 2 == 0 and data.endswith(b"\0\0"):
            data = data[:-2]
    return data


def cut(row: Row) -> bool:
    return row["data"] is not None and row["data_size"] is not None and len(row["data"]) < row["data_size"]


def plain_content(read: Row, write: Row) -> str | None:
    """Return the rule about what was read and what was written."""
    if (
        write["operation"] != "SetValueKey"
        or read["status"] == MISSING
        or not read["data"]
        or not write["data"]
    ):
        return None
    if cut(read) or cut(write):
        if read["data_size"] != write["data_size"]:
            return None
        pairs = list(zip(read["data"], write["data"], strict=False))
        return "same data" if len(pairs) >= FEW_BYTES and all(a == b for a, b in pairs) else None
    got, put = bare(read), bare(write)
    if not got:
        return None
    if got == put:
        return "same data" if len(got) >= FEW_BYTES else "same short data"
    step = 2 if read["data_type"] in TEXTS and write["data_type"] in TEXTS else 1
    inside = any(put[at : at + len(got)] == got for at in range(0, len(put) - len(got) + 1, step))
    return "part of data" if len(got) >= PART_BYTES and any(got) and inside else None


def is_read(row: Row) -> bool:
    return (
        row["operation"] in READ
        and row["value_name"] is not None
        and row["status"] is not None
        and (row["status"] < 0x80000000 or row["status"] == MISSING)
    )


def is_write(row: Row) -> bool:
    return row["operation"] in WRITE and (row["status"] is None or row["status"] < 0x80000000)


def value_of(row: Row) -> tuple[Any, Any]:
    return row["key_id"], None if row["value_name"] is None else fold_name(row["value_name"])


def weigh(rules: Sequence[str]) -> int:
    return sum(RULES[rule].weight for rule in rules)


def touches(row: Row, value: tuple[Any, Any]) -> bool:
    """Whether a write changes the value, or deletes its key."""
    return is_write(row) and (
        value_of(row) == value or (row["operation"] == "DeleteKey" and row["key_id"] == value[0])
    )


def agrees(read: Row, write: Row) -> bool:
    if read["status"] == MISSING or write["operation"] != "SetValueKey":
        return read["status"] == MISSING and write["operation"] != "SetValueKey"
    if read["data_size"] == 0 and write["data_size"] == 0:
        return True
    if (
        read["data"] is None
        or write["data"] is None
        or ((cut(read) or cut(write)) and read["data_size"] != write["data_size"])
    ):
        return False
    shorter = min(len(read["data"]), len(write["data"]))
    same = read["data"][:shorter] == write["data"][:shorter]
    return same and (cut(read) or cut(write) or len(read["data"]) == len(write["data"]))


def reads_before(
    rows: Sequence[Row], opens: dict[int, int], write: Row, within_ns: int
) -> list[tuple[Row, list[str], int]]:
    """Return the reads that may have led to a write, the heaviest first: the read, its rules, how many there are."""
    own = [
        row
        for row in rows
        if is_read(row) and row["sequence"] < write["sequence"] and row["process_id"] == write["process_id"]
        and row["thread_id"] == write["thread_id"]
    ]  # fmt: skip
    recent = [
        row["sequence"] for row in own[-RECENT_READS:] if row["time_ns"] >= write["time_ns"] - within_ns
    ]
    near = [row for row in own[-MOST:] if row["time_ns"] >= write["time_ns"] - within_ns]
    fits: dict[Any, list[tuple[Row, list[str]]]] = {}
    of_process = [
        row
        for row in rows
        if is_read(row) and row["sequence"] < write["sequence"] and row["process_id"] == write["process_id"]
    ]
    for row in of_process:
        rules = []
        if row in own:
            if opens.get(write["sequence"]) is not None and row["sequence"] > opens[write["sequence"]]:
                rules.append("open to write")
            if row["sequence"] in recent:
                rules.append("recent read")
            if value_of(row) == value_of(write) and (rules or row in near):
                rules.append("same value")
        content = plain_content(row, write)
        if content is not None and (rules or content in ("same data", "part of data")):
            rules.append(content)
        if rules:
            fits.setdefault(value_of(row), []).append((row, rules))
    links = []
    for found in fits.values():
        best = max(found, key=lambda one: (weigh(one[1]), one[0]["sequence"]))
        links.append((*best, len(found)))
    return sorted(links, key=lambda one: (-weigh(one[1]), -one[0]["sequence"]))


def plain_why(
    rows: Sequence[Row], opens: dict[int, int], anchor: Row, *, depth: int, within_ns: int, most: int
) -> set[tuple[Any, ...]]:
    """Return the links of a chain: direction, depth, sequence above, sequence, rules, times.

    Args:
        rows: the event rows in order, `key_id` being `keys.same_as`.
        opens: the sequence of the open of a write's handle by the same thread, by the write's sequence.
        anchor: the write that is asked about.
        depth, within_ns, most: as of `analysis.causes.chain.Reach`.
    """
    links: set[tuple[Any, ...]] = set()
    level, seen = [anchor], {anchor["sequence"]}
    for step in range(depth):
        following = []
        for write in level:
            for read, rules, times in reads_before(rows, opens, write, within_ns)[:most]:
                links.add(("cause", step, write["sequence"], read["sequence"], ", ".join(rules), times))
                before = [
                    row for row in rows if row["sequence"] < read["sequence"] and touches(row, value_of(read))
                ]
                if not before:
                    continue
                last = before[-1]
                said = "last write, as read" if agrees(read, last) else "last write"
                links.add(("cause", step + 1, read["sequence"], last["sequence"], said, 1))
                if last["sequence"] not in seen:
                    seen.add(last["sequence"])
                    following.append(last)
        level = following
    level, seen = [anchor], {anchor["sequence"]}
    for step in range(depth):
        following = []
        for write in level:
            later = [row for row in rows if row["sequence"] > write["sequence"]]
            end = next((row["sequence"] for row in later if touches(row, value_of(write))), 2**63)
            threads: dict[Any, list[Row]] = {}
            for row in later:
                if is_read(row) and value_of(row) == value_of(write) and row["sequence"] < end:
                    threads.setdefault((row["process_id"], row["thread_id"]), []).append(row)
            readers = []
            for found in threads.values():
                rules = ["read before the next write", *(["as read"] if agrees(found[0], write) else [])]
                readers.append((found[0], rules, len(found)))
            readers.sort(key=lambda one: (-weigh(one[1]), one[0]["sequence"]))
            for read, rules, times in readers[:most]:
                links.add(("effect", step, write["sequence"], read["sequence"], ", ".join(rules), times))
                own = [
                    row
                    for row in rows
                    if is_write(row) and row["sequence"] > read["sequence"] and row["process_id"] == read["process_id"]
                    and row["thread_id"] == read["thread_id"] and row["time_ns"] <= read["time_ns"] + within_ns
                ][:NEXT_WRITES]  # fmt: skip
                nexts = []
                for row in own:
                    content = plain_content(read, row)
                    nexts.append((row, ["write after read", *([content] if content else [])]))
                nexts.sort(key=lambda one: (-weigh(one[1]), one[0]["sequence"]))
                for row, words in nexts[:most]:
                    links.add(("effect", step + 1, read["sequence"], row["sequence"], ", ".join(words), 1))
                    if row["sequence"] not in seen:
                        seen.add(row["sequence"])
                        following.append(row)
        level = following
    return links
