"""Who may import whom, and what start-up may load: read from the sources, so that it holds everywhere.

import-linter says part of this too (pyproject.toml); this runs where it is not installed, and says more.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
HOUSES = ("tracer", "analysis", "cli")
MAY_IMPORT = {"tracer": {"tracer"}, "analysis": {"tracer", "analysis"}, "cli": {"tracer", "analysis", "cli"}}
HEAVY = {"numpy", "pandas", "pyarrow", "duckdb", "ibis", "rich", "pyfwnt"}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for house in HOUSES
    for path in sorted((ROOT / house).rglob("*.py"))
} | {"regtrace": ROOT / "regtrace.py"}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"), filename=module)


@cache
def imported(module: str, *, at_start: bool = False) -> tuple[tuple[str, str | None, int], ...]:
    """Return (module, name or None, line) of what `module` imports.

    Args:
        module: whose imports.
        at_start: only those that run when the module is imported: not in functions, not for type checkers.
    """
    return tuple(_imported(module, at_start=at_start))


def _imported(module: str, *, at_start: bool) -> Iterator[tuple[str, str | None, int]]:
    waiting: list[ast.AST] = [tree_of(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.expr) or (
            at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            continue  # no expression imports, and what a function imports is imported later
        elif at_start and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def loaded_by(start: str) -> dict[str, str]:
    """Return every module that importing `start` imports, with the chain that leads to it."""
    chains = {start: start}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for target, name, _ in imported(module, at_start=True):
            whole = target if name is None else f"{target}.{name}"
            packages = [".".join(whole.split(".")[:depth]) for depth in range(1, whole.count(".") + 2)]
            ours = [package for package in packages if package in FILES]
            for found in ours or [target.split(".")[0]]:
                if found not in chains:
                    chains[found] = f"{chains[module]} -> {found}"
                    if found in FILES:
                        waiting.append(found)
    return chains


def test_there_is_something_to_look_at():
    assert {"tracer.ingest.pipeline", "analysis.capture", "cli.app", "regtrace"} <= set(FILES)
    assert {"cli.exits", "tracer.errors", "typer"} <= set(loaded_by("cli.app"))


@pytest.mark.parametrize("house", HOUSES)
def test_imports_point_one_way_only(house):
    wrong = [
        f"{module}:{line} imports {target}"
        for module in FILES
        if module.split(".")[0] == house
        for target, _, line in imported(module)
        if target.split(".")[0] in {*HOUSES, "regtrace"} - MAY_IMPORT[house]
        # the version is the public face's, and is asked for inside a function
        and (module, target) not in {("cli.app", "regtrace"), ("cli.commands.mcp", "regtrace")}
    ]
    assert wrong == []


def test_only_the_session_imports_windows_tracing():
    wrong = [
        f"{module}:{line}"
        for module in FILES
        for target, _, line in imported(module)
        if target.split(".")[0] == "etw" and not module.startswith("tracer.session.")
    ]
    assert wrong == []


def test_the_session_imports_windows_tracing_inside_functions_only():
    for module in FILES:
        if module.startswith("tracer.session."):
            assert "etw" not in loaded_by(module)


def test_only_the_command_line_prints():
    wrong = [
        f"{module}:{node.lineno}"
        for module in FILES
        if not module.startswith("cli")
        for node in ast.walk(tree_of(module))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"))
    ]
    assert wrong == []


def test_nobody_imports_what_another_module_keeps_to_itself():
    public = {}
    for module in FILES:
        for node in tree_of(module).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                public[module] = set(ast.literal_eval(node.value))
    wrong = [
        f"{module}:{line} imports {name} from {target}"
        for module in FILES
        for target, name, line in imported(module)
        if target in public and name is not None and f"{target}.{name}" not in FILES
        if name not in public[target]
    ]
    assert wrong == []


@cache
def arrows() -> dict[str, set[str]]:
    """Return what every module of ours imports of ours, anywhere in it and for type checkers as well."""
    return {
        module: {
            whole if (whole := f"{target}.{name}") in FILES else target
            for target, name, _ in imported(module)
        }
        & set(FILES) - {module}
        for module in FILES
    }


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that reach each other."""
    reach = {}
    for start in graph:
        reached, waiting = set[str](), [start]
        while waiting:
            fresh = graph[waiting.pop()] - reached
            reached |= fresh
            waiting += fresh
        reach[start] = reached
    found = [{other for other in reach[module] if module in reach[other]} for module in graph]
    return [circle for place, circle in enumerate(found) if circle and circle not in found[:place]]


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a", "e"}}
    assert circles(graph) == [{"a", "b", "c"}, {"d", "e"}]


def test_no_modules_import_each_other_in_a_circle():
    ours = {module: targets - {"regtrace"} for module, targets in arrows().items() if module != "regtrace"}
    assert circles(ours) == []


def rooms_by_the_page(house: str) -> dict[str, set[str]]:
    """Return which rooms each room of a house may import, by the table in ARCHITECTURE.md."""
    rows = re.findall(
        rf"^\| `{house}/(\w+)/` \|[^|]*\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {room: {name.strip() for name in names.split(",")} - {""} for room, names in rows}


@pytest.mark.parametrize("house", HOUSES)
def test_rooms_import_the_rooms_that_the_page_names(house):
    rooms = {path.parent.name for path in (ROOT / house).glob("*/__init__.py")}
    allowed = rooms_by_the_page(house)
    assert set(allowed) == rooms
    used: dict[str, set[str]] = {room: set() for room in rooms}
    for module, targets in arrows().items():
        if module.startswith(f"{house}.") and (room := module.split(".")[1]) in rooms:
            seen = {target.split(".")[1] for target in targets if target.startswith(f"{house}.")}
            used[room] |= (seen & rooms) - {room}
    if house == "cli":
        assert allowed.pop("commands") == {"all of cli"}
        del used["commands"]
    assert used == allowed


@pytest.mark.parametrize("start", ["cli.app", "regtrace"])
def test_start_up_loads_nothing_heavy(start):
    assert [chain for module, chain in loaded_by(start).items() if module in HEAVY] == []


@pytest.mark.parametrize("house", HOUSES)
def test_every_house_says_that_it_is_typed(house):
    assert (ROOT / house / "py.typed").is_file()
