r"""CLSIDs in answers: a class is called what the capture tells, and nothing where it tells nothing."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import hive_writer
import pml_writer as pml
import pytest
from hand_capture import event, write_events
from hypothesis import given
from hypothesis import strategies as st
from procmon_oracle import csv_rows
from typer.testing import CliRunner

import regtrace as rt
from analysis.capture import Capture
from cli.app import app
from tracer.registry.class_ids import class_of_text, class_words, key_class
from tracer.registry.decoders import COM_CLASS

LOG = "pml/pp-LogfileTests64bitUTC.pml"
CLASSES = r"HKLM\SOFTWARE\Classes"
USER = "S-1-5-21-1-2-3-1001"
FOLDER, PLAIN, TWICE, OTHER, MINE, LONG = (
    f"{{0000000{number}-1111-2222-3333-44444444ABCD}}" for number in range(1, 7)
)


def wide(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def told(key: str, value: str, text: str, operation: str = "QueryValueKey", **more: Any) -> dict[str, Any]:
    data = wide(text)
    return event(operation, key, value, **{"data_type": 1, "data_size": len(data), "data": data} | more)


EVENTS = [
    event("OpenKey", rf"{CLASSES}\CLSID\{FOLDER}"),
    told(r"HKLM\SOFTWARE\A", "Handler", FOLDER),
    told(r"HKLM\SOFTWARE\A", "Small letters", FOLDER.lower()),
    told(r"HKLM\SOFTWARE\A", "Number", FOLDER, data_type=3),
    told(r"HKLM\SOFTWARE\A", "Longer", f"{FOLDER} "),
    event("QueryValueKey", r"HKLM\SOFTWARE\A", "TheCLSID", data_type=3, data_size=16,
          data=bytes.fromhex("01000000111122223333 44444444ABCD")),
    told(rf"{CLASSES}\CLSID\{FOLDER}", "", "Folder View", operation="SetValueKey"),
    told(rf"{CLASSES}\Vendor.Plain\CLSID", "", PLAIN),
    told(r"HKLM\SOFTWARE\A", "By ProgID", PLAIN),
    told(rf"{CLASSES}\CLSID\{TWICE}\ProgID", "", "Vendor.Twice.1"),
    told(rf"{CLASSES}\CLSID\{TWICE}", "", "First"),
    told(rf"{CLASSES}\WOW6432Node\CLSID\{TWICE}", "", "Second"),
    told(r"HKLM\SOFTWARE\A", "Two names", TWICE),
    told(r"HKLM\SOFTWARE\B", "", "no class"),
    told(rf"HKLM\SOFTWARE\Vendor\CLSID\{OTHER}", "", "not below Classes"),
    told(rf"{CLASSES}\CLSID\{OTHER}", "AppID", "not the default value"),
    told(rf"{CLASSES}\CLSID\{OTHER}", "", "failed", status=0xC0000022),
    told(rf"{CLASSES}\CLSID\{OTHER}", "", "cut", data_size=60),
    told(r"HKLM\SOFTWARE\A", "Nobody knows", OTHER),
    told(rf"HKU\{USER}_Classes\CLSID\{MINE}", "", "Mine"),
    told(rf"HKU\{USER}\Software\A", "Own", MINE),
    told(rf"{CLASSES}\CLSID\{LONG}", "", "x" * 2000),
    told(r"HKLM\SOFTWARE\A", "Long name", LONG),
]  # fmt: skip
MEANINGS = {
    "Handler": "CLSID of Folder View (COM class)",
    "Small letters": "CLSID of Folder View (COM class)",
    "TheCLSID": f"{FOLDER} (GUID), CLSID of Folder View (COM class)",
    "By ProgID": "CLSID of Vendor.Plain (COM class)",
    "Two names": "CLSID of First or Second (COM class)",
    "Own": "CLSID of Mine (COM class)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("classes") / "classes.regtrace", EVENTS)


@pytest.fixture(scope="module")
def classes(folder: Path):
    with rt.open(folder) as capture:
        yield capture


def test_data_says_which_class_it_names_where_the_capture_tells_and_nothing_else(classes: Capture) -> None:
    rows = classes.timeline(r"HKLM\SOFTWARE\A").to_dict("records")
    rows += classes.timeline(rf"HKU\{USER}\Software\A").to_dict("records")
    assert {
        row["value_name"]: row["data_meaning"] for row in rows if isinstance(row["data_meaning"], str)
    } == MEANINGS


def test_a_row_without_data_says_which_class_its_key_is_of(classes: Capture) -> None:
    rows = classes.timeline(rf"{CLASSES}\CLSID\{FOLDER}")
    assert rows["data_meaning"].fillna("").tolist() == ["key is the CLSID of Folder View (COM class)", ""]


def test_every_answer_with_values_names_classes(classes: Capture, folder: Path) -> None:
    def said(rows: Any, column: str, name: str = "Handler") -> list[str]:
        return rows.loc[rows["value_name"] == name, column].tolist()

    expected = [MEANINGS["Handler"]]
    assert said(classes.state(), "meaning") == expected
    assert said(classes.timeline(columns=["value_name", "data_meaning"]), "data_meaning") == expected
    streamed = classes.queries.timeline().reader(5).read_all().to_pandas()
    assert said(streamed, "data_meaning") == expected
    clsid = classes.history(rf"{CLASSES}\Vendor.Plain\CLSID")  # read, never written
    assert clsid.empty
    with rt.open([folder]) as dataset:
        assert said(dataset.timeline(), "data_meaning") == expected


def test_writes_and_differences_name_classes(tmp_path: Path) -> None:
    named = told(rf"{CLASSES}\CLSID\{FOLDER}", "", "Folder View")
    a = write_events(tmp_path / "a.regtrace", [named, told(r"HKLM\SOFTWARE\A", "v", FOLDER, "SetValueKey")])
    b = write_events(tmp_path / "b.regtrace", [named, told(r"HKLM\SOFTWARE\A", "v", PLAIN, "SetValueKey")])
    with rt.open(a) as capture, rt.open(b) as other:
        assert capture.history()["new_meaning"].tolist() == [MEANINGS["Handler"]]
        assert capture.changes()["after_meaning"].tolist() == [MEANINGS["Handler"]]
        rows = capture.diff(other).query("value_name == 'v'")
        assert rows["a_meaning"].tolist() == [MEANINGS["Handler"]]
        assert rows["b_meaning"].isna().all()  # b has the same key, and tells no name of this class


def test_a_hive_names_classes_too(tmp_path: Path) -> None:
    root = hive_writer.Key("ROOT")
    root.below(rf"Classes\CLSID\{FOLDER}").values = [
        ("", 1, wide("Folder View")),
        ("AppID", 1, wide("no name")),
    ]
    root.below(rf"Classes\CLSID\{OTHER}").values = [("", 4, bytes(4))]
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    events = [
        pml.value_set(rf"HKLM\SOFTWARE\A\{name}", wide(clsid), kind=1)
        for name, clsid in (("v", FOLDER), ("w", OTHER))
    ]
    (tmp_path / "a.pml").write_bytes(pml.write_log(events).raw)
    rt.ingest(
        tmp_path / "a.pml", tmp_path / "a.regtrace", baseline=[rf"{tmp_path / 'SOFTWARE'}=HKLM\SOFTWARE"]
    )
    with rt.open(tmp_path / "a.regtrace") as capture:
        assert capture.timeline()["data_meaning"].fillna("").tolist() == [MEANINGS["Handler"], ""]


def test_a_table_shows_a_clsid_with_its_class_and_the_class_of_a_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = CliRunner().invoke(app, ["timeline", str(folder), "--wide"]).stdout
    assert f"{FOLDER} [{MEANINGS['Handler']}]" in shown
    monkeypatch.setattr("cli.output.destination.terminal_width", lambda: 120)
    monkeypatch.setattr("cli.output.destination.is_terminal", lambda *_: True)
    lines = CliRunner().invoke(app, ["timeline", str(folder), "--no-pager"]).stdout.splitlines()
    assert rf"{CLASSES}\CLSID\{FOLDER} [Folder View]" in [
        re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines
    ]


@pytest.mark.slow
def test_names_and_clsids_of_a_real_log_are_those_that_procmon_shows(
    corpus: Path, procmon_capture: Path
) -> None:
    guid = r"\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}"
    data, names = Counter(), {}
    for row in csv_rows(corpus / LOG.replace(".pml", ".csv.gz")):
        found = re.fullmatch(
            r"Type: REG_(?:EXPAND_)?SZ, Length: [\d,]+, Data: (.+)", row["Detail"], re.DOTALL
        )
        if (
            found is None
            or row["Operation"] not in ("RegQueryValue", "RegSetValue")
            or row["Result"] != "SUCCESS"
        ):
            continue
        if re.fullmatch(guid, found[1]):
            data[found[1].upper()] += 1
        if key := re.fullmatch(rf"HKCR\\(?:WOW6432Node\\)?CLSID\\({guid})\\\(Default\)", row["Path"]):
            names.setdefault(key[1].upper(), {})[found[1]] = None
    assert len(names) > 10
    with rt.open(procmon_capture) as capture:
        ours = capture.context.class_names
        assert {clsid: ours[clsid] for clsid in names} == {
            clsid: " or ".join(some) for clsid, some in names.items()
        }
        rows = capture.timeline(operation="read,write", where="data_text IS NOT NULL").to_dict("records")
    told_of = Counter(
        row["data_text"].upper() for row in rows if str(row["data_meaning"]).startswith("CLSID of ")
    )
    assert told_of == Counter({clsid: count for clsid, count in data.items() if clsid in ours})
    assert told_of


@given(st.text(max_size=60), st.binary(max_size=90))
def test_any_text_is_a_clsid_only_if_it_is_one(name: str, data: bytes) -> None:
    assert class_of_text(1, data) is None or re.fullmatch(r"\{[0-9A-F-]{36}\}", class_of_text(1, data) or "")
    assert key_class(class_words(name, None, is_key=True)) == name
    assert key_class(class_words(name, None, is_key=False)) is None
    assert class_of_text(2, wide(FOLDER.lower())) == FOLDER


def test_the_list_of_decoders_has_the_source_of_class_names() -> None:
    assert COM_CLASS.source.startswith("https://")
    assert COM_CLASS.read("", wide("Folder View")) == "Folder View"
