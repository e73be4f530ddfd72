"""The sample in README.md, made by the demo: `python tests/support/readme_demo.py` writes it anew, a test compares.

The demo runs in a terminal of 100 columns, as most readers see it. Of what it prints, lines that say nothing more to a
reader are left out; how long it took differs from run to run and is written as on the machine that made the sample.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from terminal import call

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
COLUMNS = 100
_LEFT_OUT = re.compile(r"beside it:|next: |      regtrace |  regtrace|regtrace: ")
_STEPS_LEFT_OUT = re.compile("a picture|as CSV")
_MOST_ROWS = 16  # of a step
_TIME = re.compile(r"in [\d.]+ s \([\d,]+ events/s\)")


def demo(folder: Path) -> list[str]:
    """Run the demo in `folder` on a terminal and return the lines that it shows."""
    with contextlib.chdir(folder):
        screen = call("demo", columns=COLUMNS)
    assert screen.code == 0, screen.sent
    return screen.lines


def sample(lines: list[str]) -> list[str]:
    """Return what the README shows of it."""
    return list(_shortened(lines))


def _shortened(lines: list[str]) -> Iterator[str]:
    rows, shown = 0, True
    for line in lines:
        if line.startswith("Go on with:"):
            return
        if re.match(r"\d+\. ", line):
            rows, shown = 0, not _STEPS_LEFT_OUT.search(line)
        rows += 1
        if shown and not _LEFT_OUT.match(line) and (rows <= _MOST_ROWS or not line):
            yield line


def words(lines: list[str]) -> list[str]:
    """Return the words of the sample without what differs from run to run: how long it took, and so where lines are wrapped."""
    return _TIME.sub("in … s (… events/s)", " ".join(" ".join(lines).split())).split()


def block() -> list[str]:
    """Return the sample as the README has it."""
    return _block(README.read_text(encoding="utf-8"))[1].split("\n")


def _block(page: str) -> tuple[str, str, str]:
    lead, _, rest = page.partition("```text\n1. simulate")
    body, _, tail = rest.partition("\n```")
    return lead + "```text\n", "1. simulate" + body, "\n```" + tail


def main() -> None:
    """Write the sample into README.md."""
    with tempfile.TemporaryDirectory() as folder:
        lines = sample(demo(Path(folder)))
    before, _, after = _block(README.read_text(encoding="utf-8"))
    README.write_text(before + "\n".join(lines).strip() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
