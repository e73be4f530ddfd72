"""Changed inputs of every kind: rows or one sentence. `python tests/fuzz` does the same for as long as one likes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz.importers import KINDS
from fuzz.worker import make_input, read_input

ROOT = Path(__file__).resolve().parents[1]
INPUTS = 4  # of each kind


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_input_gives_rows_or_one_sentence(tmp_path, name):
    kind = KINDS[name]
    corpus, places = kind.sound(), {}
    for parts in corpus:
        assert read_input(kind, parts, tmp_path / "sound") > 0
    for number in range(INPUTS):
        parts = make_input(kind, corpus, len(corpus), places, Random(f"{name} {number}"))
        read_input(kind, parts, tmp_path / "changed")


@pytest.mark.parametrize("name", ["json lines", "xml"])
def test_records_beside_one_changed_byte_are_rows(tmp_path, name):
    kind = KINDS[name]
    content = kind.sound()[0]["a.log"]
    whole = read_input(kind, {"a.log": content}, tmp_path / "log")
    random = Random(7)
    for _ in range(10):
        at = random.randrange(len(content) // 4, len(content))
        changed = content[:at] + bytes([random.randrange(32, 127)]) + content[at + 1 :]
        assert read_input(kind, {"a.log": changed}, tmp_path / "log") >= whole - 2


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fuzz"), "--processes", "1", "--seed", "0", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
def test_planted_faults_are_found_and_their_inputs_are_kept(tmp_path):
    found, state = tmp_path / "found", tmp_path / "state.json"
    options = ["--importers", "fuzz_planted", "--findings", str(found), "--state", str(state)]
    ran = fuzz(*options, "--inputs", "8", "--cpu", "0.6", "--memory", "300")
    assert ran.returncode == 1, ran.stderr
    known = json.loads(state.read_text())
    assert known["next"] == sum(known["inputs"].values()) == 8
    signs = " ".join(known["findings"])
    for sign in ("raises: ZeroDivisionError", "exit code -N", "memory: N MiB", "not one line"):
        assert sign in signs
    assert re.search(r"is right +\d+ inputs +[1-9]", ran.stdout)
    assert not list(found.glob("is-right*"))
    kept = {path.name.split("-")[0]: path for path in found.iterdir()}
    assert set(kept) == {"raises", "crashes", "hangs", "hoards", "says"}
    assert "Aborted" in (kept["crashes"] / "why.txt").read_text()
    assert "in _hang" in (kept["hangs"] / "why.txt").read_text()
    again = fuzz(*options[:2], "--replay", str(kept["raises"]))
    assert "ZeroDivisionError" in again.stderr
    # The next run goes on behind it.
    ran = fuzz(*options, "--inputs", "3", "--kind", "is right")
    assert (ran.returncode, json.loads(state.read_text())["next"]) == (0, 11)
    assert "11 inputs" in ran.stdout
