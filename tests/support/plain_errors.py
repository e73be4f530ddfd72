"""Failures and search chains by plain loops over the rows in order: the reference of `errors`."""

from typing import Any

from plain_rows import folded_key, plain_rows

from analysis.capture import Capture
from analysis.filters import Filters
from tracer.registry.ntstatus import status_name

__all__ = ["plain_chains", "plain_errors"]

Row = dict[str, Any]
MISSED = (0xC0000034, 0xC000003A)
SHORT = (0x80000005, 0xC0000023)
TENTH_NS = 100_000_000
SERVERS = ("TREATAS", "INPROCSERVER32", "INPROCHANDLER32", "LOCALSERVER32", "LOCALSERVER", "INPROCSERVER")


def place_of(folded: str) -> tuple[str, Row] | None:
    """Return the search name of a key and where it is; None where nobody searches there."""
    root, *parts = folded.split("\\")
    if root == "HKU" and parts:
        user, *parts = parts
        if user.endswith("_CLASSES"):
            parts = ["SOFTWARE", "CLASSES", *parts]
    elif root != "HKLM":
        return None
    if not parts:
        return None
    place = {"user": root == "HKU", "wow64": False, "policies": False, "server": ""}
    parts, place["wow64"] = without(parts, "WOW6432NODE")
    if parts[0] == "SOFTWARE":
        parts, place["policies"] = without(parts, "POLICIES")
    if parts[:3] == ["SOFTWARE", "CLASSES", "CLSID"] and len(parts) == 5:
        guid = parts[3]
        if guid.startswith("{") and guid.endswith("}") and len(guid) > 1 and parts[4] in SERVERS:
            place["server"] = parts[4]
            parts = [*parts[:4], ""]
    place["classes"] = parts[:2] == ["SOFTWARE", "CLASSES"]
    return "\\".join(parts), place


def without(parts: list[str], word: str) -> tuple[list[str], bool]:
    """Return the components without those that are `word`, of two neighbours one; the last one stays."""
    kept: list[str] = []
    removed = False
    skipped_before = False
    for number, part in enumerate(parts):
        skip = part == word and number < len(parts) - 1 and not skipped_before
        if word == "POLICIES" and number == 0:
            skip = False
        if not skip:
            kept.append(part)
        skipped_before = skip
        removed = removed or skip
    return kept, removed


def plain_chains(capture: Capture, rows: list[Row]) -> dict[int, tuple[str, int, int]]:
    """Return for each miss that was answered the chain, the sequence of the hit, and the key it found."""
    places = {number: place_of(path) for number, path in folded_key(capture).items()}
    waiting: dict[Any, list[tuple[Row, Row]]] = {}
    chains: dict[int, tuple[str, int, int]] = {}
    for row in rows:
        found = places.get(row["key_id"])
        status, operation = row["status"], row["operation"]
        if found is None or None in (row["process_id"], row["tid"], status):
            continue
        if operation == "CloseKey" or status in (0x103, 0x104):
            continue
        name, place = found
        opens = operation in ("OpenKey", "CreateKey")
        there = status < 0x80000000 or status in SHORT
        thing = (row["process_id"], row["tid"], name)
        proves = there and not (operation == "CreateKey" and row["disposition"] == 1)
        if not opens:
            proves = there or status in MISSED or status == 0x8000001A
        ask(waiting, chains, (*thing, None), row, place, missed=opens and status in MISSED, hit=proves)
        if operation == "QueryValueKey" and row["value_name"] is not None:
            asked = (*thing, "=" + row["folded_value"])
            ask(waiting, chains, asked, row, place, missed=status in MISSED, hit=there)
    return chains


def ask(
    waiting: dict[Any, list[tuple[Row, Row]]],
    chains: dict[int, tuple[str, int, int]],
    thing: Any,
    row: Row,
    place: Row,
    *,
    missed: bool,
    hit: bool,
) -> None:
    misses = waiting.setdefault(thing, [])
    if missed:
        misses[:] = [(old, where) for old, where in misses if old["group"] != row["group"]]
        misses.append((row, place))
        return
    for old, where in misses:
        chain = chain_of(where, place)
        if hit and chain and row["time_ns"] - old["time_ns"] <= TENTH_NS:
            chains[old["sequence"]] = chain, row["sequence"], row["group"]
    misses.clear()


def chain_of(miss: Row, hit: Row) -> str | None:
    if miss["policies"] != hit["policies"]:
        return "policy"
    if miss["classes"] and (miss["user"] != hit["user"] or miss["server"] != hit["server"]):
        return "com"
    if miss["wow64"] != hit["wow64"]:
        return "wow64"
    return "hkcu-hklm" if miss["user"] != hit["user"] else None


def plain_errors(capture: Capture, filters: Filters, *, fold: bool) -> list[Row]:
    """Return the answer of `errors`, in order."""
    chains = plain_chains(capture, plain_rows(capture, Filters(process=filters.process, pid=filters.pid)))
    groups: dict[Any, list[tuple[Row, Any]]] = {}
    searches: dict[int, Any] = {}
    for row in plain_rows(capture, filters):
        if not row["failed"]:
            continue
        chain = chains.get(row["sequence"])
        what = tuple(row[name] for name in ("process_id", "group", "folded_value", "operation", "status"))
        if chain and fold:  # all of one search are where it began
            what = searches.setdefault(chain[1], (*what, chain[0], chain[2]))
        groups.setdefault(what, []).append((row, chain))
    shown = dict(zip(*(capture.sql("SELECT key_id, display_path FROM keys")[name] for name in
                       ("key_id", "display_path")), strict=True))  # fmt: skip
    answers = []
    for what, members in groups.items():
        rows = [row for row, _ in members]
        found = [chain for _, chain in members if chain]
        span = max(r["time_ns"] for r in rows) - min(r["time_ns"] for r in rows)
        answers.append(
            {
                "process": rows[0]["process"],
                "pid": rows[0]["pid"],
                "process_id": what[0],
                "operation": what[3],
                "status": what[4],
                "status_name": status_name(what[4]),
                "display_key": shown.get(what[1]),
                "key_id": what[1],
                "value_name": rows[0]["value_name"],
                "failures": len(rows),
                "answered": len(found),
                "harmless": len(found) == len(rows),
                "chain": found[0][0] if found else None,
                "searches": len({chain[1] for chain in found}) or None,
                "keys": len({row["group"] for row in rows} - {None}),
                "resolved_key": shown[found[0][2]] if found else None,
                "resolved_key_id": found[0][2] if found else None,
                "rate_per_s": (len(rows) - 1) * 1e9 / span if len(rows) > 1 and span else None,
                "first_time": min(row["time"] for row in rows),
                "last_time": max(row["time"] for row in rows),
                "first_sequence": rows[0]["sequence"],
                "last_sequence": rows[-1]["sequence"],
            }
        )
    return sorted(answers, key=lambda row: (row["harmless"], -row["failures"], row["first_sequence"]))
