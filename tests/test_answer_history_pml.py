"""History and state of a real Procmon log, against a loop over the CSV that Procmon itself wrote of it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from procmon_oracle import csv_rows, csv_time_ns, procmon_key

import regtrace as rt
from analysis.capture import Capture
from tracer.registry.text import fold_name
from tracer.registry.values import type_name

Row = dict[str, Any]
LOG = "pml/pp-LogfileTests64bitUTC"
TOLD = re.compile(r"Type: (\S+|<Unknown: \d+>), Length: ([\d,]+)")
NAMED = re.compile(r"Index: [\d,]+, Name: (.*), Type: (\S+|<Unknown: \d+>), Length: ([\d,]+)", re.DOTALL)
CHANGES = ("RegSetValue", "RegDeleteValue")
MISSING = ("NAME NOT FOUND", "PATH NOT FOUND")


@dataclass
class Entry:
    """One line of the CSV; `word` is what it says of a value, NULL where it says nothing."""

    time_ns: int
    operation: str
    word: str | None
    content: tuple[str, str] | None  # type and length
    process: str
    result: str


@pytest.fixture(scope="module")
def lines(corpus: Path) -> dict[str, list[Entry]]:
    """The lines of the CSV by folded path, those of enumerated values by the value's."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for line in sorted(csv_rows(corpus / f"{LOG}.csv.gz"), key=csv_time_ns):
        path, entry = line["Path"], entry_of(line)
        named = NAMED.match(line["Detail"]) if line["Operation"] == "RegEnumValue" else None
        if named:
            path, entry.content = f"{path}\\{named[1] or '(Default)'}", (named[2], named[3].replace(",", ""))
            entry.word = "read"
        found[fold_name(path)].append(entry)
    return found


def entry_of(line: dict[str, str]) -> Entry:
    operation, result, told = line["Operation"], line["Result"], TOLD.match(line["Detail"])
    word = None
    if operation == "RegSetValue" and result == "SUCCESS":
        word = "write"
    elif operation == "RegDeleteValue" and result == "SUCCESS":
        word = "deleted"
    elif operation in ("RegQueryValue", "RegDeleteValue") and result == "NAME NOT FOUND":
        word = "absent"
    elif operation == "RegQueryValue" and result == "SUCCESS" and told:
        word = "read"
    elif operation == "RegQueryValue" and result in ("SUCCESS", "BUFFER OVERFLOW", "BUFFER TOO SMALL"):
        word = "seen"
    elif operation in ("RegOpenKey", "RegCreateKey") and (
        result in MISSING or "REG_CREATED_NEW_KEY" in line["Detail"]
    ):
        word = "key absent"
    elif operation == "RegDeleteKey" and result == "SUCCESS":
        word = "key deleted"
    content = (told[1], told[2].replace(",", "")) if told else None
    return Entry(csv_time_ns(line), operation, word, content, line["Process Name"], result)


@pytest.fixture(scope="module")
def capture(procmon_capture: Path) -> Iterator[Capture]:
    with rt.open(procmon_capture) as opened:
        yield opened


@pytest.fixture(scope="module")
def sid(capture: Capture) -> str:
    keys = capture.sql("SELECT path FROM keys WHERE regexp_matches(path, '(?i)^.REGISTRY.USER.S-1-5-21-')")
    return Counter(re.split(r"[\\_]", path)[3] for path in keys["path"]).most_common(1)[0][0]


def places(row: Row, sid: str) -> tuple[str, str]:
    """Return the folded paths of a value and of its key, as Procmon shows them."""
    key = fold_name(procmon_key(row["key"], sid))
    return f"{key}\\{fold_name(row['value_name'] or '(Default)')}", key


def is_of_key(entry: Entry) -> bool:
    """Tell whether a line is about a key: a value can have the same path."""
    return (entry.word or "").startswith("key ")


