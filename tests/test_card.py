"""The card of a capture: what it says, and that what strangers wrote stays text."""

import html
import re

import pytest

from analysis.card import card_html, card_text, facts
from tracer.store.manifest import Manifest

PART = {"first_ns": 1_714_557_600_000_000_000, "last_ns": 1_714_557_690_500_000_000}
HOST = {"name": "<b>PC\u202e</b>", "system": "Windows-11", "machine": "AMD64"}


def manifest(**changes) -> Manifest:
    known = {
        "complete": True,
        "windows_build": 26100,
        "sources": [{"name": "boot.etl", "facts": {"cpus": 8}}],
        "parts": [PART],
        "totals": {"events": 1000, "names": {"open": 900, "none": 25, "event": 75, "seed": 0}},
    }
    return Manifest(**(known | changes))


def card_text_of(page: str) -> str:
    """Return what a card shows, as one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_card_says_span_host_events_names_and_losses():
    said = facts(manifest())
    assert said["span"] == "90.500 s"
    assert said["time"] == "2024-05-01T10:00:00.000Z to 2024-05-01T10:01:30.500Z"
    assert said["host"] == "Windows build 26100, 8 processors"
    assert said["events"] == "1,000 events"
    assert said["names"] == "open 900 (90.0 %), event 75 (7.5 %), none 25 (2.5 %)"
    assert said["losses"] == "none recorded"
    shown = card_text_of(card_html("a.regtrace", said))
    assert all(word in shown for text in said.values() for word in text.split())


def test_the_card_counts_operations_and_says_what_to_ask_next():
    counts = {
        "OpenKey": 900,
        "SetValueKey": 100,
        **{f"Kind{number}": 1 for number in range(10)},
        "<b>": 5,
        "odd": None,
    }
    shown = card_text_of(card_html("a.regtrace", facts(manifest()), counts))
    assert "OpenKey 900" in shown
    assert "<b> 5" in shown
    assert "5 other kinds 5" in shown
    assert "capture.changes()" in shown
    assert "rt.open" not in shown
    closed = card_text_of(card_html("a.regtrace", facts(manifest(), closed=True)))
    assert "rt.open(capture.path)" in closed
    assert "capture.changes()" not in closed


@pytest.mark.parametrize(
    ("rows", "words"), [(1, "1 loss "), (1200, "1,200 losses "), (0, "something was lost")]
)
def test_a_card_of_an_incomplete_capture_says_how_many_losses(rows, words):
    said = facts(manifest(complete=False, tables={"losses": {"file": "losses.parquet", "rows": rows}}))
    assert said["losses"].startswith("incomplete")
    assert words in said["losses"]


def test_the_machine_of_a_recording_is_named_and_its_name_stays_text():
    said = facts(manifest(settings={"recording": {"host": HOST}}))
    assert said["host"] == "<b>PC\\u202e</b>, Windows-11, AMD64, 8 processors"
    assert "<b>" not in card_html("a", said)
    assert "\u202e" not in card_html("\u202e", said)


def test_what_is_unknown_or_odd_is_left_out():
    odd = manifest(
        windows_build=None, sources=[{"name": None, "facts": None}], parts=[], totals={"names": []}
    )
    assert set(facts(odd)) == {"sources"}
    assert "host" not in facts(manifest(windows_build=None, sources=[], settings={"recording": None}))


def test_the_one_line_form_stays_short():
    assert card_text("a", facts(manifest())) == (
        "<Capture a: 1,000 events; 2024-05-01T10:00:00.000Z to 2024-05-01T10:01:30.500Z; boot.etl>"
    )


@pytest.mark.parametrize(("seconds", "words"), [(0, "0.000 s"), (150, "2 min 30 s"), (7384, "2 h 3 min")])
def test_lengths_are_in_the_units_people_use(seconds, words):
    part = PART | {"last_ns": PART["first_ns"] + seconds * 10**9}
    assert facts(manifest(parts=[part]))["span"] == words
