"""The .reg files: every importer reads exactly what was meant, whatever strangers wrote into names and data."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reg_reader import Model, read_reg

from analysis.answers.net_changes import NET_CHANGES
from analysis.regfile.files import reg_files
from analysis.regfile.syntax import NotExpressible, comment, encode_file, key_name, value_line
from tracer.errors import TargetError
from tracer.registry.text import escape_name, fold_name

KEY = r"HKLM\SOFTWARE\Vendor"
NAMED = r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor"
SID = "S-1-5-21-1-2-3-1001"

names = st.text(st.characters(), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', "@", "a=b", "[x]", ";", "-", " lead", "trail ", "nul\0", "a\r\n[-HKEY_LOCAL_MACHINE\\SAM]",
     "\ud800", "\udfff\ud800", "\x1a", "\u2028", "\u202egpj", "\x85", "\ufeff"]
)  # fmt: skip
texts = names.map(lambda text: text.encode("utf-16-le", "surrogatepass"))
contents = st.binary(max_size=100) | texts | texts.map(lambda data: data + b"\0\0")
kinds = st.integers(0, 12) | st.sampled_from([1, 1, 1, 4, 0xFFFFFFFF, 0xFFFF07FF])


def change(word: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a row of net changes; before and after are (type, data)."""
    row: dict[str, Any] = {
        "display_key": KEY,
        "value_name": value,
        "change": word,
        "complete": True,
        "also_by_others": False,
        "process": "setup.exe",
        "pid": 1234,
        "last_time": datetime(2026, 5, 1, 10, tzinfo=UTC),
        "last_sequence": 7,
        "key_id": 1,
    }
    for side in ("before", "after"):
        kind, data = more.pop(side, (None, None))
        size = more.pop(f"{side}_size", None if data is None else len(data))
        row |= {f"{side}_type": kind, f"{side}_data": data, f"{side}_size": size}
    return row | more


def files(*rows: dict[str, Any], **more: Any) -> tuple[list[Any], list[Any], list[tuple[str, str]]]:
    """Return the steps of both files, and what the second leaves out."""
    made = reg_files(pa.Table.from_pylist(list(rows), NET_CHANGES), **more)
    return *(read_reg(encode_file(text)) for text in (made.apply, made.undo)), made.left_out_of("undo")


@settings(deadline=None, max_examples=150)
@given(names, kinds, contents)
@example("x", 1, "a\0b\0".encode("utf-16-le"))
@example("x", 1, b"\0\0")
@example("x", 1, b"")
@example("", 4, b"\1\2\3")
@example('quote"\\', 1, 'C:\\"x"\\\0'.encode("utf-16-le"))
def test_a_value_is_read_as_it_was_written_or_not_written_at_all(name: str, kind: int, data: bytes) -> None:
    row = change("changed", escape_name(name), before=(kind, data), before_from="read", after=(kind, data))
    apply, undo, left_out = files(row)
    hostile = any(letter in name for letter in "\0\r\n")
    link = kind == 6 and fold_name(name) == "SYMBOLICLINKVALUE"
    expected = [] if hostile or link else [("key", NAMED), ("set", NAMED, name, kind, data)]
    assert apply == undo == expected
    assert left_out or not (hostile or link)


@settings(deadline=None, max_examples=100)
@given(names)
@example("a]b")
@example("[x]]")
@example("]")
def test_a_key_is_read_as_it_was_written_or_not_written_at_all(name: str) -> None:
    name = name.replace("\\", "/")
    shown = f"{KEY}\\{escape_name(name)}"
    rows = [change("created", display_key=shown), change("added", "v", display_key=shown, after=(3, b"\1"))]
    rows[1]["before_from"] = "absent"
    apply, undo, left_out = files(*rows)
    path = f"{NAMED}\\{name}"
    if any(letter in name for letter in "\0\r\n"):
        assert (apply, undo) == ([], [])
        assert len(left_out) == 2
    else:
        assert apply == [("key", path), ("set", path, "v", 3, b"\1")]
        assert undo == [("delete", path)]


@settings(deadline=None, max_examples=100)
@given(names, names, names)
def test_no_comment_becomes_anything_else(key: str, value: str, image: str) -> None:
    lone = escape_name(key)
    row = change(
        "removed", escape_name(value), display_key=rf"\REGISTRY\A\{lone}", process=escape_name(image)
    )
    apply, undo, left_out = files(row, about=[lone, image + "\\"])
    assert (apply, undo) == ([], [])
    assert len(left_out) == 1


def test_a_comment_shows_what_is_not_printable_and_ends_with_no_backslash() -> None:
    assert comment("a\nb\u202e") == "; a\\u{A}b\\u{202E}"
    assert comment("path\\ ") == "; path\\."


