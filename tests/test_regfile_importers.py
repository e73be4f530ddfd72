"""The .reg files, given to programs that import them; skipped where there is none.

* Wine: `wine` (a registry of its own is made for the test);
* hivex: `hivexregedit` (Debian: libwin-hivex-perl), which wants UTF-8 and lines ended by LF.
"""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from reg_reader import Model
from test_regfile import change

from analysis.answers.net_changes import NET_CHANGES
from analysis.regfile.files import RegFiles, reg_files
from tracer.registry.text import escape_name, fold_name

TOP = r"HKLM\SOFTWARE\Importer"
WIDE_TOP = r"HKEY_LOCAL_MACHINE\SOFTWARE\Importer"
_STRINGS = {
    "plain": "C:\\Program Files\\x.exe",
    "quotes": 'say "no"\\',
    "": "default",
    "a=b": "@",
    "@": "no default",
    '"quoted"': "[-HKEY_LOCAL_MACHINE\\SOFTWARE]",
    "back\\slash\\": "; no comment",
    " spaces ": "  two  ",
    "Straße ıſµ 設定": "Größe 😀",
    "lines": "first\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE]\r\nlast",
    "tab": "a\tb",
    "turned": "\u202egpj.exe",
}
# name -> (type, data)
OLD: dict[str, tuple[int, bytes]] = {
    name: (1, f"{text}\0".encode("utf-16-le")) for name, text in _STRINGS.items()
}
OLD |= {
    "expand": (2, "%SystemRoot%\\x\0".encode("utf-16-le")),
    "several": (7, "one\0two\0\0".encode("utf-16-le")),
    "dword": (4, bytes([1, 2, 3, 0xFF])),
    "qword": (11, bytes(range(8))),
    "big-endian": (5, b"\0\0\1\2"),
    "none": (0, b"\1\2"),
    "bytes": (3, bytes(range(256)) * 7),
    "empty": (3, b""),
    "short dword": (4, b"\1\2"),
    "unknown": (0xFFFF07FF, b"\1\0\2"),
}
NEW = {name: (3, b"changed") if n % 2 else (kind, data) for n, (name, (kind, data)) in enumerate(OLD.items())}
NEW |= {"added": (1, "new\0".encode("utf-16-le")), "dword": (4, b"\0\0\0\0")}
NEW |= {"plain": (1, "D:\\y\0".encode("utf-16-le"))}
REMOVED = ("quotes", "@", "several")


@pytest.fixture(scope="module")
def files() -> RegFiles:
    """Return files with every kind of change and with comments that try to be something else."""
    hostile = 'evil"\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE]\\'
    rows: list[dict[str, Any]] = []
    for name in OLD.keys() | NEW.keys():
        before, after = OLD.get(name, (None, None)), NEW.get(name, (None, None))
        if name in REMOVED:
            after = (None, None)
        word = "removed" if name in REMOVED else "changed" if name in OLD else "added"
        came = "absent" if word == "added" else "read"
        rows.append(change(word, escape_name(name), display_key=TOP, before=before, after=after,
                           before_from=came, process=hostile))  # fmt: skip
    rows.append(change("deleted", display_key=TOP + "\\Gone", key_id=2))
    rows.append(
        change("removed", "v", display_key=TOP + "\\Gone", key_id=2, before=(3, b"\7"), before_from="write")
    )
    rows.append(change("created", display_key=TOP + "\\New [x] ]y", key_id=3))
    rows.append(change("created", display_key=TOP + "\\New [x] ]y\\Ümläut; -", key_id=4))
    rows.append(change("set", escape_name(hostile), display_key=TOP, after=(3, b"\1"), process=hostile))
    return reg_files(pa.Table.from_pylist(rows, NET_CHANGES), about=[hostile])


