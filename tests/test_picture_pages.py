"""Pages of pictures in a real browser: zooming, filtering, reading rows; nothing is asked for, nothing acts.

They need a Chromium on the PATH, as Debian's package `chromium-headless-shell` brings one; without it they are skipped.
"""

import json
import re

import pytest
from browser import Browser, find_browser
from busy_capture import busy_capture
from small_capture import write_capture

pytest.importorskip("altair", reason="pictures need the extra plots")

from analysis.charts import operations
from analysis.charts.figures import PICTURES
from analysis.filters import Filters
from analysis.open import open_capture

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs a Chromium (Debian: chromium-headless-shell)"),
]
ANY = re.compile(r"[\d,]+")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    with busy_capture(tmp_path_factory.mktemp("pages"), events=5000) as opened:
        yield opened


@pytest.fixture(scope="module")
def timeline(busy, tmp_path_factory):
    return PICTURES["timeline"](busy, Filters(noise=True)).save(
        tmp_path_factory.mktemp("pages") / "timeline.html"
    )


def text(browser, name):
    return browser.evaluate(f"document.getElementById({name!r}).textContent")


def counted(browser):
    """Return how many operations the page says that it shows, or has in the choice."""
    return int(ANY.search(text(browser, "count"))[0].replace(",", ""))


def table(browser):
    return browser.evaluate(
        "[...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map(c => c.textContent))"
    )


def press(browser, label):
    before = browser.evaluate("document.documentElement.dataset.drawn")
    browser.evaluate(
        f"[...document.querySelectorAll('button')].find(b => b.textContent === {label!r}).click()"
    )
    browser.wait(f"document.documentElement.dataset.drawn > {before}")


def plot_area(browser):
    """Return left, top, width and height of the picture in the window."""
    browser.evaluate("document.getElementById('picture').scrollIntoView({block: 'start'})")
    box = "document.querySelector('#picture canvas').getBoundingClientRect()"
    return browser.evaluate(f"(b => [b.left, b.top, b.width, b.height])({box})")


def mouse(kind, x, y, **more):
    return {"type": f"mouse{kind}", "x": x, "y": y, **more}


def drag(browser, start, end):
    button = {"button": "left", "buttons": 1, "clickCount": 1}
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    browser.do(
        mouse("Moved", *start),
        mouse("Pressed", *start, **button),
        mouse("Moved", *middle, **button),
        mouse("Moved", *end, **button),
        mouse("Released", *end, **button),
    )


def test_a_reader_zooms_filters_and_reads_a_row(browser, busy, timeline):
    rows = busy.timeline()
    browser.open(timeline)
    assert counted(browser) == len(rows)
    assert "in steps of" in text(browser, "status")  # too many for marks

    left, top, wide, high = plot_area(browser)
    for _ in range(8):
        browser.do(mouse("Wheel", left + 0.6 * wide, top + high / 2, deltaX=0, deltaY=-120))
    within = counted(browser)
    assert 0 < within < len(rows) / 2
    assert "in steps of" not in text(browser, "status")  # the bars opened into marks
    shown = table(browser)
    times = [time for time, *_ in shown]
    assert times == sorted(times)
    assert all(time in set(rows["time"].dt.strftime("%Y-%m-%d %H:%M:%S.%f")) for time in times)

    press(browser, "Whole")
    assert counted(browser) == len(rows)
    press(browser, "read")
    assert counted(browser) == len(rows) - len(busy.timeline(operation="read"))
    press(browser, "read")
    press(browser, "done")
    assert counted(browser) == len(busy.timeline(status="error"))
    press(browser, "done")

    browser.evaluate("document.getElementById('search').focus()")
    browser.type("setvalue")
    assert counted(browser) == len(busy.timeline(operation="SetValueKey"))
    wanted = busy.timeline(operation="SetValueKey").iloc[0]
    first = table(browser)[0]
    assert first[0] == wanted["time"].strftime("%Y-%m-%d %H:%M:%S.%f")
    assert first[1:4] == [f"{wanted['process']} ({wanted['pid']})", "SetValueKey", wanted["status_name"]]
    browser.evaluate("document.querySelector('#rows tr').click()")
    assert browser.evaluate("document.querySelectorAll('#rows tr[aria-selected=true]').length") == 1

    assert browser.complaints == []
    assert browser.requests == [timeline.resolve().as_uri()]


def test_a_part_of_the_picture_can_be_chosen_and_listed(browser, busy, timeline):
    browser.open(timeline)
    left, top, wide, high = plot_area(browser)
    drag(browser, (left + 0.5 * wide, top + 10), (left + 0.6 * wide, top + high - 45))
    chosen = counted(browser)
    assert text(browser, "count").endswith("chosen")
    assert 0 < chosen < len(busy.timeline()) / 4
    press(browser, "Zoom to the choice")
    assert text(browser, "count").endswith("shown")
    assert counted(browser) == chosen
    assert browser.complaints == []


def test_a_bar_that_is_clicked_is_where_the_choice_is_drawn(browser, timeline):
    browser.open(timeline)
    left, top, wide, _ = plot_area(browser)
    y = top + 29  # the lower part of the first lane, which is 30 pixels high
    for x in range(int(left + wide / 2), int(left + wide)):
        browser.send(mouse("Moved", x, y))
        if "events" in text(browser, "tip"):  # and not only the shade of a loss
            break
    button = {"button": "left", "buttons": 1, "clickCount": 1}
    browser.do(mouse("Pressed", x, y, **button), mouse("Released", x, y, **button))
    box = browser.evaluate(
        "(b => [b.left, b.top, b.right, b.bottom])(document.getElementById('brush').getBoundingClientRect())"
    )
    assert box[0] - 1 <= x <= box[2] + 1
    assert box[1] <= y <= box[3]
    assert box[3] - box[1] == pytest.approx(30, abs=1)
    assert 0 < counted(browser) < 200
    assert browser.complaints == []


