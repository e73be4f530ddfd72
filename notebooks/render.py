"""Run the notebooks and write each as a page of docs/notebooks/, results and pictures included.

    python notebooks/render.py [NAME.ipynb ...]

Needs the extra dev. The notebooks themselves stay without outputs.
"""

import base64
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "notebooks"
WIDE = "import pandas as pd\npd.set_option('display.width', 150, 'display.max_columns', 20, 'display.max_colwidth', 44)"


def render(notebook: Path) -> None:
    """Write the page of one notebook, and its pictures beside it."""
    book = nbformat.read(notebook, as_version=4)
    written = list(book.cells)
    book.cells.insert(0, nbformat.v4.new_code_cell(WIDE))
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    for old in PAGES.glob(f"{notebook.stem}-*.png"):
        old.unlink()
    parts, pictures = [], 0
    for cell in written:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "<progress" in data.get("text/html", ""):
                continue  # a bar of a job that has ended
            if "image/png" in data:
                pictures += 1
                name = f"{notebook.stem}-{pictures}.png"
                (PAGES / name).write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![{heading_before(parts)}]({name})")
            elif text := text_of(data):
                parts.append(f"```text\n{text}\n```")
    note = f"*From [{notebook.name}](../../notebooks/{notebook.name}), run from top to bottom.*"
    page = "\n\n".join([parts[0], note, *parts[1:]])
    (PAGES / f"{notebook.stem}.md").write_text(page + "\n", encoding="utf-8")


def text_of(data: dict[str, Any]) -> str:
    """Return what a page shows of an output that is no picture."""
    return "\n".join(line.rstrip() for line in data.get("text/plain", "").splitlines())


def heading_before(parts: list[str]) -> str:
    """Return the last heading so far: what a picture is of."""
    lines = [line for part in parts if not part.startswith("```") for line in part.splitlines()]
    return [line.lstrip("# ") for line in lines if line.startswith("#")][-1]


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    here = ROOT / "notebooks"
    for path in [here / name for name in sys.argv[1:]] or sorted(here.glob("*.ipynb")):
        render(path)
