"""Logs as text: JSON in any layout, encodings, times, and where a value's path ends."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.diagnostics import Diagnostics
from tracer.errors import UsageError
from tracer.logs import json_engine
from tracer.logs.field_paths import EVENT_FIELDS, read_fields
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import json_texts
from tracer.logs.utf8 import read_utf8
from tracer.named.targets import KnownKeys, Targets
from tracer.named.times import parse_times
from tracer.registry.text import escape_name
from tracer.resolve.tree import KeyTree

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(st.text(max_size=6), values, max_size=4), min_size=1, max_size=6)


def pieces(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def read(text: bytes, size: int) -> list[Any]:
    """Return the objects, each read from where it is said to begin."""
    found = []
    for batch in json_texts(pieces(text, size), Diagnostics()):
        for one, offset in zip(batch.texts.to_pylist(), batch.offsets.tolist(), strict=True):
            found.append(json.loads(one))
            assert json.JSONDecoder().raw_decode(text[offset:].decode())[0] == found[-1]
    return found


@given(objects, st.integers(1, 200), st.booleans())
def test_json_lines_are_cut_into_their_objects(records: list[Any], size: int, ascii_: bool) -> None:
    text = "\n".join(json.dumps(record, ensure_ascii=ascii_) for record in records).encode(errors="replace")
    assert read(text, size) == [json.loads(line) for line in text.splitlines() if line.strip()]


@given(objects, st.integers(1, 200), st.sampled_from([None, 0, 2]), st.booleans())
def test_arrays_and_objects_over_many_lines(
    records: list[Any], size: int, indent: int | None, is_array: bool
) -> None:
    if is_array:
        text = json.dumps(records, indent=indent)
    else:
        text = "Record 1\n" + "\nRecord 2\n".join(json.dumps(record, indent=indent) for record in records)
    assert read(text.encode(), size) == records


@settings(max_examples=40)  # each opens a parser
@given(objects, st.data())
def test_a_cut_or_broken_line_spoils_no_other(records: list[Any], data: st.DataObject) -> None:
    lines = [json.dumps(record) for record in records]
    broken = data.draw(st.integers(0, len(lines)))
    text = [*lines[:broken], '{"a": "cut', *lines[broken:]]
    diagnostics = Diagnostics()
    fields = JsonFields({"a": ("a",)}, diagnostics)
    whole = [
        row
        for batch in json_texts([("{}\n" + "\n".join(text)).encode()], diagnostics)
        for row in fields.table(batch)["offset"].to_pylist()
    ]
    fields.close()
    assert len(whole) == len(records) + 1
    assert diagnostics["log_bad_record"] == 1


@given(
    st.text(st.characters(), max_size=20),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    st.integers(1, 9),
)
def test_texts_in_any_encoding(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str, size: int
) -> None:
    text = text.encode("utf-8", "replace").decode() * size
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path = tmp_path_factory.mktemp("text") / "log"
    path.write_bytes(mark + text.encode(encoding))
    diagnostics = Diagnostics()
    whole = b"".join(read_utf8(path, diagnostics)).decode()
    expected = text.removeprefix("\ufeff") if encoding == "utf-8" else text
    assert whole == expected
    assert bool(diagnostics["log_bad_text"]) == ("\ufffd" in text and encoding.startswith("utf-16"))


def test_a_lone_surrogate_in_a_name_and_a_number_that_is_none_spoil_no_record() -> None:
    diagnostics = Diagnostics()
    fields = JsonFields({"a": ("a",)}, diagnostics)
    lines = [r'{"a": "1", "\ud800": 1}', r'{"a": "\ud800", "b": NaN}', '{"a": "2"}']
    rows = [
        row
        for batch in json_texts(["\n".join(lines).encode()], diagnostics)
        for row in fields.table(batch)["a"].to_pylist()
    ]
    fields.close()
    assert rows == ["1", "2"]
    assert diagnostics["log_bad_record"] == 1


def test_a_text_that_looks_escaped_is_escaped_however_json_spells_it() -> None:
    names = ["<U+0041>", "a\0b", "<b>", "plain", ""]
    fields = JsonFields({"a": ("a",)}, Diagnostics())
    lines = [json.dumps({"a": name}).replace("<", "\\u003c") for name in names] + ['{"b": "<U+0041>"}']
    rows = fields.table(next(json_texts(["\n".join([*lines, ""]).encode()], Diagnostics())))["a"].to_pylist()
    fields.close()
    assert rows == [*map(escape_name, names), None]


def test_a_field_with_a_condition_is_there_where_the_condition_holds() -> None:
    fields = JsonFields(
        {"a": ("a",), "b": ("b", "x.b"), "c": ("c",)}, Diagnostics(), {"b": "a = '1' AND c IS NULL"}
    )
    records = [{"a": 1, "b": "one"}, {"a": 2, "b": "two"}, {"a": 1, "x": {"b": "deep"}}, {"b": "none"}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    rows = fields.table(next(json_texts([lines.encode()], Diagnostics())))
    fields.close()
    assert rows.column_names == ["a", "b", "c", "offset"]
    assert rows["b"].to_pylist() == ["one", None, "deep", None]


def fields_of(records: list[Any], paths: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Return the fields of some JSON texts, by an engine that others used before."""
    with closing(JsonFields(paths, Diagnostics())) as parser:
        (batch,) = json_texts(["\n".join(records).encode() + b"\n"], Diagnostics())
        return parser.table(batch).to_pylist()


