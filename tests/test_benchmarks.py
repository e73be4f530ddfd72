"""The benchmarks compare like with like: the pandas forms that are kept give the answers that regtrace gives."""

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
