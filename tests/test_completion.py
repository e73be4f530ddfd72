"""Completion of values in shells: what is offered, and that nothing a capture holds is run by a shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hand_capture import event, write_events
from hypothesis import given
from hypothesis import strategies as st
from small_capture import write_capture

from cli.options import completion
from tracer.registry.ntstatus import STATUSES

SID = "S-1-5-21-1-2-3-1001"
ROOT = Path(__file__).resolve().parents[1]
HOSTILE = [
    "$(touch x)",
    "`touch x`",
    "a';touch x;'",
    'a";touch x;"',
    "a\nb",
    "a\x1b[2Jb",
    "a\u202eb",
    "!!",
    "*",
    "a;b",
    "~",
    "\u3164",
]
BASH = shutil.which("bash")
ZSH, FISH = shutil.which("zsh"), shutil.which("fish")
needs_bash = pytest.mark.skipif(BASH is None, reason="there is no bash")


def complete(*words: str, shell: str = "bash") -> list[str]:
    """Return what the program offers for a line, whose last word is not complete."""
    line = ["regtrace", *words]
    environment = os.environ | {
        "_REGTRACE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(line) - 1),
        "_TYPER_COMPLETE_ARGS": " ".join(line),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": line[-1],
    }
    command = [sys.executable, "-c", "import sys; from cli.app import main; sys.argv = ['regtrace']; main()"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=120)
    assert done.stderr == b""
    return [one for one in done.stdout.decode().splitlines() if one]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = [r"HKLM\SOFTWARE\Vendor\Run", r"HKLM\SOFTWARE\Vendor", r"HKLM\SYSTEM", rf"HKU\{SID}\Software\My App",
            rf"HKU\{SID}_Classes\.txt", "HKU\\S-1-5-18\\Software", "HKLM\\SOFTWARE\\设置", r"HKLM\SOFTWARE\{1-2}",
            *(f"HKLM\\SOFTWARE\\{name}" for name in HOSTILE)]  # fmt: skip
    events = [event("OpenKey", key, process="Setup.EXE") for key in keys]
    events += [event("OpenKey", keys[0], process=image) for image in ("my tool.exe", "$(touch x).exe")]
    return write_events(tmp_path_factory.mktemp("complete") / "a.regtrace", events)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["history", "CAPTURE", "hklm\\sy"], ["'HKLM\\SYSTEM'"]),
        (["history", "CAPTURE", "'HKLM\\SOFTWARE\\Ven"], ["HKLM\\SOFTWARE\\Vendor", "HKLM\\SOFTWARE\\Vendor\\"]),
        (["who", "CAPTURE", "HKCU\\\\Software\\\\My"], ["'HKCU\\Software\\My App'"]),
        (["timeline", "CAPTURE", "--key", "HKCU\\Software\\Cl"], ["'HKCU\\Software\\Classes'", "'HKCU\\Software\\Classes\\'"]),
        (["keys", "CAPTURE", "-u", "HKLM\\SOFTWARE\\{"], ["'HKLM\\SOFTWARE\\{1-2}'"]),
        (["hot", "CAPTURE", "--process", "se"], ["Setup.EXE"]),
        (["hot", "CAPTURE", "-p", "my"], ["'my tool.exe'"]),
        (["hot", "CAPTURE", "-p", "$"], []),
        (["hot", "CAPTURE", "--operation", "deletek"], ["deletekey", "DeleteKey"]),
        (["hot", "CAPTURE", "--operation", "set,RegSetV"], ["set,RegSetValue"]),
        (["hot", "CAPTURE", "--status", "access"], ["ACCESS_DENIED"]),
        (["hot", "CAPTURE", "--tz", "europe/berl"], ["Europe/Berlin"]),
        (["plot", "act"], ["activity"]),
        (["hot", "/nowhere.regtrace", "--process", "se"], []),
    ],
)  # fmt: skip
def test_values_are_completed(folder: Path, words: list[str], offered: list[str]) -> None:
    assert complete(*(str(folder) if word == "CAPTURE" else word for word in words)) == offered


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_names_that_a_shell_could_act_on_are_not_offered(folder: Path, shell: str) -> None:
    shown = "\n".join(
        complete(
            "history",
            str(folder),
            "HKLM\\SOFTWARE\\" if shell == "bash" else "'HKLM\\SOFTWARE\\",
            shell=shell,
        )
    )
    assert "设置" in shown
    assert "Vendor" in shown
    assert not any(sign in shown.replace('("', "").replace('" "', "") for sign in ("touch", "$", "`", ";", "!", "~", "\x1b", "\u202e", "\u3164"))  # fmt: skip


names = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=12), st.text("ab \\$'\"`!();&|<>*?[]{}~#=\n\\", max_size=12)
)


@needs_bash
@given(st.lists(names, min_size=1, max_size=20))
def test_bash_reads_what_is_offered_as_the_name(some: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_REGTRACE_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", "regtrace\nhistory\nx\n")
        patch.setenv("COMP_CWORD", "3")
        offered = {name: completion._offered([name]) for name in some}
    script = "".join(f"printf '%s\\0' {words[0]}\n" for words in offered.values() if words)
    done = subprocess.run([BASH, "--norc", "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    assert done.stdout.decode().split("\0")[:-1] == [name for name, words in offered.items() if words]


@needs_bash
@given(st.lists(names, min_size=1, max_size=20))
def test_zsh_would_read_it_so_in_the_double_quotes_of_its_script(some: list[str]) -> None:
    from typer._completion_classes import ZshComplete  # its script's own quoting

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_REGTRACE_COMPLETE", "complete_zsh")
        offered = {name: completion._offered([name]) for name in some}

    class Item:
        help = None

        def __init__(self, value: str) -> None:
            self.value = value

    quoted = {
        name: ZshComplete.format_completion(None, Item(words[0])) for name, words in offered.items() if words
    }
    script = "".join(f"printf '%s\\0' {text}\n" for text in quoted.values())
    done = subprocess.run([BASH, "--norc", "-c", script], capture_output=True, check=True, timeout=60)
    # Its _describe takes a backslash for an escape.
    assert done.stdout.decode().split("\0")[:-1] == [name.replace("\\", "\\\\") for name in quoted]
    assert not any("'" in text for text in quoted.values())


@pytest.mark.slow
def test_completion_of_keys_loads_no_library_that_it_does_not_need(folder: Path) -> None:
    code = (
        "import sys; from cli.options.completion import complete_key\n"
        f"class Context: params = {{'capture': {str(folder)!r}}}\n"
        "assert complete_key(Context, 'HKLM')\n"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'ibis', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().strip() == "[]"


@pytest.mark.parametrize("damage", ["keys.parquet", "capture.json"])
def test_a_damaged_capture_offers_nothing_and_says_nothing(tmp_path: Path, damage: str) -> None:
    path = write_capture(tmp_path / "a.regtrace")
    (path / damage).write_bytes(b"PAR1 is no Parquet")

    context = SimpleNamespace(params={"capture": str(path)}, args=[])
    assert completion.complete_key(context, "HKLM") == []


def test_the_words_for_statuses_are_all_of_them() -> None:
    offered = completion.complete_status(None, "")
    assert set(STATUSES.values()) <= set(offered)


@given(st.text(alphabet="ab '\"\\", max_size=12), st.text(alphabet="ab\\", max_size=8))
def test_the_last_word_of_a_line_is_found(before: str, last: str) -> None:
    if before.count("'") % 2 == 0 and before.count('"') == 0 and not before.endswith("\\"):
        assert completion._last_word(f"{before} '{last}") == f"'{last}"


def home_with_scripts(home: Path, shell: str) -> dict[str, str]:
    """Write the program and its completion script below a folder; return the environment of a shell that has both."""
    program = home / "bin" / "regtrace"
    program.parent.mkdir(parents=True)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'regtrace'; from cli.app import main; main()"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "ZDOTDIR": str(home),
    }
    script = subprocess.run(
        [program],
        env=environment | {"_REGTRACE_COMPLETE": f"source_{shell}"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    (home / "completion").write_bytes(script.stdout)
    return environment


_ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
wait_for() { local out; zpty -r z out "$1" || exit 3; print -rn -- "$out" }
zpty -w z 'PS1="> "; stty rows 100 cols 300; autoload -Uz compinit; compinit -u; source ./completion'
zpty -w z 'regtrace() { print -r -- "<${argv[-1]}>" }; echo RE""ADY'
wait_for '*READY*'
zpty -w -n z "$1"$'\t\n'
wait_for '*<*>*'
"""


