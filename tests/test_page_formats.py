"""docs/formats.md: each row of its table of damage is made, ingested, and seen in the capture; its numbers are the code's."""

import re
import struct
from pathlib import Path

import pml_writer as pml
import pytest
import raw_etl as raw
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from cli.exits import Exit
from tracer.diagnostics import COUNTERS
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.schema import FLAGS
from tracer.simulate.xpress import compress

PAGE = (Path(__file__).parents[1] / "docs/formats.md").read_text(encoding="utf-8")
STAMP = raw.FIRST_STAMP
FLAGGED = raw.PROC_INDEX


def write(
    number: int, name: str = "v", *, stamp: int | None = None, payload_bytes: int | None = None
) -> bytes:
    """Return a SetValueKey of the value `name`, of data `number`; cut to `payload_bytes`."""
    texts = b"\0\0" + name.encode("utf-16-le") + b"\0\0"
    payload = struct.pack("<QIII", 0x7000, 0, 4, 4) + texts + struct.pack("<HIIIH", 4, number, 0, 0, 0)
    stamp = STAMP + 100 * number if stamp is None else stamp
    return raw.event(5, stamp, payload[:payload_bytes], guid=KERNEL_REGISTRY, version=0)


def buffer(number: int, *records: bytes, **more: int) -> bytes:
    """Return the buffer of a number; without records it has one write of that number."""
    more = {"sequence": number, "flushed": STAMP + 100 * number + 50} | more
    return raw.buffer(*(records or (write(number),)), **more)  # type: ignore[arg-type]


def trace(*buffers: bytes, **header: int) -> bytes:
    return raw.etl(*buffers, header=raw.logfile_record(**header))


