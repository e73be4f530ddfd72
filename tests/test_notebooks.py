"""The notebooks: each runs from top to bottom, and git holds no output of them."""

import json
import os
import re
from pathlib import Path

import pytest
from phrase_cache import startup

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks_and_the_page_beside_them_names_each():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    assert [path.name for path in NOTEBOOKS if path.name not in page] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory, phrases):
    """A kernel that runs one notebook after the other, and its folder: what they import is imported once."""
    reason = "running notebooks needs nbclient and ipykernel (extra dev)"
    pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    pytest.importorskip("altair", reason="notebooks draw: they need the extra plots")
    from jupyter_client import KernelManager

    folder = tmp_path_factory.mktemp("kernel")
    manager = KernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        if phrases is not None:
            first = folder / "IPYTHONDIR" / "profile_default" / "startup" / "phrases.py"
            first.parent.mkdir(parents=True)
            first.write_text(
                f'import sys\nsys.modules["rfc3987_syntax"] = None  # as in conftest.py\n{startup(phrases)}'
            )
        manager.start_kernel(cwd=str(folder))
    yield manager, folder
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def run(book, manager):
    """Run a notebook in a kernel that goes on."""
    from nbclient import NotebookClient

    client = NotebookClient(book, timeout=120, km=manager)
    try:
        client.execute()
    finally:
        client.kc.stop_channels()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore"
)  # those of the machinery that runs it; the notebook's own stay in its kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_leaves_nothing(path, kernel):
    import nbformat

    manager, folder = kernel
    forget = [
        nbformat.v4.new_code_cell("%reset -f"),
        nbformat.v4.new_code_cell("assert 'rt' not in globals()"),
    ]
    run(nbformat.v4.new_notebook(cells=forget), manager)  # the names of the notebook before
    book = nbformat.read(path, as_version=4)
    run(book, manager)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type in ("error", "stream")] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert list((folder / "TMPDIR").glob("regtrace-*")) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_of_a_notebook_has_its_cells_and_pictures(path):
    page = (ROOT / "docs" / "notebooks" / f"{path.stem}.md").read_text(encoding="utf-8")
    stale = "run: python notebooks/render.py"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        assert (text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```") in page, stale
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", page, re.MULTILINE)
    assert pictures
    assert all((ROOT / "docs" / "notebooks" / name).exists() for name in pictures)
