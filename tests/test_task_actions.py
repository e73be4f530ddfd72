"""What a scheduled task does: binary actions laid out by hand, cut anywhere, and what is none."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.rules.task_actions import TaskAction, task_actions

CLASS = "{0A1B2C3D-0000-1111-2222-333344445555}"


def text(word: str) -> bytes:
    data = word.encode("utf-16-le")
    return len(data).to_bytes(4, "little") + data


def program(command: str, arguments: str, *, version: int = 3) -> bytes:
    return b"\x66\x66" + text("") + text(command) + text(arguments) + text("C:\\") + b"\0\0" * (version > 2)


def actions(*some: bytes, version: int = 3) -> bytes:
    return version.to_bytes(2, "little") + text("Author") * (version > 1) + b"".join(some)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_programs_and_classes_in_order(version: int):
    handler = b"\x77\x77" + text("id") + UUID(CLASS).bytes_le + text("data")
    data = actions(
        program("cmd.exe", "/c x", version=version),
        handler,
        program("b.exe", "", version=version),
        version=version,
    )
    assert task_actions(data) == [
        TaskAction("program", "cmd.exe", "/c x"),
        TaskAction("class", clsid=CLASS),
        TaskAction("program", "b.exe", ""),
    ]


def test_a_command_line_is_quoted_where_the_program_has_blanks():
    (one,) = task_actions(actions(program(r"C:\Program Files\a b.exe", "-k")))
    assert one.line == r'"C:\Program Files\a b.exe" -k'
    assert TaskAction("program", '"C:\\a b.exe"', "").line == '"C:\\a b.exe"'
    assert TaskAction("mail").line is None


def test_what_is_cut_tells_the_actions_before():
    data = actions(program("a.exe", ""), program("b.exe", ""))
    counts = [len(task_actions(data[:size])) for size in range(len(data) + 1)]
    assert counts == sorted(counts)
    assert {0, 1, 2} == set(counts)


def test_other_kinds_end_the_list_and_other_versions_are_none():
    assert task_actions(actions(b"\x88\x88" + text("x"))) == [TaskAction("mail")]
    assert task_actions(actions(b"\x11\x11")) == []
    assert task_actions(b"\x04\x00" + program("a", "")) == []
    assert task_actions(None) == task_actions(b"") == []


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: actions(b"\x66\x66" + data)))
def test_any_bytes_are_read(data: bytes):
    assert all(one.kind in ("program", "class", "mail", "message") for one in task_actions(data))