def test_every_control_is_reached_by_the_keyboard(browser, timeline):
    browser.open(timeline)
    whole = counted(browser)
    browser.evaluate("document.getElementById('picture').focus()")
    browser.do({"type": "keyDown", "key": "+", "text": "+"})
    assert 0 < counted(browser) < whole
    browser.do({"type": "keyDown", "key": "n", "text": "n"})
    assert browser.evaluate("document.querySelectorAll('#rows tr[aria-selected=true]').length") == 1
    browser.do({"type": "keyDown", "key": "0", "text": "0"})
    assert counted(browser) == whole
    reachable = "button:not([hidden]):not([disabled]), input, [tabindex='0']"
    assert browser.evaluate(f'[...document.querySelectorAll("{reachable}")].every(e => e.tabIndex === 0)')
    assert browser.complaints == []


def test_what_has_no_room_is_counted_and_said(browser, busy, tmp_path, monkeypatch):
    monkeypatch.setattr(operations, "_MOST_BYTES", 60_000)
    picture = PICTURES["timeline"](busy, Filters(operation="read,open"))
    rows = busy.timeline(operation="read,open")
    content = picture.page.content(picture.spec())
    closed = sum(cell[-1] for cell in content["cells"])
    assert content["rows"]["count"] + closed == len(rows)
    assert closed
    browser.open(picture.save(tmp_path / "cut.html"))
    assert counted(browser) == len(rows)
    assert text(browser, "cut").startswith(f"{closed:,} of them are only counted")
    assert "regtrace timeline busy.regtrace --operation read,open --from 20" in text(browser, "cut")
    press(browser, "read")
    assert counted(browser) == len(busy.timeline(operation="open"))
    press(browser, "read")
    browser.evaluate("document.getElementById('search').focus()")
    browser.type("queryvalue")
    assert counted(browser) < content["rows"]["count"]
    assert text(browser, "cut").startswith(f"{closed:,} operations of this time are only counted")
    assert browser.complaints == []


@pytest.mark.parametrize("kind", list(PICTURES))
def test_every_page_is_drawn_without_a_complaint_in_light_and_dark(
    browser, busy, tmp_path_factory, tmp_path, kind
):
    small = tmp_path_factory.mktemp("small") / "small.regtrace"
    with open_capture(write_capture(small)) as hostile:
        pages = [PICTURES[kind](busy).save(tmp_path / "busy.html")]
        if kind != "handles":  # the small one has no table of handles
            pages.append(PICTURES[kind](hostile).save(tmp_path / "hostile.html"))
    for page in pages:
        grounds = []
        for dark in (False, True):
            browser.open(page, dark=dark)
            grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert browser.complaints == []
            assert browser.requests == [page.resolve().as_uri()]
            assert browser.evaluate("document.scripts.length") == 3
            assert table(browser)
            painted = (
                "(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
                "(document.querySelector('#picture canvas'))"
            )
            assert browser.evaluate(painted) > 10
        assert grounds[0] != grounds[1]


def test_names_in_the_table_are_the_stored_ones_and_only_text(browser, tmp_path):
    with open_capture(write_capture(tmp_path / "small.regtrace")) as capture:
        page = PICTURES["timeline"](capture, Filters(key=r"HKLM\SOFTWARE\Hostile\**")).save(
            tmp_path / "hostile.html"
        )
        names = set(capture.timeline(r"HKLM\SOFTWARE\Hostile\**")["display_key"])
    browser.open(page)
    shown = {row[4] for row in table(browser)}
    assert {name for name in names if name.isprintable()} <= shown
    assert any("<script>" in name for name in shown)
    assert len(shown) == len(names)
    assert "".join(shown).isprintable()
    assert browser.evaluate("document.querySelectorAll('#rows script, #rows img').length") == 0
    assert browser.complaints == []


def test_a_picture_fills_the_window_and_follows_it(browser, timeline):
    browser.open(timeline)
    for wide in (800, 1600):
        browser.resize(wide, 900)
        browser.wait(
            f"Math.abs(document.querySelector('#picture canvas').getBoundingClientRect().right - {wide}) < 60"
        )
    browser.resize(1280, 900)
    assert browser.complaints == []


def test_a_key_of_the_tree_opens_at_a_click_in_the_table_and_the_path_leads_back(browser, busy, tmp_path):
    browser.open(PICTURES["tree"](busy).save(tmp_path / "tree.html"))
    top = text(browser, "status")
    key, operations_, *_ = table(browser)[0]
    before = browser.evaluate("document.documentElement.dataset.drawn")
    browser.evaluate("document.querySelector('#rows tr').click()")
    browser.wait(f"document.documentElement.dataset.drawn > {before}")
    assert text(browser, "status").startswith(f"{key}: {operations_} operations")
    assert all(row[0].startswith(key) for row in table(browser))
    press(browser, "Whole")
    assert text(browser, "status") == top
    assert browser.complaints == []


def test_the_content_of_a_page_is_whole(busy):
    picture = PICTURES["activity"](busy, Filters(noise=True))
    page = picture.html()
    [content] = re.findall(r'<script id="content" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert json.loads(content)["rows"]["count"] == picture.rows == len(busy.timeline())