def test_only_plain_text_stands_between_quotes() -> None:
    def line(data: bytes, kind: int = 1) -> str:
        return value_line("v", kind, data)

    assert line("a b\0".encode("utf-16-le")) == '"v"="a b"'
    assert line("a".encode("utf-16-le")) == '"v"=hex(1):61,00'
    assert line("a\nb\0".encode("utf-16-le")) == '"v"=hex(1):61,00,0a,00,62,00,00,00'
    assert line(b"\0\xd8\0\0") == '"v"=hex(1):00,d8,00,00'
    assert line(b"\0\0\0\0") == '"v"=hex(1):00,00,00,00'
    assert line(b"", 1) == '"v"=hex(1):'
    assert line(b"a\0\0\0", 2) == '"v"=hex(2):61,00,00,00'
    assert line(b"\1\0\0\0", 4) == '"v"=dword:00000001'
    assert line(b"\1\0\0", 4) == '"v"=hex(4):01,00,00'
    assert line(bytes(8), 11) == '"v"=hex(b):00,00,00,00,00,00,00,00'
    assert line(b"\xff", 3) == '"v"=hex:ff'
    assert line(b"\xff", 0x7FF07FF) == '"v"=hex(7ff07ff):ff'
    assert value_line("", 3, b"") == "@=hex:"


def test_long_data_is_wrapped_as_regedit_wraps_it() -> None:
    lines = value_line("long", 3, bytes(60)).split("\r\n")
    assert [len(line) for line in lines] == [78, 78, 40]
    assert all(line.endswith(",\\") for line in lines[:-1])
    assert all(line.startswith("  00,") for line in lines[1:])


@pytest.mark.parametrize(
    ("shown", "user", "named"),
    [
        (
            r"HKLM\SYSTEM\CurrentControlSet\Services",
            None,
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services",
        ),
        (r"HKLM\SYSTEM\ControlSet002", None, r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet002"),
        (rf"HKU\{SID}\Software", None, rf"HKEY_USERS\{SID}\Software"),
        (rf"HKU\{SID}\Software", SID, r"HKEY_CURRENT_USER\Software"),
        (rf"HKU\{SID.lower()}", SID, "HKEY_CURRENT_USER"),
        (rf"HKU\{SID}_Classes\.txt", SID, r"HKEY_CURRENT_USER\Software\Classes\.txt"),
        (rf"HKU\{SID}0\Software", SID, rf"HKEY_USERS\{SID}0\Software"),
        (r"HKU\.DEFAULT\Environment", SID, r"HKEY_USERS\.DEFAULT\Environment"),
        ("HKLM", None, "HKEY_LOCAL_MACHINE"),
    ],
)
def test_keys_have_the_names_that_regedit_knows(shown: str, user: str | None, named: str) -> None:
    assert key_name(shown, user) == named


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (r"\REGISTRY\A\{0b1c}\Settings", "application hive"),
        (r"\Registry\wc\Silo1user", "container"),
        (r"\REGISTRY\Other\x", "cannot reach"),
        (r"\REGISTRY\Appx", "cannot reach"),
        ("<object 0xFFFF800012345678>\\below", "nothing names"),
        (r"HKLM\SOFTWARE\a<U+0000>b", "NUL"),
        ("HKLM\\SOFTWARE\\a\rb", "line break"),
    ],
)
def test_what_regedit_cannot_reach_is_said(shown: str, reason: str) -> None:
    with pytest.raises(NotExpressible, match=reason):
        key_name(shown)
    apply, undo, left_out = files(change("created", display_key=shown))
    assert (apply, undo) == ([], [])
    assert [label for label, _ in left_out] == [shown]


def test_a_deleted_key_goes_with_its_topmost_parent_and_comes_back_with_what_is_known() -> None:
    below, beside = KEY + r"\Below", KEY + "X"
    rows = [
        change("deleted", display_key=below, key_id=2, complete=False),
        change("removed", "v", display_key=below, key_id=2, before=(4, bytes(4)), before_from="read"),
        change("deleted"),
        change("deleted", display_key=beside, key_id=3),
    ]
    apply, undo, left_out = files(*rows)
    assert apply == [("delete", NAMED), ("delete", NAMED + "X")]
    lower = NAMED + r"\Below"
    assert undo == [("key", NAMED), ("key", lower), ("set", lower, "v", 4, bytes(4)), ("key", NAMED + "X")]
    assert [label for label, _ in left_out] == [below]


