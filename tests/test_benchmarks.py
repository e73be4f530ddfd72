"""The benchmarks compare like with like, and what they try at length is tried here a little."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_pandas_forms_give_our_answers():
    program = ROOT / "benchmarks" / "analyses_agree.py"
    ran = subprocess.run(
        [sys.executable, str(program), "--events", "12000"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("equal") == 5


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="forks and kills")
@pytest.mark.parametrize(
    "words",
    [
        ("kills.py", "--points", "4"),
        ("faults.py", "--verb", "export gz", "--sizes", "1"),
        ("faults.py", "--verb", "schema"),
    ],
    ids=["kills", "export", "schema"],
)
def test_a_few_kills_and_faults_damage_nothing(words):
    program, *options = words
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "killed" in ran.stdout or " 0 wrong" in ran.stdout
