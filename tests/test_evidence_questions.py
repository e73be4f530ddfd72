"""How questions find evidence beside the rows of the keys asked for: the same rows, whichever way they are looked for."""

from pathlib import Path

import pytest
from hand_capture import event, write_events

from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions import evidence

KEYS = [r"HKLM\A", r"HKLM\A\B", r"HKLM\A\B\C", r"HKLM\A\D", r"HKLM\E", r"HKU\S-1-5-21-1\SOFTWARE\Classes\F"]


@pytest.mark.parametrize("asked", [r"HKLM\A\B\C", r"HKLM\A", r"HKLM\**", r"HKU\**", r"HKLM\No"])
def test_the_keys_above_a_few_are_those_that_a_search_of_all_keys_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(evidence, "is_long", lambda *_: True)
    found = []
    for most, deepest in ((1000, 512), (0, 512), (1000, 0)):  # few keys; as if they were many, or too deep
        monkeypatch.setattr(evidence, "_MOST_LISTED", most)
        monkeypatch.setattr(evidence, "_DEEPEST", deepest)
        path = write_events(tmp_path / f"{most}-{deepest}.regtrace", [event("OpenKey", key) for key in KEYS])
        with open_capture(path) as capture:
            near = evidence._near(capture._context, Filters(key=asked))
            assert near is not None
            rows = capture._context.engine.fetch(near.pairs)
            found.append((rows.schema, sorted(map(tuple, zip(*rows.to_pydict().values(), strict=True)))))
    assert found[0] == found[1] == found[2]
    if asked in (r"HKLM\A\B\C", r"HKLM\**"):
        assert found[0][1]
