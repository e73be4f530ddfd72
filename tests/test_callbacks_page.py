"""The page on callbacks: its table is the one that the dataclasses make, and its code runs."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tracer.notification_rows import notification_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "callbacks.md"


@pytest.fixture
def page() -> str:
    if not PAGE.exists():
        pytest.skip("docs/callbacks.md is not part of this copy")
    return PAGE.read_text(encoding="utf-8")


def test_the_table_is_what_the_dataclasses_make(page):
    """After a change: print(notification_table()) from tracer.notification_rows makes it anew."""
    assert notification_table() in page


def test_the_python_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for number, body in enumerate(blocks):
        code = compile(body, f"{PAGE.name} block {number}", "exec")
        if "rt.Monitor(" not in body:  # those need Windows, and wait
            with redirect_stdout(io.StringIO()) as said:
                exec(code, names)
            assert "HKLM\\" in said.getvalue()
    assert len(blocks) == 2
