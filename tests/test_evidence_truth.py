"""What `history`, `state` and `changes` claim of lossy traces, against what the simulated registry really held.

A claim may be wrong only where its row says so: known is unknown, across_loss is true, the row has a flag of doubt,
a change is unclear, or nothing is claimed at all. The truth holds the operations that got lost, too.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import regtrace as rt
from analysis.capture import Capture
from analysis.open import open_capture
from tracer.registry.text import fold_name
from tracer.schema import FLAGS

Row = dict[str, Any]
DOUBT = FLAGS["across_loss"] | FLAGS["name_ambiguous"]
MISSING = (0xC0000034, 0xC000003A)
# Few keys, so that a lost or misnamed change is often one of a key that somebody asks about.
OPTIONS: dict[str, Any] = {
    "events": 3000, "keys": 20, "gap_us": 500.0, "processes": 4, "cpus": 1, "lost_buffers": 0.04, "buffer_size": 8192,
    "reuse": 1.0, "option_word": 2,
}  # fmt: skip
ABSENT, PRESENT = "absent", "present"


@dataclass
class Story:
    """What happened to one key or value: what it was from each event on, and what the first events say of before."""

    numbers: list[int] = field(default_factory=list)
    contents: list[Any] = field(default_factory=list)  # ABSENT, PRESENT (with any data) or the data
    first: Any = None

    def tell(self, number: int, content: Any) -> None:
        self.numbers.append(number)
        self.contents.append(content)

    def before(self, number: int) -> Any:
        """Return what it was right before an event; None where the truth does not say."""
        place = bisect_right(self.numbers, number - 1)
        return self.contents[place - 1] if place else self.first


class Truth:
    """The registry as it was, from the truth beside a trace."""

    def __init__(self, trace: Path) -> None:
        self.rows: list[Row] = pq.read_table(trace.with_suffix(".truth.parquet")).to_pylist()
        self.values: dict[tuple[str, str], Story] = defaultdict(Story)
        self.keys: dict[str, Story] = defaultdict(Story)
        self.targets: dict[str, str] = {}
        self.number_at = {row["record_offset"]: row["number"] for row in self.rows if not row["lost"]}
        self.times = [row["time_ns"] for row in self.rows]
        below: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            path = fold_name(row["path"] or "")
            self.targets[fold_name(row["spelled_path"] or "")] = path
            self.targets[path] = path
            self._tell(row, path, below[path])

    def _tell(self, row: Row, path: str, values: set[str]) -> None:
        operation, status, number = row["operation"], row["status"], row["number"]
        done, key = status < 0x80000000, self.keys[path]
        if operation in ("SetValueKey", "DeleteValueKey", "QueryValueKey") and row["value_name"] is not None:
            name = fold_name(row["value_name"])
            values.add(name)
            value = self.values[path, name]
            if operation == "SetValueKey" and done:
                self._first(value, ABSENT if row["previous_data"] is None else row["previous_data"])
                value.tell(number, row["data"] if row["data"] is not None else PRESENT)
            elif operation == "DeleteValueKey" and done:
                self._first(value, PRESENT)
                value.tell(number, ABSENT)
            elif operation == "QueryValueKey" and (done or status in MISSING):
                self._first(value, PRESENT if done else ABSENT)
        if operation == "DeleteKey" and done:
            self._first(key, PRESENT)
            key.tell(number, ABSENT)
            for name in values:
                self.values[path, name].tell(number, ABSENT)
        elif operation in ("OpenKey", "CreateKey") and status == 0:
            if operation == "OpenKey":
                self._first(key, PRESENT)
            key.tell(number, PRESENT)
        elif operation in ("OpenKey", "CreateKey") and status in MISSING:
            self._first(key, ABSENT)
            key.tell(number, ABSENT)

    def _first(self, story: Story, content: Any) -> None:
        if story.first is None and not story.numbers:
            story.first = content

    def contradicts(
        self, path: str, value: str | None, number: int, claim: str, data: bytes | None
    ) -> bool | None:
        """Tell whether a claim about a time is wrong; None where the truth does not say.

        Args:
            path: native path.
            value: its name; None: the key itself is claimed about.
            number: the truth's event right before which it is claimed.
            claim: absent or present.
            data: as claimed, perhaps cut; None: nothing is claimed of it.
        """
        target = self.targets.get(fold_name(path))
        if target is None:
            return None
        story = self.keys[target] if value is None else self.values.get((target, fold_name(value)))
        held = None if story is None else story.before(number)
        if held is None:
            return None
        if claim == ABSENT or held == ABSENT:
            return (claim == ABSENT) != (held == ABSENT)
        if data is None or held == PRESENT:
            return False
        return bool(held[: len(data)] != data)


@dataclass
class Lossy:
    """One lossy trace: the capture, and the truth."""

    capture: Capture
    truth: Truth

    @cached_property
    def number_of(self) -> dict[int, int]:
        rows = self.capture.sql("SELECT sequence, record_offset FROM events")
        pairs = zip(map(int, rows["sequence"]), map(int, rows["record_offset"]), strict=True)
        return {sequence: self.truth.number_at[offset] for sequence, offset in pairs}

    @cached_property
    def path_of(self) -> dict[int, str]:
        keys = self.capture.sql("SELECT key_id, path FROM keys")
        return dict(zip(map(int, keys["key_id"]), keys["path"], strict=True))

    def moments(self) -> list[int]:
        """Return some times (UTC nanoseconds) between events."""
        times = self.truth.times
        return [times[len(times) * part // 8] for part in (3, 6)] + [times[-1]]

    def since_start(self, moment: int) -> str:
        first_ns, _ = self.capture.span() or (0, 0)
        return f"+{moment - first_ns}ns"

    def number_after(self, time_ns: int) -> int:
        return bisect_right(self.truth.times, time_ns)


@pytest.fixture(scope="module", params=[1, 4])
def lossy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lossy]:
    folder = tmp_path_factory.mktemp("lossy")
    rt.simulate(folder / "a.etl", rt.SimulationOptions(**OPTIONS, seed=request.param))
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    with open_capture(folder / "a.regtrace", memory_limit="512MB", threads=2) as capture:
        yield Lossy(capture, Truth(folder / "a.etl"))


def rows_of(frame: Any) -> list[Row]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def check(verdicts: Iterator[tuple[bool | None, Row]], *, least: int) -> None:
    judged = [(wrong, row) for wrong, row in verdicts if wrong is not None]
    assert [row for wrong, row in judged if wrong] == []
    assert len(judged) >= least  # so that something was claimed, and judged


def claim(word: str) -> str:
    return ABSENT if word in ("absent", "deleted") else PRESENT


@pytest.mark.slow
def test_no_state_is_claimed_that_was_not_so(lossy: Lossy) -> None:
    def verdicts() -> Iterator[tuple[bool | None, Row]]:
        for moment in lossy.moments():
            for row in rows_of(lossy.capture.state(at=lossy.since_start(moment))):
                if row["known"] == "unknown":
                    continue
                path, number = lossy.path_of[row["key_id"]], lossy.number_after(moment)
                yield (
                    lossy.truth.contradicts(
                        path, row["value_name"], number, claim(row["known"]), row["data"]
                    ),
                    row,
                )

    check(verdicts(), least=20)


@pytest.mark.slow
def test_no_history_is_claimed_that_was_not_so(lossy: Lossy) -> None:
    def verdicts() -> Iterator[tuple[bool | None, Row]]:
        for row in rows_of(lossy.capture.history("**")):
            if row["old_from"] is None or row["across_loss"] or row["flags"] & DOUBT:
                continue
            path, number = lossy.path_of[row["key_id"]], lossy.number_of[row["sequence"]]
            yield (
                lossy.truth.contradicts(
                    path, row["value_name"], number, claim(row["old_from"]), row["old_data"]
                ),
                row,
            )

    check(verdicts(), least=20)


@pytest.mark.slow
def test_no_change_is_claimed_that_was_not_so(lossy: Lossy) -> None:
    def verdicts() -> Iterator[tuple[bool | None, Row]]:
        for moment in lossy.moments()[:1]:
            for row in rows_of(lossy.capture.changes(start=lossy.since_start(moment))):
                path, value = lossy.path_of[row["key_id"]], row["value_name"]
                of_value = value is not None
                if of_value and row["before_from"] is not None:
                    number = lossy.number_of[row["first_sequence"]]
                    said = claim(row["before_from"])
                    yield lossy.truth.contradicts(path, value, number, said, row["before_data"]), row
                if row["change"] != "unclear":
                    gone = row["change"] in ("removed", "deleted", "renamed")
                    said, data = (ABSENT, None) if gone else (PRESENT, row["after_data"])
                    yield lossy.truth.contradicts(path, value, len(lossy.truth.rows), said, data), row

    check(verdicts(), least=3)
