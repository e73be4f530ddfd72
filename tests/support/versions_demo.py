"""The recorded sessions in docs/history.md: `python tests/support/versions_demo.py` writes them anew, a test compares one.

Each block of the page that begins with ``$ regtrace`` is what that command shows on a terminal of 80 columns, over a capture
of the simulated scenario `persistence`.
"""

import re
import tempfile
from pathlib import Path

from terminal import run

import regtrace as rt
from tracer.scenarios import simulate_scenario
from tracer.simulate import SimulationOptions

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "history.md"
COLUMNS = 80
_BLOCK = re.compile(r"(?<=```text\n)\$ regtrace (.*)\n[\s\S]*?(?=```)")
_MOST_LINES = 24


def make_capture(folder: Path) -> Path:
    """Make the capture that the page shows."""
    simulate_scenario(folder / "host.etl", "persistence", SimulationOptions(events=1500, seed=11))
    rt.ingest(folder / "host.etl", folder / "host.regtrace")
    return folder / "host.regtrace"


def shown(command: str, folder: Path) -> str:
    """Return the session of one command: the command, and the first lines that it shows."""
    screen = run(f"regtrace --quiet {command}", folder, columns=COLUMNS, errors=False)
    lines = "\n".join(screen.lines).strip("\n").split("\n")
    more = ["..."] if len(lines) > _MOST_LINES else []
    return "\n".join([f"$ regtrace {command}", *lines[:_MOST_LINES], *more]) + "\n"


def sessions() -> dict[str, str]:
    """Return the sessions that the page has, by command."""
    return {found[1]: found[0] for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}


def main() -> None:
    """Write the sessions into the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_capture(folder)
        page = PAGE.read_text(encoding="utf-8")
        page = _BLOCK.sub(lambda found: shown(found[1], folder), page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
