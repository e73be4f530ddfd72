"""Captures that stay open for the verbs of a test module: each verb sees its files as they are."""

import shutil
from pathlib import Path

from open_captures import captures_stay_open
from small_capture import write_capture

from cli.captures import opened


def test_verbs_share_an_open_capture_until_a_file_of_it_changes(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "a.regtrace")
    with captures_stay_open():
        with opened(folder) as capture:
            first = capture.context.engine
        with opened(folder) as capture:
            assert capture.context.engine is first
        assert first.is_open
        shutil.rmtree(folder)
        write_capture(folder, events=24)
        with opened(folder) as capture:
            second = capture.context.engine
            assert second is not first
            assert len(capture.timeline()) == 24
    assert not first.is_open
    assert not second.is_open


def test_captures_that_no_verb_needs_any_more_are_closed(tmp_path: Path) -> None:
    engines = []
    with captures_stay_open():
        for number in range(6):
            with opened(write_capture(tmp_path / f"{number}.regtrace", events=6)) as capture:
                engines.append(capture.context.engine)
        assert [engine.is_open for engine in engines] == [False] * 2 + [True] * 4


def test_the_rows_of_a_query_are_those_of_its_own_capture(tmp_path: Path) -> None:
    """A query that was asked before is not asked again, and no capture gets the rows of another one."""
    with captures_stay_open():
        counts = []
        for events in (24, 36, 24):
            with opened(write_capture(tmp_path / f"{len(counts)}.regtrace", events=events)) as capture:
                query = "SELECT sequence FROM events ORDER BY sequence"
                first = capture.sql(query)
                assert capture.sql(query).equals(first)
                counts.append(len(first))
        assert counts == [24, 36, 24]