def test_a_created_key_is_undone_as_a_whole() -> None:
    rows = [
        change("added", "v", after=(1, b"a\0\0\0"), before_from="absent"),
        change("created"),
        change("created", display_key=KEY + r"\Below", key_id=2),
    ]
    apply, undo, left_out = files(*rows)
    assert apply == [("key", NAMED), ("set", NAMED, "v", 1, b"a\0\0\0"), ("key", NAMED + r"\Below")]
    assert undo == [("delete", NAMED)]
    assert left_out == []


def test_a_key_made_anew_is_emptied_first_unless_only_some_changes_were_asked_for() -> None:
    rows = [
        change("recreated", complete=False),
        change("removed", "old", before=(3, b"\1"), before_from="write"),
        change("changed", "v", before=(3, b"\2"), before_from="write", after=(3, b"\3")),
    ]
    apply, undo, left_out = files(*rows)
    assert apply == [("delete", NAMED), ("key", NAMED), ("set", NAMED, "v", 3, b"\3")]
    assert undo == [
        ("delete", NAMED),
        ("key", NAMED),
        ("set", NAMED, "old", 3, b"\1"),
        ("set", NAMED, "v", 3, b"\2"),
    ]
    assert [label for label, _ in left_out] == [KEY]
    apply, undo, _ = files(*rows, narrowed=True)
    assert apply == [("key", NAMED), ("unset", NAMED, "old"), ("set", NAMED, "v", 3, b"\3")]
    assert undo == [("key", NAMED), ("set", NAMED, "old", 3, b"\1"), ("set", NAMED, "v", 3, b"\2")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (change("set", "v", after=(3, b"\1")), "never seen"),
        (change("removed", "v"), "never seen"),
        (change("changed", "v", before=(3, b"\1"), before_size=2, before_from="read", after=(3, b"")), "fewer bytes"),
        (change("changed", "v", before=(3, None), before_size=2, before_from="event", after=(3, b"")), "not captured"),
        (change("renamed"), "renamed"),
        (change("unclear"), "not known"),
        (change("deleted", display_key=r"HKLM\Hardware\Description"), "in memory only"),
        (change("deleted", display_key="HKLM"), "it may have held more"),
    ],
)  # fmt: skip
def test_what_cannot_be_undone_is_listed(row: dict[str, Any], reason: str) -> None:
    row["complete"] = False
    made = reg_files(pa.Table.from_pylist([row], NET_CHANGES))
    ((label, said),) = made.left_out_of("undo")
    assert reason in said
    assert f"; {label}: {said}\r\n" in made.undo
    assert not any(step[0] == "set" for step in read_reg(encode_file(made.undo)))
    assert made.not_undoable["reason"].tolist() == [said]


def test_keys_in_memory_are_deleted_but_not_made() -> None:
    below = {"display_key": r"HKLM\HARDWARE\New"}
    apply, undo, _ = files(
        change("created", **below), change("added", "v", after=(3, b""), before_from="absent", **below)
    )
    assert apply == []
    assert undo == [("delete", r"HKEY_LOCAL_MACHINE\HARDWARE\New")]


def test_strings_without_their_nul_are_written_and_listed() -> None:
    row = change("changed", "v", before=(1, b"a\0"), before_from="read", after=(2, b"b\0\0\0"))
    _, undo, left_out = files(row)
    assert undo[1:] == [("set", NAMED, "v", 1, b"a\0")]
    assert "NUL" in left_out[0][1]


def test_the_provenance_says_who_when_and_how_the_old_data_is_known() -> None:
    row = change(
        "changed", "Path", before=(3, b"\1"), before_from="read", after=(3, b"\2"), also_by_others=True
    )
    made = reg_files(pa.Table.from_pylist([row], NET_CHANGES), about=["made by a test"])
    line = '; "Path" was changed by setup.exe (1234), 2026-05-01T10:00:00.000000Z, sequence 7; others wrote it too'
    assert line + "; before: type 3, 1 bytes\r\n[" in made.apply
    assert line + "; the old data is an earlier read's\r\n[" in made.undo
    assert "; made by a test\r\n" in made.apply


def test_files_are_written_whole_and_replace_nothing_unasked(tmp_path) -> None:
    made = reg_files(pa.Table.from_pylist([change("created")], NET_CHANGES))
    made.save(tmp_path / "apply.reg", tmp_path / "undo.reg")
    model = Model(fold_name)
    model.apply((tmp_path / "apply.reg").read_bytes())
    assert fold_name(NAMED) in model.keys
    model.apply((tmp_path / "undo.reg").read_bytes())
    assert fold_name(NAMED) not in model.keys
    with pytest.raises(TargetError, match="exists"):
        made.save(tmp_path / "apply.reg")
    made.save(tmp_path / "apply.reg", force=True)
    with pytest.raises(TargetError, match="is not a folder"):
        made.save(tmp_path / "none" / "apply.reg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apply.reg", "undo.reg"]
