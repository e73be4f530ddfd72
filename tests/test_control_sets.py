"""Keys by CurrentControlSet in captures that do not tell which control set was the current one."""

from pathlib import Path

import pytest
from hand_capture import event, write_events

import regtrace as rt
from analysis.questions.unknown_names import unknown_key

SERVICE = r"HKLM\SYSTEM\{}\Services\Vendor"


@pytest.mark.parametrize(
    ("held", "asked"), [("ControlSet001", "CurrentControlSet"), ("CurrentControlSet", "ControlSet001")]
)
@pytest.mark.parametrize("end", ["", r"\**\Param*"])
def test_a_key_in_another_control_set_is_named(tmp_path: Path, held: str, asked: str, end: str) -> None:
    events = [event("QueryKey", SERVICE.format(held) + part) for part in ("", r"\Some\Parameters")]
    with rt.open(write_events(tmp_path / "a", events, control_set=None)) as capture:
        assert capture.context.manifest.control_set is None
        said = unknown_key(capture.context, SERVICE.format(asked) + end, subtree=False)
        assert said is not None
        assert "does not tell which control set was the current one" in said
        assert said.endswith(SERVICE.format(held) + end)
        elsewhere = unknown_key(capture.context, SERVICE.format(asked) + r"\Other", subtree=False)
        assert elsewhere is not None
        assert "control set was" not in elsewhere
        with pytest.warns(rt.RegtraceWarning, match="control set"):
            assert not len(capture.blame(SERVICE.format(asked)))


def test_a_bisection_without_candidates_says_why(tmp_path: Path) -> None:
    key = SERVICE.format("ControlSet001")
    same = [event("QueryKey", key, process="app.exe", at_us=at) for at in (1, 2)]
    more = [*same, event("QueryKey", key + r"\More", process="app.exe", at_us=3)]
    works, fails = (
        write_events(tmp_path / name, events) for name, events in (("works", same), ("fails", more))
    )
    with rt.open(works) as one, rt.open(fails) as other:
        assert "every operation of one run has its partner" in one.bisect(one).attrs["empty"]
        assert "name the one that fails (process=" in one.bisect(other).attrs["empty"]
        assert "outside of the registry" in one.bisect(other, process="app.exe").attrs["empty"]
