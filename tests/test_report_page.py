"""The page of a report in a real browser: it searches, sorts, filters, goes through time and prints; it asks for nothing.

They need a Chromium on the PATH, as Debian's package `chromium-headless-shell` brings one; without it they are skipped.
"""

import base64
import re

import pytest
from browser import Browser, find_browser
from small_capture import write_capture

import regtrace as rt
from analysis.open import open_capture
from analysis.report.report import make_report
from tracer.scenarios import simulate_scenario
from tracer.simulate import SimulationOptions

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs a Chromium (Debian: chromium-headless-shell)"),
]
ROWS = """(name => [...document.querySelectorAll(`[data-name="${name}"] tbody tr:not(.key)`)]
    .map(row => [...row.cells].map(cell => cell.textContent)))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of an installation, its page, and what its questions answer."""
    folder = tmp_path_factory.mktemp("report")
    simulate_scenario(folder / "story.etl", "installer", SimulationOptions(events=1500))
    rt.ingest(folder / "story.etl", folder / "story.regtrace")
    pytest.importorskip("altair", reason="the page has a picture")
    with open_capture(folder / "story.regtrace") as capture:
        report = make_report(capture, most_stops=6, most_keys=8)
        return report, report.save(folder / "report.html")


@pytest.fixture
def page(browser, made):
    browser.open(made[1])
    return browser


def grid(report, section):
    [found] = [one for one in report.sections if one.name == section]
    return found.grids[0]


def rows(browser, name):
    while browser.evaluate(f"""(more => more && !more.hidden && (more.click(), true))(
            document.querySelector('[data-name="{name}"] > .tools:last-child button'))"""):
        pass
    return browser.evaluate(f"{ROWS}({name!r})")


def cells(grid, rows=None):
    """Return what stands in the rows of a table on the page: keys stand above them."""
    key = grid.kinds.index("key") if "key" in grid.kinds else None
    return [
        [shown(cell) for at, cell in enumerate(row) if at != key]
        for row in (grid.rows if rows is None else rows)
    ]


def shown(cell):
    return "" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell


def press(browser, text, within="document"):
    browser.evaluate(
        f"[...{within}.querySelectorAll('button')].find(one => one.textContent === {text!r}).click()"
    )


def search(browser, text):
    browser.evaluate(
        "document.getElementById('search').focus(); document.getElementById('search').value = ''"
    )
    browser.type(text)


def test_the_page_shows_what_the_report_says_and_asks_for_nothing(page, made):
    report, path = made
    assert page.complaints == []
    assert page.requests == [path.resolve().as_uri()]
    assert rows(page, "errors") == cells(grid(report, "failing"))
    assert rows(page, "changes") == cells(grid(report, "changes"))
    assert page.evaluate("document.querySelectorAll('.picture canvas').length") == 1


def test_a_heading_sorts_both_ways_and_a_third_press_ends_it(page, made):
    report, _ = made
    errors = grid(report, "failing")
    titles = [title for title in errors.titles if title != "key"]
    at = titles.index("failures")
    numbers = [row[errors.titles.index("failures")] for row in errors.rows]
    table = "document.querySelector('[data-name=\"errors\"]')"
    press(page, "failures", table)
    assert [int(row[at].replace(",", "")) for row in rows(page, "errors")] == sorted(numbers, reverse=True)
    press(page, "failures", table)
    assert [int(row[at].replace(",", "")) for row in rows(page, "errors")] == sorted(numbers)
    press(page, "failures", table)
    assert [int(row[at].replace(",", "")) for row in rows(page, "errors")] == numbers


def test_the_search_and_a_filter_of_a_column_leave_the_rows_that_fit(page, made):
    report, _ = made
    errors = grid(report, "failing")
    word = errors.rows[0][errors.titles.index("process")].partition(".")[0].lower()
    search(page, word)
    fitting = [row for row in errors.rows if any(word in shown(cell).lower() for cell in row)]
    assert len(fitting) > 0
    assert rows(page, "errors") == cells(errors, fitting)
    titles = [title for title in errors.titles if title != "key"]
    operation = fitting[0][errors.titles.index("operation")]
    press(page, "Filter columns", "document.querySelector('[data-name=\"errors\"]')")
    at = titles.index("operation")
    page.evaluate(f"document.querySelectorAll('[data-name=\"errors\"] .filters input')[{at}].focus()")
    page.type(operation)
    place = errors.titles.index("operation")
    assert rows(page, "errors") == cells(errors, [row for row in fitting if operation in row[place]])
    search(page, "no row has this")
    assert rows(page, "errors") == []


