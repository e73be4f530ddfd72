"""The page on callbacks: its table is the one that the dataclasses make, and its code runs."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path

import pytest

from tracer.callbacks.notification_rows import notification_table
from tracer.callbacks.notifications import CLASSES, Notification
from tracer.callbacks.registrations import Registrations
from tracer.errors import UsageError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "callbacks.md"


@pytest.fixture
def page() -> str:
    if not PAGE.exists():
        pytest.skip("docs/callbacks.md is not part of this copy")
    return PAGE.read_text(encoding="utf-8")


def test_the_table_is_what_the_dataclasses_make(page):
    """After a change: print(notification_table()) from tracer.callbacks.notification_rows makes it anew."""
    assert notification_table() in page


def test_what_the_page_says_that_nobody_reports_is_refused(page):
    (said,) = re.findall(r"Nobody reports\s+([\w,\s]+?), the end of a close \((\w+)\)", page)
    words = [f"Post{word.strip()}" for word in said[0].split(",")] + [said[1]]
    assert len(words) == 6
    for word in words:
        with pytest.raises(UsageError):
            Registrations().register(print, notify=[word])


def test_every_notification_has_the_fields_that_the_page_names_for_all(page):
    (said,) = re.findall(r"All of them have (.*?)\. \*\*None means", page, re.DOTALL)
    words = re.findall(r"`(\w+)`", said)
    assert len(words) > 12
    for each in {Notification, *CLASSES.values()}:
        assert set(words) <= {field.name for field in fields(each)} | {"time"}, each


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