def follow(
    lines: dict[str, list[Entry]], place: str, key: str
) -> Iterator[tuple[Entry | None, str | None, tuple[str, str] | None]]:
    """Yield each line about a value with what was known before it; at last None with what was known then."""
    word, content = None, None
    entries = [entry for entry in lines.get(place, []) if not is_of_key(entry)]
    entries += [entry for entry in lines.get(key, []) if is_of_key(entry)]
    for entry in sorted(entries, key=lambda entry: entry.time_ns):
        yield entry, word, content
        if entry.word in ("key absent", "key deleted"):
            word, content = entry.word.removeprefix("key "), None
        elif entry.word == "seen" and word not in ("write", "read"):
            word, content = "read", None
        elif entry.word in ("write", "read", "absent", "deleted"):
            word, content = entry.word, entry.content
    yield None, word, content


def content_of(row: Row, side: str = "") -> tuple[str, str] | None:
    kind, size = row[f"{side}type"], row[f"{side}size"]
    if size is None:
        return None
    name = type_name(kind)
    return f"<Unknown: {kind}>" if name.startswith("0x") else name, str(size)


def plain(frame: Any) -> list[Row]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


@pytest.mark.slow
@pytest.mark.parametrize("after_ns", [None, 1_500_000_000, 3_000_000_000])
def test_the_state_of_every_value_is_what_the_csv_says(
    capture: Capture, lines: dict[str, list[Entry]], sid: str, after_ns: int | None
) -> None:
    first_ns, last_ns = capture.span() or (0, 0)
    until_ns = last_ns if after_ns is None else first_ns + after_ns
    found = plain(capture.state(at=None if after_ns is None else f"+{after_ns}ns", value="*"))
    assert len(found) >= 500
    for row in found:
        steps = follow(lines, *places(row, sid))
        word, content = next(
            (word, content) for entry, word, content in steps if entry is None or entry.time_ns > until_ns
        )
        assert (row["known"], row["lost_since"]) == (word, False), places(row, sid)
        assert content is None or content_of(row) == content, places(row, sid)
    wanted = {
        place
        for place, entries in lines.items()
        if any(
            e.word in ("write", "read", "seen", "absent", "deleted") and e.time_ns <= until_ns
            for e in entries
        )
    }
    assert {places(row, sid)[0] for row in found} == wanted


@pytest.mark.slow
def test_the_history_of_every_value_is_what_the_csv_says(
    capture: Capture, lines: dict[str, list[Entry]], sid: str
) -> None:
    found: dict[str, list[Row]] = defaultdict(list)
    paths = dict(capture.sql("SELECT key_id, path FROM keys").itertuples(index=False))
    for row in plain(capture.history("**")):
        row["key"] = paths[row["key_id"]]
        found[places(row, sid)[0]].append(row)
    times = dict(capture.sql("SELECT sequence, time_ns FROM stored_events").itertuples(index=False))
    told = new_keys = 0
    for place, rows in found.items():
        key = places(rows[0], sid)[1]
        steps = [step for step in follow(lines, place, key) if step[0] and step[0].operation in CHANGES]
        for row, (entry, word, content) in zip(
            [row for row in rows if row["operation"] != "DeleteKey"], steps, strict=True
        ):
            assert entry is not None
            told += 1
            assert row["process"] == entry.process
            assert row["done"] == (entry.result == "SUCCESS")
            if word is None and row["old_from"] == "absent" and entry.word != "absent":
                # The key was made then, which Procmon writes to the CSV for few creates.
                made_ns = times[row["old_sequence"]]
                made = [e for e in lines[key] if e.time_ns == made_ns and e.operation == "RegCreateKey"]
                assert [e.result for e in made] == ["SUCCESS"]
                new_keys += 1
            elif entry.word != "absent":
                assert row["old_from"] == ("absent" if word == "deleted" else word)
                assert content is None or content_of(row, "old_") == content
            assert entry.operation == "RegDeleteValue" or content_of(row, "new_") == entry.content
    assert told == sum(e.operation in CHANGES for entries in lines.values() for e in entries) >= 90
    assert 0 < new_keys < told // 4