def test_the_address_keeps_search_order_and_moment(page, made, browser):
    _, path = made
    search(page, "setup")
    press(page, "failures", "document.querySelector('[data-name=\"errors\"]')")
    press(page, "\u2190 Earlier")
    before = rows(page, "errors"), page.evaluate("document.getElementById('moment').textContent")
    page.wait("location.hash.includes('at=')")
    address = page.evaluate("location.hash")
    assert "q=setup" in address
    browser.open(path, address=address)
    browser.wait("document.getElementById('search').value === 'setup'")
    assert (
        rows(browser, "errors"),
        browser.evaluate("document.getElementById('moment').textContent"),
    ) == before


def test_the_slider_shows_the_state_at_each_moment(page, made):
    report, _ = made
    moments = report.moments
    for at in reversed(range(len(moments.times))):
        assert page.evaluate("document.getElementById('moment').textContent") == moments.times[at]
        lines = page.evaluate(
            "[...document.querySelectorAll('#state tr:not(.key)')].map(r => [...r.cells].map(c => c.textContent))"
        )
        told = [moments.lines[line][1:] for line in moments.states[at]]
        assert lines == [[line[0] or "(the key itself)", *line[1:]] for line in told]
        changed = page.evaluate("document.querySelectorAll('#state tr.changed').length")
        assert changed == (len(set(moments.states[at]) - set(moments.states[at - 1])) if at else 0)
        page.send({"type": "char", "key": "[", "text": "["}, {"type": "keyDown", "key": "["}, {"type": "keyUp", "key": "["})  # fmt: skip


def test_a_key_of_a_table_opens_its_card(page, made):
    report, _ = made
    [key] = page.evaluate(
        "[...document.querySelectorAll('[data-name=\"changes\"] tr.key a')].slice(0, 1).map(a => a.textContent)"
    )
    page.evaluate("document.querySelector('[data-name=\"changes\"] tr.key a').click()")
    [card] = [one for one in report.cards if one.key == key]
    place = report.cards.index(card)
    assert page.evaluate("document.querySelectorAll('details.card[open]').length") == 1
    assert rows(page, f"card{place}") == [[shown(cell) for cell in row] for row in card.history.rows]


def test_it_prints_every_card_on_paper(page, made):
    report, _ = made
    paper = base64.b64decode(page._call("Page.printToPDF", printBackground=True)["data"])
    assert paper.startswith(b"%PDF")
    sheets = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert sheets >= 2
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details.card[open]').length") == len(report.cards)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details.card[open]').length") == 0
    assert page.complaints == []


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_wider_than_the_window(page, width):
    page.resize(width, 900)
    try:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.resize(1280, 900)


def test_hostile_names_do_nothing(browser, tmp_path):
    with open_capture(write_capture(tmp_path / "<img src=x onerror=alert(1)>.regtrace")) as capture:
        report = make_report(capture, most_stops=3)
    browser.open(report.save(tmp_path / "hostile.html"))
    page = browser.evaluate("document.body.textContent")
    assert "<script>alert(1)</script>" in page
    assert browser.evaluate("document.querySelectorAll('main script, main img, main b, header img, [onerror]').length") == 0  # fmt: skip
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert browser.complaints == []
    assert len(browser.requests) == 1


def test_the_page_of_a_real_log_is_small(procmon_capture, browser, tmp_path):
    with open_capture(procmon_capture) as capture:
        path = make_report(capture, most_stops=6).save(tmp_path / "log.html")
    assert path.stat().st_size <= 3_000_000
    browser.open(path)
    assert browser.complaints == []
    assert len(browser.requests) == 1