@pytest.mark.parametrize("prepares", [True, False])
def test_an_engine_answers_about_every_log_that_uses_it_after_another(
    prepares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if prepares and not json_engine._PREPARES:
        pytest.skip("this DuckDB reads a registered object once")
    monkeypatch.setattr(json_engine, "_PREPARES", prepares)
    monkeypatch.setattr(json_engine, "_idle", [])
    monkeypatch.setattr(json_engine, "_MOST_PREPARED", 4)
    paths = {"a": ("a", "x.a"), "b": ("b",)}
    for number in range(6):
        assert fields_of([f'{{"a": {number}, "b{number}": 1}}'], paths) == [
            {"a": str(number), "b": None, "offset": 0}
        ]
        assert fields_of(["{no json}", f'{{"x": {{"a": "{number}"}}}}'], paths) == [
            {"a": str(number), "b": None, "offset": 10}
        ]
        assert fields_of([f'{{"b": {number}}}'] * 600, paths)[-1]["b"] == str(number)
        other = {f"f{number}": (f"b{number}", "b"), "a": ("a",)}
        assert fields_of([f'{{"b{number}": "y"}}'], other) == [{f"f{number}": "y", "a": None, "offset": 0}]
    assert len(json_engine._idle) == 1


def test_bytes_of_a_code_page_are_read_and_counted(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes('{"a": "Größe"}'.encode("cp1252"))
    diagnostics = Diagnostics()
    assert b"".join(read_utf8(tmp_path / "log", diagnostics)).decode() == '{"a": "Größe"}'
    assert list(diagnostics) == [("log_bad_text", 1, 9)]


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c.d"]),
        st.text(max_size=9) | st.integers() | st.dictionaries(st.just("d"), st.text(max_size=5), max_size=1),
    )
)
def test_fields_are_the_first_path_that_is_there(record: dict[str, Any]) -> None:
    fields = JsonFields({"x": ("b", "c.d", "a")}, Diagnostics())
    batch = next(json_texts([json.dumps(record).encode() + b"\n"], Diagnostics()))
    text = fields.table(batch)["x"].to_pylist()[0]
    fields.close()
    value = record.get("b", record.get("c.d", record.get("a")))
    if value is None or isinstance(value, dict):
        assert text is None or json.loads(text) == value
    else:
        assert text == escape_name(str(value))


