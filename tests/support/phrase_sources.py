"""The sources on which the SQL of a function depends: what its module imports, and what phrases it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from analysis.engine import kept_phrases

ROOT = Path(__file__).resolve().parents[2]
# Where SQL is made. What else these import has words for messages, reads users' words, or shows answers.
SCOPE = (
    "analysis/answers",
    "analysis/expressions",
    "analysis/engine/columns.py",
    "analysis/engine/kept_phrases.py",
    "analysis/engine/phrases.py",
    "analysis/engine/relation.py",
    "tracer/flags.py",
    "tracer/registry/ntstatus.py",
    "tracer/registry/operations.py",
    "tracer/registry/text.py",
    "tracer/schema.py",
)
_ALWAYS = ("analysis.engine.kept_phrases", "analysis.engine.phrases")


def sources_of(module: str) -> list[str]:
    """Return the paths of the sources of a module's phrases, from the root, sorted."""
    seen: set[str] = set()
    waiting = [module, *_ALWAYS]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _imports_of(name)
    paths = (path_of(name) for name in seen)
    return sorted(path for path in paths if path.startswith(SCOPE))


def path_of(module: str) -> str:
    """Return the path of a module of the project, from the root."""
    return f"{module.replace('.', '/')}.py"


def code_of(sources: list[str]) -> str:
    """Return a digest of sources without comments, docstrings and layout."""
    return kept_phrases.digest("\n".join(f"{path}\n{_code(path)}" for path in sources).encode())


@cache
def _imports_of(module: str) -> list[str]:
    """Return the modules of the project that a module loads; a test holds this against what Python loads."""
    tree = ast.parse((ROOT / path_of(module)).read_bytes())
    return [name for name in _named(tree) if (ROOT / path_of(name)).is_file()]


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.ClassDef) and not _is_for_types(node):
            yield from _named(node)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def _code(path: str) -> str:
    tree = ast.parse((ROOT / path).read_bytes())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