@pytest.mark.slow
@pytest.mark.skipif(ZSH is None, reason="there is no zsh")
@pytest.mark.parametrize(
    ("typed", "argument"),
    [
        (r"'HKLM\SOFTWARE\Vendor\R", r"HKLM\SOFTWARE\Vendor\Run"),
        (r"HKLM\\SOFTWARE\\Vendor\\R", r"HKLM\SOFTWARE\Vendor\Run"),
        (r"'HKLM\SOFTWARE\{", r"HKLM\SOFTWARE\{1-2}"),
        (rf"'HKU\{SID}\Software\M", rf"HKU\{SID}\Software\My App"),
        (r"'HKLM\SOFTWARE\$", r"HKLM\SOFTWARE\$"),  # a hostile name is not offered
    ],
)
def test_zsh_completes_a_key_to_its_name_and_runs_nothing(
    folder: Path, tmp_path: Path, typed: str, argument: str
) -> None:
    environment = home_with_scripts(tmp_path, "zsh")
    end = "'" if argument.endswith("$") else ""  # what nothing completes has to be closed by hand
    line = f"regtrace history {folder} {typed}{end}"
    done = subprocess.run(
        [ZSH, "-f", "-c", _ZSH, "zsh", line],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert f"<{argument}>" in done.stdout.decode(errors="replace")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.skipif(FISH is None, reason="there is no fish")
def test_fish_offers_the_names_of_keys_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    environment = home_with_scripts(tmp_path, "fish")
    (tmp_path / "ask.fish").write_text(
        'source completion\ncomplete -C "regtrace history $argv[1] \'HKLM\\\\SOFTWARE\\\\"\n'
    )
    done = subprocess.run(
        [FISH, "-N", "ask.fish", folder],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    )
    offered = set(done.stdout.decode().splitlines())
    assert {r"HKLM\SOFTWARE\Vendor", r"HKLM\SOFTWARE\设置", r"HKLM\SOFTWARE\{1-2}"} <= offered
    assert not any(name.removeprefix("HKLM\\SOFTWARE\\") in HOSTILE for name in offered)
    assert not (tmp_path / "x").exists()