def content(values: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    return {fold_name(name): value for name, value in values.items()}


def check(model: Model, *, after: bool, root: str) -> None:
    """Compare what an importer holds with what the files mean."""
    top = fold_name(root)
    expected = content({k: v for k, v in NEW.items() if k not in REMOVED} if after else OLD)
    assert model.keys[top] == expected
    assert (f"{top}\\GONE" in model.keys) == (not after)
    if not after:
        assert model.keys[f"{top}\\GONE"] == {"V": (3, b"\7")}
    assert (fold_name(f"{root}\\New [x] ]y\\Ümläut; -") in model.keys) == after
    assert (fold_name(f"{root}\\New [x] ]y") in model.keys) == after


# Wine


@pytest.mark.slow
def test_wine_imports_what_was_meant(files: RegFiles, tmp_path: Path) -> None:
    if shutil.which("wine") is None:
        pytest.skip("no Wine here")
    hidden = {
        "WINEDEBUG": "-all",
        "WINEPREFIX": str(tmp_path / "prefix"),
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }
    settings = {name: text for name, text in os.environ.items() if name != "DISPLAY"} | hidden

    def wine(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["wine", *arguments], cwd=tmp_path, env=settings, capture_output=True, timeout=100
        )

    try:
        started = wine("reg", "query", "HKLM\\Software")
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip("Wine does not start here")
    if started.returncode:
        pytest.skip("Wine has no registry here")
    files.save(tmp_path / "apply.reg", tmp_path / "undo.reg")
    for name, after in (("undo", False), ("apply", True), ("undo", False)):
        done = wine("reg", "import", f"{name}.reg")
        assert done.returncode == 0, done.stdout + done.stderr
        exported = wine("reg", "export", TOP, "now.reg", "/y")
        assert exported.returncode == 0, exported.stdout
        model = Model(fold_name)
        model.apply(_unescaped((tmp_path / "now.reg").read_bytes()))
        # Wine's export reads four bytes of every dword, also of shorter ones.
        model.keys[fold_name(WIDE_TOP)]["SHORT DWORD"] = (NEW if after else OLD)["short dword"]
        check(model, after=after, root=WIDE_TOP)
    assert wine("reg", "query", "HKLM\\Software\\Microsoft").returncode == 0, "a comment deleted a key"
    subprocess.run(["wineserver", "-k"], env=settings, timeout=60, check=False)


def _unescaped(content: bytes) -> bytes:
    r"""Return Wine's export with \r and \n inside of strings written as data."""
    text = content[2:].decode("utf-16-le", "surrogatepass")

    def as_hex(match: re.Match[str]) -> str:
        letters = re.sub(r"\\(.)", lambda one: {"r": "\r", "n": "\n"}.get(one[1], one[1]), match[2])
        return f"{match[1]}=hex(1):" + ",".join(f"{byte:02x}" for byte in f"{letters}\0".encode("utf-16-le"))

    text = re.sub(
        r'(?m)^(@|"(?:[^"\\]|\\.)*")="((?:[^"\\\r\n]|\\.)*\\[rn](?:[^"\\\r\n]|\\.)*)"(?=\r$)', as_hex, text
    )
    return content[:2] + text.encode("utf-16-le", "surrogatepass")


# Hive files


def empty_hive() -> bytes:
    """Return a registry hive that holds nothing but its root key and the root's security."""
    descriptor = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    security = b"sk\0\0" + struct.pack("<IIII", 0x80, 0x80, 1, len(descriptor)) + descriptor
    none = 0xFFFFFFFF
    root = b"nk" + struct.pack("<HqIIIIIIIIIIIIIIIHH", 0x2C, 0, 0, none, 0, 0, none, none, 0, none, 0x80, none,
                               0, 0, 0, 0, 0, 4, 0) + b"root"  # fmt: skip
    page = b"hbin" + struct.pack("<IIIIII", 0, 0x1000, 0, 0, 0, 0)
    page += bytes(0x20 - len(page))
    page += (struct.pack("<i", -0x60) + root).ljust(0x60, b"\0")
    page += (struct.pack("<i", -0x38) + security).ljust(0x38, b"\0")
    page += struct.pack("<i", 0x1000 - len(page))
    head = b"regf" + struct.pack("<IIqIIIIIII", 1, 1, 0, 1, 3, 0, 1, 0x20, 0x1000, 1)
    head = head.ljust(508, b"\0")
    checksum = 0
    for (number,) in struct.iter_unpack("<I", head):
        checksum ^= number
    return (head + struct.pack("<I", checksum)).ljust(4096, b"\0") + page.ljust(0x1000, b"\0")


def test_hivexregedit_imports_what_was_meant(files: RegFiles, tmp_path: Path) -> None:
    if shutil.which("hivexregedit") is None:
        pytest.skip("no hivexregedit here")
    hive = tmp_path / "SOFTWARE"
    hive.write_bytes(empty_hive())
    prefix = ["--prefix", "HKEY_LOCAL_MACHINE\\SOFTWARE"]
    settings = os.environ | {"PERL_UNICODE": "SD"}  # it takes files for bytes otherwise
    for text, after in ((files.undo, False), (files.apply, True), (files.undo, False)):
        (tmp_path / "now.reg").write_text(text.replace("\r\n", "\n"), "utf-8", newline="")
        merge = [
            "hivexregedit",
            "--merge",
            *prefix,
            "--encoding",
            "UTF-16LE",
            str(hive),
            str(tmp_path / "now.reg"),
        ]
        merged = subprocess.run(merge, env=settings, capture_output=True, timeout=60, check=False)
        assert merged.returncode == 0, merged.stderr
        export = ["hivexregedit", "--export", *prefix, str(hive), "\\Importer"]
        exported = subprocess.run(export, env=settings, capture_output=True, timeout=60, check=True).stdout
        model = Model(fold_name)
        model.apply(_utf16(exported))
        check(model, after=after, root=WIDE_TOP)


def _utf16(exported: bytes) -> bytes:
    text = exported.decode().replace("\n", "\r\n")
    return b"\xff\xfe" + text.encode("utf-16-le")