def test_the_file_of_fields(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('[fields]\nTargetObject = "my.path"\nEventID = ["a", "b.c"]\n')
    assert read_fields(tmp_path / "f.toml", EVENT_FIELDS) == {
        "TargetObject": ("my.path",),
        "EventID": ("a", "b.c"),
    }
    for text, sentence in (
        ("x = [", "cannot be read as TOML"),
        ("a = 1", r"has no table \[fields\]"),
        ('[fields]\nTarget = "x"', "there is no field 'Target'; the fields are AccessList"),
        ("[fields]\nEventID = 5", "the field 'EventID' needs a path"),
        ("[fields]\nEventID = 'a\"b'", "the field 'EventID' needs a path"),
    ):
        (tmp_path / "f.toml").write_text(text)
        with pytest.raises(UsageError, match=sentence):
            read_fields(tmp_path / "f.toml", EVENT_FIELDS)
    with pytest.raises(UsageError, match="cannot be read"):
        read_fields(tmp_path / "none.toml", EVENT_FIELDS)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from(["", "Z", "+00:00", "-05:30", "+0200"]),
    st.sampled_from([" ", "T"]),
    st.integers(0, 6),
)
def test_times_equal_datetimes_own(time: datetime, zone: str, between: str, digits: int) -> None:
    time = time.replace(microsecond=time.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits))
    fraction = f".{time.microsecond:06}"[: digits + 1] if digits else ""
    text = f"{time:%Y-%m-%d}{between}{time:%H:%M:%S}{fraction}{zone}"
    hours = {"": 0, "Z": 0, "+00:00": 0, "-05:30": -5.5, "+0200": 2}[zone]
    exact = time.replace(tzinfo=timezone(timedelta(hours=hours))) - datetime(1970, 1, 1, tzinfo=UTC)
    ns, known = parse_times(pa.array([text]))
    assert known.all()
    assert ns[0] == exact // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-02-30 01:02:03",
        "2024-01-01 25:00:00",
        "2024-01-01",
        "9999-01-01 00:00:00",
        "1/2/2024 3:04:05",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert not parse_times(pa.array([text]))[1].any()


def test_times_of_powershell_and_what_is_null() -> None:
    ns, known = parse_times(pa.array(["/Date(1714979289300)/", None, "2024-05-06T07:08:09,5Z"]))
    assert known.tolist() == [True, False, True]
    assert ns.tolist()[::2] == [1714979289300000000, 1714979289500000000]


KEY = r"\REGISTRY\MACHINE\SOFTWARE\Vendor"


@pytest.mark.parametrize(
    ("path", "keys", "complete", "right"),
    [
        (r"HKLM\SOFTWARE\Vendor\v", [KEY], None, (KEY, "v", True)),
        (r"HKLM\software\VENDOR\v", [KEY], None, (r"\REGISTRY\MACHINE\software\VENDOR", "v", True)),
        (r"HKLM\SOFTWARE\Vendor\v", [KEY + r"\Below"], None, (KEY, "v", True)),
        (r"HKLM\SOFTWARE\Vendor\v", [], None, (KEY, "v", False)),
        (r"HKLM\SOFTWARE\Vendor\a\b", [KEY], None, (KEY + r"\a", "b", False)),
        (r"HKLM\SOFTWARE\Vendor\a\b", [KEY], KEY, (KEY, r"a\b", False)),
        (r"HKLM\SOFTWARE\Vendor\a\b", [KEY + r"\a"], KEY, (KEY + r"\a", "b", True)),
        (r"HKLM\SOFTWARE\Vendor\\Device\x", [], None, (KEY, r"\Device\x", True)),
        (r"HKLM\SOFTWARE\Vendor\C:\x\y.exe", [], None, (KEY, r"C:\x\y.exe", False)),
        (r"HKLM\SOFTWARE\Vendor\@%SystemRoot%\y.dll,-1", [], None, (KEY, r"@%SystemRoot%\y.dll,-1", False)),
        (r"HKLM\SOFTWARE\Vendor\(Default)", [KEY], None, (KEY, "", True)),
        ("HKLM\\SOFTWARE\\Vendor\\", [KEY], None, (KEY, "", True)),
        ("Odd", [], None, ("Odd", "", False)),
    ],
)  # fmt: skip
def test_where_the_key_of_a_value_ends(
    path: str, keys: list[str], complete: str | None, right: tuple[str, str, bool]
) -> None:
    tree, known = KeyTree(), KnownKeys()
    known.add(keys)
    if complete:
        known.add_complete(complete)
    node, name, is_sure = Targets(tree, known).value(path)
    assert (tree.path(node), name, is_sure) == right
