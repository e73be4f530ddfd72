"""The table of weights in `docs/triage.md`: `python tests/support/weights_table.py` writes it anew, a test compares."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "triage.md"
_TABLE = re.compile(r"\| reason \| weight \|.*?\n\n+", re.DOTALL)

sys.path.insert(0, str(ROOT))

from analysis.rules.weights import LEVEL_WEIGHTS, WEIGHTS  # noqa: E402


def table() -> str:
    """Return the table in Markdown."""
    levels = [
        (f"rule, {level or 'no level'}", weight, "a Sigma rule of this level matches")
        for level, weight in LEVEL_WEIGHTS.items()
    ]
    rows = [*levels, *((name, weight, meaning) for name, (weight, meaning) in WEIGHTS.items())]
    lines = ["| reason | weight | meaning |", "| --- | ---: | --- |"]
    return (
        "\n".join([*lines, *(f"| {name} | {weight} | {meaning} |" for name, weight, meaning in rows)])
        + "\n\n"
    )


def page() -> str:
    """Return the page with the table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    return _TABLE.sub(lambda _: table(), text, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
