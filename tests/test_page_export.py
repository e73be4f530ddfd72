"""docs/export.md: its tables are those of the formats, and its rules hold."""

import export_page

from analysis.export.formats import FORMATS
from cli.commands.export import To


def test_the_tables_of_fields_are_made_from_the_formats() -> None:
    text = export_page.PAGE.read_text(encoding="utf-8")
    assert text == export_page.page(text), "run tests/support/export_page.py"


def test_every_format_has_a_word_and_a_command_on_the_page() -> None:
    assert [one.value for one in To] == list(FORMATS)
    text = export_page.PAGE.read_text(encoding="utf-8")
    assert [to for to in FORMATS if f"--to {to} " not in text] == []
