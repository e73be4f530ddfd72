"""Net changes in Markdown: a reader of Markdown gets back what names and data say, and nothing of them acts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_cli_verbs import invoke
from test_regfile import KEY, change, names

from analysis.answers.net_changes import NET_CHANGES
from analysis.regfile.markdown import code_span, markdown_table
from tracer.registry.text import escape_name

READER = MarkdownIt("commonmark").enable("table")
hostile = names | st.sampled_from(
    [
        "|",
        "`",
        "``",
        "a|b`c",
        "<script>alert(1)</script>",
        "[x](javascript:1)",
        "![](http://x)",
        "\\|",
        "&lt;",
        "~~",
        "#",
    ]
)


def cells_of(document: str) -> list[list[str]]:
    """Return the texts of the cells of all tables, row by row."""
    rows: list[list[str]] = []
    for token in READER.parse(document):
        assert token.type not in ("html_block", "html_inline")
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            assert {child.type for child in token.children or []} <= {"text", "code_inline"}
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\u{{{ord(letter):X}}}" for letter in text)


@settings(deadline=None, max_examples=300)
@given(hostile)
def test_any_name_is_one_cell_and_reads_back(name: str) -> None:
    name = escape_name(name)  # as rows of a capture hold it
    row: dict[str, Any] = change("added", name, before_from="absent", after=(4, b"\1\0\0\0"))
    cells = cells_of(markdown_table(pa.Table.from_pylist([row], NET_CHANGES)))
    assert len(cells) == 2
    assert len(cells[1]) == 6
    # Code spans turn line ends into spaces (none is left here), and lose one space at each side.
    assert cells[1][1].strip() == (shown(name).strip() or ("(default)" if not name else ""))
    assert cells[1][3] == "1"


def test_rows_of_a_key_are_one_table_below_its_name() -> None:
    rows = [
        change("created"),
        change("changed", "v", before_from="event", before=(1, "a\0".encode("utf-16-le")), after=(1, "b\0".encode("utf-16-le"))),
        change("set", "w", after=(4, b"\2\0\0\0")),
        change("removed", "x", before_from="event", before=(4, b"\3\0\0\0")),
    ]  # fmt: skip
    document = markdown_table(pa.Table.from_pylist(rows, NET_CHANGES), about=["Net changes in a.regtrace"])
    assert document.count("## ") == 1
    assert f"## {code_span(KEY)}" in document
    assert [row[:4] for row in cells_of(document)[1:]] == [
        ["key created", "", "", ""], ["changed", "v", "a", "b"], ["set", "w", "?", "2"], ["removed", "x", "3", "(none)"],
    ]  # fmt: skip
    assert "There are none." in markdown_table(NET_CHANGES.empty_table())


def test_the_command_line_writes_the_document(tmp_path: Path) -> None:
    assert invoke("simulate", "-o", tmp_path / "a.etl", "--scenario", "works", "-n", "500").exit_code == 0
    assert invoke("ingest", tmp_path / "a.etl", "-o", tmp_path / "a.regtrace").exit_code == 0
    target = tmp_path / "changes.md"
    assert invoke("changes", tmp_path / "a.regtrace", "--markdown", target).exit_code == 0
    document = target.read_text(encoding="utf-8")
    assert "OpenCount" in document
    assert ["added", "OpenCount", "(none)", "1"] in [row[:4] for row in cells_of(document)] or [
        "set", "OpenCount", "?", "1",
    ] in [row[:4] for row in cells_of(document)]  # fmt: skip
    assert invoke("changes", tmp_path / "a.regtrace", "--markdown", target).exit_code == 1
