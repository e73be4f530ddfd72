"""Documents cannot rot: every command in them parses, every link leads somewhere, the Python in them runs."""

import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import modules_page
import pytest
import python_page
import readme_demo
import typer

import regtrace
from cli.app import VERBS, app
from cli.exits import MEANINGS
from tracer.diagnostics import COUNTERS
from tracer.schema import FLAGS, NAME_SOURCES, TABLES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = ROOT / "README.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[ /\\])regtrace(?= )")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the fenced blocks written in one of `languages`."""
    yield from (body for language, body in FENCE.findall(text_of(page)) if language in languages)


def commands(page: Path) -> Iterator[str]:
    """Yield every command line of regtrace on a page: in blocks, and in `code` inside the prose."""
    for body in blocks(page, "sh", "powershell", "text", ""):
        for line in re.split(r"\n|&&|;", body):
            # In help texts an explanation follows the command, far to the right.
            command = re.split(r" {3,}", line.strip())[0]
            if re.match(r"(?:\S*[/\\])?regtrace ", command):
                yield command
    yield from re.findall(r"`(regtrace [^`]+)`", FENCE.sub("", text_of(page)))


def arguments(command: str) -> list[str]:
    """Return the words after `regtrace`, up to where a shell takes over."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|>")
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", "#"  # backslashes are for paths here
    words = list(lexer)[1:]
    stop = next((at for at, word in enumerate(words) if word[:1] in ("|", ">")), len(words))
    return words[:stop]


WRITTEN = [(page, command) for page in PAGES for command in commands(page)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page make, as common renderers make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_hold_commands():
    assert len(WRITTEN) > 30


@pytest.mark.parametrize(
    ("page", "command"), WRITTEN, ids=[f"{page.name}-{command[:60]}" for page, command in WRITTEN]
)
def test_every_command_in_the_documents_parses(page, command):
    verb, *words = arguments(command)
    if verb in ("--help", "--version", "--install-completion", "--show-completion"):
        return
    assert verb in VERBS, "there is no such verb"
    group = typer.main.get_command(app)
    with group.make_context("regtrace", [], resilient_parsing=True) as context:
        found = group.get_command(context, verb)
        # `regtrace timeline` in a sentence only names the verb; with --help nothing else is needed.
        if "--help" in words or (not words and any(parameter.required for parameter in found.params)):
            return
        try:
            found.make_context(verb, words, parent=context)
        except Exception as problem:  # noqa: BLE001  (many classes; each means that it does not parse)
            pytest.fail(f"{problem!r}: {problem}")


def test_the_readme_shows_every_verb():
    shown = {arguments(command)[0] for page, command in WRITTEN if page == README}
    assert shown >= set(VERBS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize(
    "page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_file_that_is_named_exists(page):
    named = re.findall(r"`((?:tracer|analysis|cli|tests|docs|benchmarks)/[\w./-]+)`", text_of(page))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_room_has_its_row_in_the_architecture():
    rows = re.findall(r"^\| `(\w+/\w+)/` \|", text_of(ROOT / "ARCHITECTURE.md"), re.MULTILINE)
    rooms = [path.parent for house in modules_page.HOUSES for path in (ROOT / house).glob("*/__init__.py")]
    assert sorted(rows) == sorted(room.relative_to(ROOT).as_posix() for room in rooms)


def test_the_page_of_modules_is_made_from_their_docstrings():
    assert modules_page.PAGE.read_text(encoding="utf-8") == modules_page.page(), (
        "run tests/support/modules_page.py"
    )


@pytest.mark.slow
def test_the_page_of_python_is_made_from_docstrings_and_signatures():
    assert text_of(python_page.PAGE) == python_page.page(), "run tests/support/python_page.py"


def test_every_page_is_in_the_index_which_the_readme_links():
    listed = re.findall(r"^\| \[[^]]+\]\(([^)#]+)\) \|", text_of(ROOT / "docs" / "README.md"), re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(name for name in listed if "/" not in name) == sorted(pages)
    assert "(docs/README.md)" in text_of(README)


@pytest.mark.parametrize("house", modules_page.HOUSES)
def test_few_modules_stand_outside_a_room(house):
    assert len([path for path in (ROOT / house).glob("*.py") if path.name != "__init__.py"]) <= 6


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    with redirect_stdout(io.StringIO()):
        for number, body in enumerate(blocks(README, "python")):
            exec(compile(body, f"README block {number}", "exec"), names)
            ran += 1
    assert ran >= 1
    assert (tmp_path / "demo.regtrace" / "capture.json").exists()


def test_the_exit_codes_of_the_readme_are_the_programs():
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", text_of(README), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == {
        code.value: meaning for code, meaning in MEANINGS.items()
    }


def test_the_page_on_names_explains_every_source_and_flag():
    page = text_of(ROOT / "docs" / "names.md")
    for word in [*NAME_SOURCES, *FLAGS]:
        assert f"`{word}`" in page


def test_the_counters_that_are_named_exist():
    rows = re.findall(r"^\| .* \| ([`\w, ]+) \|$", text_of(ROOT / "docs" / "formats.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) > 10
    assert named <= set(COUNTERS)


def test_the_readme_names_every_table():
    page = text_of(README)
    assert [name for name in TABLES if f"`{name}`" not in page and f"{name}.parquet" not in page] == []


def test_one_version_everywhere_and_a_changelog_that_is_open():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["version"] == regtrace.__version__
    changes = text_of(ROOT / "CHANGELOG.md")
    first, *released = re.findall(r"^## \[?([^\]\n]+?)\]?(?: - .*)?$", changes, re.MULTILINE)
    assert first == "Unreleased"
    assert not released or released[0] == regtrace.__version__


def test_what_was_not_run_on_windows_is_said_once():
    caveat = re.compile(
        r"not (?:yet )?(?:been )?run (?:on Windows|there)|not yet on Windows|run on Windows (?:itself )?yet"
    )
    sources = [path for house in modules_page.HOUSES for path in (ROOT / house).rglob("*.py")]
    said = {
        path.relative_to(ROOT).as_posix()
        for path in [*PAGES, *sources]
        if caveat.search(re.sub(r"\[[^]]*\]\([^)]*\)", "", " ".join(text_of(path).split())))
    }
    assert said == {"README.md"}


def test_no_machine_is_named():
    places = re.compile(r"(?<![\w.])/(?:home|work|root|mnt|Users)/|\blocalhost\b|\b127\.0\.0\.1\b")
    assert [page.name for page in PAGES if places.search(text_of(page))] == []


@pytest.mark.slow
def test_the_sample_of_the_readme_is_what_the_demo_shows(tmp_path):
    """Where it is not: python tests/support/readme_demo.py"""
    pytest.importorskip("pty", reason="terminals as POSIX has them")
    assert readme_demo.words(readme_demo.block()) == readme_demo.words(
        readme_demo.sample(readme_demo.demo(tmp_path))
    )
