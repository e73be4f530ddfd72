"""docs/cli.md: what its prose says of times, patterns, tables and formats holds for every verb it speaks of."""

import json
import re
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import event, write_events
from small_capture import write_capture
from typer.testing import CliRunner

from cli.app import app
from cli.manual import manual
from cli.output.destination import Output, write_rows

KEY = r"HKLM\SOFTWARE\Vendor"
BYTES, LETTERS = 1000, 1000


@cache
def page() -> str:
    """Return docs/cli.md on one line."""
    return " ".join(manual().split())


def invoke(*words: object, code: int = 0) -> str:
    shown = CliRunner().invoke(app, [str(word) for word in words])
    assert shown.exit_code == code, shown.stderr
    return shown.stdout


def long_values(end: bytes) -> list[dict[str, object]]:
    """Return writes and reads of a long REG_BINARY and a long string, the last byte or letter of each `end`."""
    values = (
        ("b", 3, b"\xab" * BYTES + end),
        ("t", 1, ("q" * LETTERS + end.decode() + "\0").encode("utf-16-le")),
    )
    return [
        event(operation, KEY, name, data=data, data_size=len(data), data_type=kind, **more)
        for name, kind, data in values
        for operation, more in (
            ("SetValueKey", {"previous_data": data, "previous_size": len(data), "previous_type": kind}),
            ("QueryValueKey", {"information_class": 1}),
            ("QueryValueKey", {"information_class": 1}),
        )
    ]


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("long")
    one, other = (write_events(folder / f"{end}.regtrace", long_values(end.encode())) for end in "xy")
    return one, other


@pytest.mark.slow
def test_a_table_shows_no_more_of_a_values_data_than_the_page_says(
    captures: tuple[Path, Path],
) -> None:
    ((letters, few, many),) = re.findall(
        r"more than (\d+) letters, or (\d+) bytes in hex \(`diff`: (\d+)\)", page()
    )
    one, other = captures
    seen = {}
    for verb, *words in (["timeline"], ["history", KEY], ["state"], ["changes"], ["who", KEY, "--each"], ["errors"],
                         ["redundant"], ["diff", other]):  # fmt: skip
        shown = invoke(verb, one, *words, "--wide", code=3 if verb == "diff" else 0)
        seen[verb] = [max(map(len, re.findall(pattern, shown)), default=0) for pattern in ("q+", "(?:ab )+")]
    assert max(count for count, _ in seen.values()) == int(letters) - 1  # a mark says that more was there
    assert all(size // 3 <= int(many if verb == "diff" else few) for verb, (_, size) in seen.items())
    assert seen["timeline"][1] // 3 == int(few)
    assert seen["diff"][1] // 3 == int(many)


@pytest.mark.parametrize("as_stream", [False, True])
def test_headings_of_a_long_table_are_repeated(tmp_path: Path, as_stream: bool) -> None:
    (every,) = re.findall(r"Beyond ([\d,]+) rows the headings are repeated", page())
    count = int(every.replace(",", ""))

    def render(rows: pa.Table, width: int | None) -> list[str]:
        return ["heading", f"{rows.num_rows} rows"]

    for rows, headings in ((count, 1), (count + 1, 2), (3 * count, 3)):
        table = pa.table({"n": pa.array(range(rows))})
        target = tmp_path / f"{rows}.txt"
        write_rows(table.to_reader() if as_stream else table, Output("table", target), render)
        assert target.read_text().count("heading") == headings


def test_a_zone_changes_what_is_shown_and_neither_parquet_nor_what_is_asked_for(
    captures: tuple[Path, Path], tmp_path: Path
) -> None:
    one, _ = captures
    for name, more in (("utc", []), ("berlin", ["--tz", "Europe/Berlin"])):
        invoke("timeline", one, "-o", tmp_path / f"{name}.parquet", *more)
    assert (tmp_path / "utc.parquet").read_bytes() == (tmp_path / "berlin.parquet").read_bytes()
    shown = invoke(
        "timeline", one, "-f", "jsonl", "--tz", "Europe/Berlin", "--from", "2024-05-01T10:00:00.000003"
    )
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [row["time"] for row in rows][:1] == ["2024-05-01T12:00:00.000003+02:00"]
    asked = invoke("timeline", one, "-f", "jsonl", "--from", "2024-05-01T12:00:00.000003+02:00")
    assert [json.loads(line)["sequence"] for line in asked.splitlines()] == [row["sequence"] for row in rows]
    assert [row["time_ns"] % 10**6 for row in rows] == [3000, 4000, 5000]


def test_parquet_is_compressed_with_zstd(captures: tuple[Path, Path], tmp_path: Path) -> None:
    invoke("timeline", captures[0], "-o", tmp_path / "a.pq")
    group = pq.ParquetFile(tmp_path / "a.pq").metadata.row_group(0)
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}


def test_warnings_about_losses_are_shown_to_the_quiet_too(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c.regtrace")
    shown = CliRunner().invoke(app, ["timeline", str(capture), "--quiet"])
    assert shown.exit_code == 0
    assert "warning" in shown.stderr


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [("*", "*.exe"), ("a", "a.exe"), ("[", "[.exe"), ("?", "?.exe")]
    told = [
        event("SetValueKey", KEY, name, data=b"1", data_size=1, data_type=3, process=image)
        for name, image in names
    ]
    return write_events(tmp_path_factory.mktemp("odd") / "odd.regtrace", told)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("[*]", "*"), ("[[]", "["), ("[?]", "?"), ("?", "*a[?"), ("*", "*a[?"), ("a", "a"), ("A", "a")],
)
def test_letters_that_stand_for_others_are_meant_themselves_in_brackets(
    odd_names: Path, pattern: str, names: str
) -> None:
    for words in (["--value", pattern], ["--process", pattern + ".exe"]):
        shown = invoke("timeline", odd_names, "-f", "jsonl", *words)
        assert "".join(json.loads(line)["value_name"] for line in shown.splitlines()) == names