def badly_compressed() -> bytes:
    stored = compress(raw.pad(write(2)))
    return raw.buffer(write(2), stored=stored[: len(stored) // 2], sequence=2, flushed=STAMP + 250)


def with_bad_record() -> bytes:
    wrong = bytearray(write(2))
    struct.pack_into("<H", wrong, 0, 9)  # smaller than any header
    return buffer(2, bytes(wrong), write(3))


def unreadable_items() -> bytes:
    """Return a write whose extended items do not fit its size: nothing says where its payload begins."""
    wrong = struct.pack("<HHHH", 0xFFFF, 1, 1, 8) + bytes(8)
    return raw.event(5, STAMP + 200, items=wrong, guid=KERNEL_REGISTRY, version=0)


def bad_event(**wrong: int) -> bytes:
    """Return a log whose second event makes no sense: a time in 1601, or an operation nobody knows."""
    made = pml.write_log(
        [pml.value_set("HKLM\\SOFTWARE\\v", bytes([n, 0, 0, 0]), kind=4, time=n) for n in (1, 2, 3)]
    )
    content = bytearray(made.raw)
    if "time" in wrong:
        struct.pack_into("<Q", content, made.offsets[1] + 28, wrong["time"])
    else:
        struct.pack_into("<H", content, made.offsets[1] + 12, wrong["operation"])
    return bytes(content)


def log(*, cut: bool) -> bytes:
    made = pml.write_log(
        [pml.value_set("HKLM\\SOFTWARE\\v", bytes([n, 0, 0, 0]), kind=4, time=n) for n in (1, 2, 3)]
    )
    content = bytearray(made.raw)
    if not cut:
        struct.pack_into("<Q", content, 0x258, len(content) + 99)  # the table of strings lies behind the end
    return bytes(content[: made.offsets[2] + 20] if cut else content)


NOTHING, DETAILS, OPERATIONS = range(3)  # what is missing
# counter: (ending, content, numbers written by the rows that are kept, what is missing)
DAMAGE: dict[str, tuple[str, bytes, list[int], int]] = {
    "cut_buffer": (
        "etl",
        trace(buffer(1), buffer(2, write(2), write(3)))[: -1024 + 72 + 160],
        [1, 2],
        OPERATIONS,
    ),
    "bad_buffer": ("etl", trace(buffer(1), b"\xde\xad\xbe\xef" * 256, buffer(3)), [1, 3], OPERATIONS),
    "bad_compression": ("etl", trace(buffer(1), badly_compressed(), buffer(3)), [1, 3], OPERATIONS),
    "bad_record": ("etl", trace(buffer(1), with_bad_record(), buffer(4)), [1, 4], OPERATIONS),
    "short_payload": (
        "etl",
        trace(buffer(1, write(1), write(2, payload_bytes=10), write(3))),
        [1, 3],
        OPERATIONS,
    ),
    "odd_payload": (
        "etl",
        trace(buffer(1, write(1), write(2, payload_bytes=24), write(3))),
        [1, -1, 3],
        DETAILS,
    ),
    "unfinalised_file": ("etl", trace(buffer(1), end=0, cpus=1), [1], OPERATIONS),
    "zero_tail": ("etl", trace(buffer(1)) + bytes(4096), [1], NOTHING),
    "buffer_lost_flag": (
        "etl",
        trace(buffer(1), buffer(2, flags=FLAGGED | raw.BUFFER_LOST)),
        [1, 2],
        OPERATIONS,
    ),
    "events_lost_flag": (
        "etl",
        trace(buffer(1), buffer(2, flags=FLAGGED | raw.EVENTS_LOST)),
        [1, 2],
        OPERATIONS,
    ),
    "header_buffers_lost": ("etl", trace(buffer(1), buffers_lost=2), [1], OPERATIONS),
    "header_events_lost": ("etl", trace(buffer(1), events_lost=2), [1], OPERATIONS),
    "time_backwards": ("etl", trace(buffer(1, write(2), write(1), write(3))), [1, 2, 3], NOTHING),
    "clock_set_back": (
        "etl",
        trace(
            buffer(
                1, *(write(n, stamp=raw.START_FILETIME + at) for n, at in ((1, 36_000_000), (2, 9), (3, 12)))
            ),
            clock=2,
            stamp=raw.START_FILETIME,
        ),
        [1, 2, 3],
        NOTHING,
    ),
    "odd_extended_items": (
        "etl",
        trace(buffer(1, write(1), unreadable_items(), write(3))),
        [1, 3],
        OPERATIONS,
    ),
    "pml_bad_event": ("pml", bad_event(time=3), [1, 3], OPERATIONS),
    "pml_unknown_operation": ("pml", bad_event(operation=40), [1, 3], OPERATIONS),
    "pml_cut": ("pml", log(cut=True), [1, 2], OPERATIONS),
    "pml_bad_table": ("pml", log(cut=False), [1, 2, 3], DETAILS),
}


def rows_of_damage() -> list[tuple[str, str]]:
    """Return (treatment, counter) of each row of the page's table of damage."""
    table = PAGE[PAGE.index("## Damage") :]
    table = table[: table.index("\n\n", table.index("| --- |"))]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    return [(row[1], counter) for row in cells for counter in re.findall(r"`(\w+)`", row[2])]


def test_every_row_of_the_table_of_damage_is_made_here() -> None:
    assert sorted(counter for _, counter in rows_of_damage()) == sorted(DAMAGE)


@pytest.mark.parametrize("counter", DAMAGE)
def test_damage_is_no_error_what_can_be_read_is_kept_and_the_rest_is_said(
    tmp_path: Path, counter: str
) -> None:
    ending, content, kept, missing = DAMAGE[counter]
    source = tmp_path / f"a.{ending}"
    source.write_bytes(content)
    manifest = rt.ingest(source, tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture:
        data = capture.sql("SELECT data FROM events WHERE operation = 'SetValueKey' ORDER BY sequence")[
            "data"
        ]
        odd = capture.sql("SELECT * FROM diagnostics").set_index("name")
        lost = capture.sql("SELECT kind FROM losses WHERE kind <> 'clock'")
    assert [-1 if one is None else int.from_bytes(one, "little") for one in data] == kept
    row = odd.loc[counter]
    assert (row["severity"], row["meaning"]) == (COUNTERS[counter].severity, COUNTERS[counter].meaning)
    assert row["count"] >= 1
    assert manifest.complete == (missing == NOTHING)
    assert (len(lost) > 0) == (missing == OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [write(2, payload_bytes=10), unreadable_items()], ids=["short", "items"])
def test_a_record_that_cannot_be_read_is_a_loss_at_its_time_and_names_from_before_it_are_doubtful(
    tmp_path: Path, hidden: bytes
) -> None:
    texts = b"\0\0" + "\\REGISTRY\\MACHINE\\A".encode("utf-16-le") + b"\0\0"
    opened = raw.event(
        2, STAMP + 50, struct.pack("<QQII", 0, 0x7000, 0, 0) + texts, guid=KERNEL_REGISTRY, version=0
    )
    (tmp_path / "a.etl").write_bytes(trace(buffer(1, opened, write(1), hidden, write(3))))
    assert not rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace").complete
    with rt.open(tmp_path / "a.regtrace") as capture:
        flags = capture.sql("SELECT flags FROM events WHERE operation = 'SetValueKey' ORDER BY sequence")[
            "flags"
        ]
        losses = capture.sql("SELECT kind, from_ns, to_ns FROM losses")
        known = capture.state(key="HKLM\\A", value="v")["known"].tolist()
    at = raw.START_NS + 20_000
    assert losses.values.tolist() == [["damage", at, at]]
    assert [bool(flag & FLAGS["across_loss"]) for flag in flags] == [False, True]
    # What was written since may be another key's: the hidden record may be the close of this one.
    assert known == ["unknown"]


def test_events_of_a_log_that_cannot_be_read_could_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.pml").write_bytes(DAMAGE["pml_bad_event"][1])
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture:
        losses = capture.sql("SELECT kind, from_ns, to_ns, evidence FROM losses")
        known = capture.state(key="HKLM\\SOFTWARE", value="v")["known"].tolist()
    assert losses[["from_ns", "to_ns"]].isna().all(axis=None)
    assert "cannot be read" in losses["evidence"][0]
    assert known == ["unknown"]


@pytest.mark.slow
@pytest.mark.parametrize(("counter", "code"), [("bad_buffer", Exit.LOSS), ("zero_tail", Exit.OK)])
def test_every_verb_warns_of_an_incomplete_capture_and_says_so_in_the_exit_code_where_asked(
    tmp_path: Path, counter: str, code: Exit
) -> None:
    source, target = tmp_path / "a.etl", tmp_path / "a.regtrace"
    source.write_bytes(DAMAGE[counter][1])
    rt.ingest(source, target)
    verbs: list[list[str]] = [
        ["timeline"], ["keys"], ["hot"], ["errors"], ["tree"], ["state"], ["changes"], ["redundant"], ["handles"],
    ]  # fmt: skip
    for verb, *more in verbs if code == Exit.LOSS else verbs[:1]:
        shown = CliRunner().invoke(app, [verb, str(target), *more, "--fail-on-loss", "-f", "jsonl"])
        assert shown.exit_code == code, (verb, shown.stderr)
        assert ("incomplete" in shown.stderr or "lost" in shown.stderr) == (code == Exit.LOSS), (
            verb,
            shown.stderr,
        )
