"""Bookkeeping: what Windows notes of a user's actions is folded on request, counted, and nothing else is."""

from pathlib import Path

import pytest
from test_cli_verbs import as_on_a_terminal, invoke, plain

import regtrace as rt
from tracer.errors import UsageError
from tracer.registry.bookkeeping import BOOKKEEPING, is_bookkeeping

SID = "S-1-5-21-1-2-3-1001"
EXPLORER = rf"HKU\{SID}\Software\Microsoft\Windows\CurrentVersion\Explorer"
# An example that matches and one that nearly does, for each row of the table.
EXAMPLES = [
    (rf"HKU\{SID}_Classes\Local Settings\MuiCache\17\52C64B7E", rf"HKU\{SID}_Classes\Local Settings\MuiCached"),
    (rf"HKU\{SID}\Software\Microsoft\Windows\ShellNoRoam\MUICache", rf"HKU\{SID}\Software\Microsoft\Windows\ShellNoRoam"),
    (rf"{EXPLORER}\UserAssist\{{x}}\Count", rf"{EXPLORER}\UserAssistant"),
    (r"HKLM\SYSTEM\ControlSet001\Services\bam\State\UserSettings", r"HKLM\SYSTEM\ControlSet001\Services\bamboo"),
    (r"HKLM\SYSTEM\CurrentControlSet\Services\dam", r"HKLM\SOFTWARE\Services\dam"),
    (rf"{EXPLORER}\RecentDocs\.txt", r"HKLM\Software\Microsoft\Windows\CurrentVersion\Explorer\RecentDocs"),
    (rf"{EXPLORER}\ComDlg32\OpenSavePidlMRU\*", rf"{EXPLORER}\ComDlg"),
    (rf"{EXPLORER}\RunMRU", rf"HKU\{SID}\Software\Microsoft\Windows\CurrentVersion\Run"),
    (r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\TypedPaths", rf"{EXPLORER}\Typed"),
    (rf"{EXPLORER}\WordWheelQuery", rf"{EXPLORER}\WordWheel"),
    (rf"HKU\{SID}_Classes\Local Settings\Software\Microsoft\Windows\Shell\BagMRU\0\1", r"HKLM\SOFTWARE\Microsoft\Windows\Shell\BagMRU"),
    (rf"HKU\{SID}\Software\Microsoft\Windows\Shell\Bags\1\Desktop", rf"HKU\{SID}\Software\Microsoft\Windows\Shell"),
    (rf"HKU\{SID}\Software\Microsoft\Windows\ShellNoRoam\BagMRU", rf"HKU\{SID}\Software\Microsoft\Windows\ShellNoRoam\Other"),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "outside"), EXAMPLES)
def test_each_pattern_has_a_key_that_matches_and_one_that_nearly_does(inside: str, outside: str) -> None:
    assert is_bookkeeping(inside)
    assert is_bookkeeping(inside.upper())
    assert not is_bookkeeping(outside)


def test_every_row_of_the_table_has_an_example() -> None:
    assert len(BOOKKEEPING) == len(EXAMPLES)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fold")
    for name in ("works", "fails"):
        rt.simulate(folder / f"{name}.etl", rt.SimulationOptions(events=3000), scenario=name)
        rt.ingest(folder / f"{name}.etl", folder / f"{name}.regtrace")
    return folder


def test_net_changes_without_it_are_the_others_and_the_number_is_said(directory: Path) -> None:
    with rt.open(directory / "works.regtrace") as capture:
        every, rest = capture.changes(), capture.changes(fold="noise")
        noted = every["display_key"].map(is_bookkeeping)
        assert 0 < noted.sum() < len(every)
        assert rest["last_sequence"].tolist() == every[~noted]["last_sequence"].tolist()
        assert any(f"{noted.sum()} change" in note and "folded" in note for note in rest.attrs["notes"])
        with pytest.raises(UsageError, match="the only word is noise"):
            capture.changes(fold="sid")
        key = every[noted]["display_key"].iloc[0].rpartition("\\")[2] + "]"
        assert key in capture.reg_files().apply
        assert key not in capture.reg_files(fold="noise").apply


@pytest.mark.slow
def test_a_comparison_without_it_has_only_other_keys(directory: Path) -> None:
    with rt.open(directory / "works.regtrace") as a, rt.open(directory / "fails.regtrace") as b:
        every, rest = a.diff(b, fold="all"), a.diff(b, fold="all,noise")
    noted = (every["a_key"].fillna(every["b_key"])).map(
        lambda key: isinstance(key, str) and is_bookkeeping(key)
    )
    assert noted.sum()
    assert len(rest) == len(every) - noted.sum()


def test_the_command_line_says_what_it_folded(directory: Path) -> None:
    said = plain(as_on_a_terminal("changes", directory / "works.regtrace", "--fold", "noise"))
    assert "of what Windows notes of a user's actions folded" in " ".join(said.split())
    assert "UserAssist" not in said
    assert invoke("changes", directory / "works.regtrace", "--fold", "sid").exit_code == 2
