"""Tables of every verb at three widths of a terminal: no line is too long, no key loses its last component."""

import re
import unicodedata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from cli.output.safe import visible
from tracer.registry.quoting import quote_name

VERBS = {
    "timeline": ("timeline", "--limit", "400"),
    "keys": ("keys", "--limit", "80"),
    "history": ("history", "HKLM", "--subtree", "--limit", "200"),
    "state": ("state", "--limit", "200"),
    "changes": ("changes", "--limit", "200"),
    "who": ("who", "HKLM", "--subtree"),
    "who --each": ("who", "HKLM", "--subtree", "--each", "--limit", "200"),
    "hot": ("hot", "--limit", "60"),
    "hot --by storm": ("hot", "--by", "storm", "--min-count", "2"),
    "handles": ("handles", "--limit", "200"),
    "handles --by key": ("handles", "--by", "key", "--limit", "200"),
    "redundant": ("redundant", "--limit", "100"),
    "errors": ("errors", "--limit", "100"),
    "tree": ("tree", "--depth", "4", "--limit", "100"),
    "diff --first": ("diff", "--first", "--a-to", "+80ms", "--b-from", "+80ms"),
    "slow": ("slow", "--most", "20"),
    "log": ("log",),
    "blame": ("blame", "HKLM", "--limit", "200"),
    "diff": ("diff", "--a-to", "+1s", "--b-from", "+1s", "--limit", "200"),
}
NO_KEY_LINES = {
    "keys",
    "who",
    "hot",
    "hot --by storm",
    "tree",
    "log",
    "slow",
    "changes",  # its lines are the components of a tree
}  # the key is a column, or there is none
_KEY = re.compile(r'"?(?:HK|\\REGISTRY|<object|…\\)')
_SHORT_ID = re.compile(r" #\d+\Z", re.ASCII)  # what a shortened key can be asked for by
_SHORT = re.compile(r"\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}|S-1-5-21(?:-\d+){4}")


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("widths")
    rt.simulate(folder / "a.etl", rt.SimulationOptions(events=4000, seed=7))
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    return folder / "a.regtrace"


@pytest.fixture(scope="module")
def last_components(capture: Path) -> set[str]:
    """Return the last components of all keys, also as a table shortens identifiers."""
    with rt.open(capture) as opened:
        paths = [path for path in opened.sql("SELECT display_path FROM keys")["display_path"] if path]
    names = {visible(path.rpartition("\\")[2]) for path in paths}
    return names | {_SHORT.sub(lambda found: _shortened(found[0]), name) for name in names}


def _shortened(identifier: str) -> str:
    return f"{identifier[:9]}…}}" if identifier[0] == "{" else f"S-1-5-21…-{identifier.rpartition('-')[2]}"


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("verb", VERBS)
def test_a_table_fits_and_tells_each_key(
    monkeypatch, capture, last_components, verb: str, width: int
) -> None:
    monkeypatch.setattr("cli.output.destination.is_terminal", lambda stream: True)
    monkeypatch.setattr("cli.output.destination.terminal_width", lambda: width)
    name, *options = VERBS[verb]
    shown = CliRunner().invoke(app, [name, str(capture), *options, "-q"])
    assert shown.exit_code in (0, 3), shown.stderr
    lines = [line for line in shown.stdout.splitlines() if not re.match(r"\w: ", line)]  # but for the legend
    assert len(lines) > 3
    wide = [line for line in lines if sum(map(_cells, line)) > width]
    assert wide == []
    if verb in NO_KEY_LINES or (verb != "timeline" and width > 80):
        return
    keys = [line for line in lines if _KEY.match(line)]
    assert keys
    paths = [_SHORT_ID.sub("", line) for line in keys]
    lost = {path for path in paths if path.strip('"').rpartition("\\")[2] not in last_components}
    assert not {line for line in lost if quote_name(line) == line}


def _cells(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
