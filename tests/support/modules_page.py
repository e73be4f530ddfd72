"""The page docs/modules.md, made from the first line of every module's docstring.

`python tests/support/modules_page.py` writes it anew; a test compares.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOUSES = ("tracer", "analysis", "cli")
PAGE = ROOT / "docs" / "modules.md"
_HEAD = """# Every module, by room

Made from the first line of each module's docstring by `python tests/support/modules_page.py`.
[ARCHITECTURE.md](../ARCHITECTURE.md) says what the rooms are for, and which may import which.
"""


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring; an error where there is none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{path} has no docstring"
    return docstring.splitlines()[0]


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for house in HOUSES:
        packages = sorted(path.parent for path in (ROOT / house).rglob("__init__.py"))
        for package in packages:
            name = package.relative_to(ROOT).as_posix()
            parts.append(f"\n## {name}/\n\n{first_line(package / '__init__.py')}\n\n")
            modules = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
            parts += [f"* `{path.stem}`: {first_line(path)}\n" for path in modules]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
