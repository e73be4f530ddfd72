"""The session and the tables in docs/causes.md: `python tests/support/causes_page.py` writes them anew, tests compare."""

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "causes.md"
sys.path.insert(0, str(ROOT))

from terminal import run  # noqa: E402

from analysis.causes.candidates import REASONS  # noqa: E402
from analysis.causes.rules import RULES, Rule  # noqa: E402

COLUMNS = 80
SESSIONS: dict[str, tuple[str, ...]] = {
    "why": (
        "regtrace simulate -o persistence.etl --scenario persistence --events 500 --seed 3",
        "regtrace ingest persistence.etl",
        r"regtrace why persistence.regtrace 'HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon' Userinit",
    ),
    "bisect": (
        "regtrace simulate -o works.etl --scenario works --events 500 --seed 2",
        "regtrace simulate -o fails.etl --scenario fails --events 500 --seed 2",
        "regtrace ingest works.etl",
        "regtrace ingest fails.etl",
        "regtrace bisect works.regtrace fails.regtrace --process ReportViewer.exe --reg try.reg --undo undo.reg",
    ),
}
_SHOWN = {"why": 1, "bisect": 1}  # how many of the last commands of a session the page shows


def session(name: str, folder: Path) -> str:
    """Run the commands of a session on a terminal, in `folder`, and return what the page shows of it."""
    said = []
    commands = SESSIONS[name]
    for place, command in enumerate(commands):
        lines = run(command, folder, columns=COLUMNS, codes=(0, 3)).lines[:-1]
        if place >= len(commands) - _SHOWN[name]:
            said += [f"$ {command}", *lines]
    return "\n".join(said).rstrip()


def table(first: str, rules: Mapping[str, Rule]) -> str:
    """Return a table of rules or reasons in Markdown."""
    rows = [f"| {name} | {rule.weight} | {rule.meaning} |" for name, rule in rules.items()]
    return "\n".join([f"| {first} | weight | meaning |", "| --- | ---: | --- |", *rows])


def recorded(name: str) -> list[str]:
    """Return the lines of a session as the page has it."""
    rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- session {name} -->\n")[2]
    return rest.partition("<!-- end -->")[0].split("\n")


def page(text: str, sessions: dict[str, str]) -> str:
    """Return the page with sessions and tables as they are now."""
    for name, said in sessions.items():
        begin = f"<!-- session {name} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition("<!-- end -->")
        text = f"{before}{begin}```text\n{said}\n```\n<!-- end -->{after}"
    for first, rules in (("rule", RULES), ("reason", REASONS)):
        found = re.search(rf"\| {first} \| weight \|.*?\n\n", text, re.DOTALL)
        assert found is not None, f"the page has no table of {first}s"
        text = text[: found.start()] + table(first, rules) + "\n\n" + text[found.end() :]
    return text


def main() -> None:
    """Write the page."""
    made = {}
    for name in SESSIONS:
        with tempfile.TemporaryDirectory() as folder:
            made[name] = session(name, Path(folder))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
