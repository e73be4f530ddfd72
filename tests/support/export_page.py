"""The tables of fields in docs/export.md, made from the tables of the formats.

`python tests/support/export_page.py` writes them anew; a test compares.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from analysis.export import ecs, l2tcsv, ocsf, perfetto, timesketch
from analysis.export.flat import FLAT
from analysis.export.ocsf_words import ACTIVITIES, CLASSES, KEY_CLASS, VALUE_CLASS
from analysis.export.shape import field_lines

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


def table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of two columns."""
    lines = [f"| {heads[0]} | {heads[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {one} | {other} |" for one, other in rows)])


def tables() -> dict[str, str]:
    """Return the tables by name."""
    heads = ("field", "made of")
    words = [(f"`{one.name}`", one.source) for one in FLAT]
    shapes = {
        "ecs": list(field_lines(ecs.SHAPE)),
        "ocsf": [
            *field_lines(ocsf.SHAPE),
            *field_lines(ocsf.ACTOR, "actor."),
            *field_lines(ocsf.REG_VALUE, "reg_value."),
            *field_lines(ocsf.PREV_REG_VALUE, "prev_reg_value."),
        ],
    }
    made = {
        name: table(heads, ((f"`{field}`", source or "") for field, source in rows))
        for name, rows in shapes.items()
    }
    activities = [
        (
            f"`{uid}` {CLASSES[uid][0]}",
            ", ".join(f"{number} {caption}" for number, caption in ACTIVITIES[uid].items()),
        )
        for uid in (KEY_CLASS, VALUE_CLASS)
    ]
    return made | {
        "flat": table(heads, words),
        "timesketch notices": table(("`timestamp_desc`", "notice"), ((text, f"`{kind}`") for kind, text in timesketch.NOTICES.items())),
        "ocsf activities": table(("class", "activities"), activities),
        "perfetto": table(("argument", "column"), ((f"`{name}`", f"`{column}`") for name, column in perfetto.ANNOTATIONS.items())),
        "l2tcsv": table(("column", "made of"), ((f"`{name}`", source) for name, source in l2tcsv.COLUMNS.items())),
    }  # fmt: skip


def page(text: str) -> str:
    """Return the text of the page with its tables made anew."""
    for name, made in tables().items():
        pattern = re.compile(rf"(?<=<!-- made: {name} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
        found = pattern.search(text)
        assert found, f"the page has no place for the table {name}"
        text = text[: found.start()] + made + text[found.end() :]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
