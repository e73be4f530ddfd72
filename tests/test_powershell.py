"""The PowerShell scripts: they do what the .reg files do, leave out and say the rest, and no name or data is code."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from ps1_reader import read_ps1
from reg_reader import read_reg
from test_cli_verbs import invoke
from test_regfile import KEY, change, contents, kinds, names

from analysis.answers.net_changes import NET_CHANGES
from analysis.open import open_capture
from analysis.regfile.files import reg_files
from analysis.regfile.syntax import encode_file
from tracer.registry.text import escape_name


def both(*rows: dict[str, Any]) -> tuple[list[Any], list[Any], list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the steps of a .reg file and of a script that make the changes, and what each leaves out."""
    table = pa.Table.from_pylist(list(rows), NET_CHANGES)
    reg, script = reg_files(table), reg_files(table, powershell=True)
    steps = read_reg(encode_file(reg.apply)), read_ps1(script.encoded("apply"))
    return *steps, reg.left_out_of("apply"), script.left_out_of("apply")


@settings(deadline=None, max_examples=300)
@given(names, kinds, contents)
def test_a_value_is_set_as_by_the_reg_file_or_its_absence_is_said(name: str, kind: int, data: bytes) -> None:
    row = change("added", escape_name(name), before_from="absent", after=(kind, data))
    wanted, steps, reg_left_out, left_out = both(row)
    if left_out:
        assert not [step for step in steps if step[0] == "set"]
    elif reg_left_out:  # a line break in a name, which no .reg file can hold
        assert steps[-1][2:] == (name, kind, data)
        assert "\0" not in name
    else:
        assert steps == wanted


@settings(deadline=None, max_examples=150)
@given(names)
def test_keys_are_made_and_deleted_as_by_the_reg_file_or_it_is_said(name: str) -> None:
    escaped = escape_name(name.replace("\\", "_") or "x")
    for word in ("created", "deleted"):
        wanted, steps, reg_left_out, left_out = both(change(word) | {"display_key": f"{KEY}\\{escaped}"})
        assert left_out or reg_left_out or steps == wanted


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (1, "a".encode("utf-16-le"), "one NUL at their end, and this one has none"),
        (1, "a\0b\0".encode("utf-16-le"), "and this one has several"),
        (1, b"\x00\xd8\0\0", "lone surrogate"),
        (4, b"\1\0\0", "type 4 with 3 bytes"),
        (7, "a\0\0\0".encode("utf-16-le"), "REG_MULTI_SZ"),
        (0x7FF, b"", "type 2047"),
    ],
)  # fmt: skip
def test_what_powershell_cannot_write_is_left_out_and_said(kind: int, data: bytes, reason: str) -> None:
    _, steps, _, left_out = both(change("added", "v", before_from="absent", after=(kind, data)))
    assert not [step for step in steps if step[0] == "set"]
    assert reason in left_out[0][1]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (1, "it's $(calc) `n \u2019; Remove-Item x\0".encode("utf-16-le")),
        (2, "%TEMP%\r\nRemove-Item\0".encode("utf-16-le")),
        (4, b"\xff\xff\xff\xff"), (4, b"\0\0\0\x80"), (11, b"\0" * 7 + b"\x80"), (7, "a\0b\0\0".encode("utf-16-le")),
        (7, b"\0\0"), (3, b""), (0, b"\1\2"),
    ],
)  # fmt: skip
def test_usual_data_is_written_exactly(kind: int, data: bytes) -> None:
    wanted, steps, _, left_out = both(change("added", "v", before_from="absent", after=(kind, data)))
    assert not left_out
    assert steps == wanted
    assert steps[-1] == ("set", wanted[0][1], "v", kind, data)


@pytest.mark.slow
def test_the_command_line_writes_scripts_by_their_ending(tmp_path: Path) -> None:
    assert (
        invoke("simulate", "-o", tmp_path / "a.etl", "--scenario", "installer", "-n", "2000").exit_code == 0
    )
    assert invoke("ingest", tmp_path / "a.etl", "-o", tmp_path / "a.regtrace").exit_code == 0
    apply, undo = tmp_path / "apply.ps1", tmp_path / "undo.reg"
    shown = invoke(
        "changes", tmp_path / "a.regtrace", "--process", "setup.exe", "--reg", apply, "--undo", undo
    )
    assert shown.exit_code == 0, shown.stderr
    steps = read_ps1(apply.read_bytes())
    assert ("key", r"HKEY_LOCAL_MACHINE\SOFTWARE\Contoso\Notes") in steps
    assert read_reg(undo.read_bytes())
    with open_capture(tmp_path / "a.regtrace") as capture:
        assert capture.reg_files(process="setup.exe", powershell=True).encoded("apply") == apply.read_bytes()
    refused = invoke("changes", tmp_path / "a.regtrace", "--undo", tmp_path / "undo.txt")
    assert refused.exit_code == 2
    assert "use .reg (for regedit) or .ps1 (for PowerShell)" in refused.stderr
