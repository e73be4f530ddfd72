"""Procmon's XML: the rows of the CSV with the same columns; nothing is declared; damage is counted."""

import random
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from procmon_csv import DEFAULT, csv_text
from procmon_xml import PROCESS, xml_text
from test_procmon_csv import EVERY, UTC_NS
from test_procmon_csv import read as read_csv

import regtrace as rt
from cli.commands.info import describe
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.logs.xml_elements import elements
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.procmon_xml import procmon_xml_rows
from tracer.sources.inputs import SourceFile
from tracer.sources.kinds import file_kind


def read(tmp_path: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the named rows of a file, and what was counted."""
    path = tmp_path / "Logfile.XML"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    diagnostics = Diagnostics()
    context = NamedContext(NamedOptions(**{"zone": UTC, **options}))
    file = SourceFile(path, path.name, str(path), "procmon-xml")
    tables = procmon_xml_rows(file, path.stat().st_size, context, diagnostics)
    rows = [row for table in tables for row in table.to_pylist()]
    processes = context.actors.table().to_pylist()
    for row in rows:
        row["process"] = None if row["actor"] is None else processes[row["actor"]]
    return rows, {name: count for name, count, _ in diagnostics}


def test_an_xml_has_the_rows_of_the_csv_with_its_columns(tmp_path: Path):
    ours, counts = read(tmp_path, xml_text(EVERY))
    theirs, of_csv = read_csv(tmp_path, csv_text(EVERY), zone=UTC)
    for row in [*ours, *theirs]:
        del row["record_offset"], row["source"]
    assert len(ours) == len(EVERY)
    assert ours == theirs
    assert counts == of_csv


def test_a_default_export_takes_its_process_from_the_list(tmp_path: Path):
    other = {
        **PROCESS,
        "ProcessIndex": "7",
        "ProcessName": "b.exe",
        "ImagePath": "C:\\b.exe",
        "Owner": "PC\\bob",
    }
    text = xml_text([{}, {"ProcessIndex": "7", "Process Name": "b.exe"}], DEFAULT, [PROCESS, other])
    rows, _ = read(tmp_path, text)
    assert [
        (row["process"]["image_path"], row["process"]["user"], row["process"]["parent_pid"]) for row in rows
    ] == [
        ("C:\\bin\\app.exe", "PC\\alice", 572),
        ("C:\\b.exe", "PC\\bob", 572),
    ]


def test_two_uses_of_a_process_id_are_two_processes(tmp_path: Path):
    text = xml_text([{}, {"ProcessIndex": "2"}], DEFAULT, [PROCESS, {**PROCESS, "ProcessIndex": "2"}])
    rows, _ = read(tmp_path, text)
    assert rows[0]["actor"] != rows[1]["actor"]


def test_texts_that_were_encoded_twice_are_decoded_once_more(tmp_path: Path):
    name = "HKLM\\Größe\\日本"
    twice = "".join(
        chr(byte) if not 0x80 <= byte < 0xA0 else bytes([byte]).decode("cp1252", "ignore") or chr(byte)
        for byte in name.encode()
    )
    rows, counts = read(tmp_path, xml_text([{"Path": twice}, {"Path": name}, {"Path": "HKLM\\été"}]))
    assert [row["path"] for row in rows] == [name, name, "HKLM\\été"]
    assert counts["procmon_encoded_twice"] == 1


def test_a_document_type_is_refused(tmp_path: Path):
    bomb = '<!DOCTYPE procmon [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(SourceError, match="declares a document type"):
        read(tmp_path, xml_text([{}]).replace("<procmon>", bomb + "<procmon>", 1))


def test_an_entity_that_nobody_declared_is_text(tmp_path: Path):
    rows, _ = read(tmp_path, xml_text([{"Path": "HKLM\\PLACE"}]).replace("PLACE", "&bomb;&#x41;&lt;"))
    assert rows[0]["path"] == "HKLM\\&bomb;A<"


def test_letters_that_xml_cannot_carry(tmp_path: Path):
    text = xml_text([{"Path": "HKLM\\a\x01b"}, {"Path": "HKLM\\PLACE"}]).replace("PLACE", "&#0;&#xD800;")
    rows, counts = read(tmp_path, text)
    assert [row["path"] for row in rows] == ["HKLM\\a\x01b", "HKLM\\<U+0000><U+D800>"]
    assert "log_bad_record" not in counts


def test_cdata_comments_and_empty_elements(tmp_path: Path):
    text = xml_text([{"Detail": "", "Path": "PLACE"}, {"Path": "HKLM\\b"}])
    text = text.replace("PLACE", "<![CDATA[HKLM\\<a>]]><!-- no text -->").replace(
        "<Detail></Detail>", "<Detail />"
    )
    rows, _ = read(tmp_path, text)
    assert [row["path"] for row in rows] == ["HKLM\\<a>", "HKLM\\b"]


def test_other_events_damage_and_a_cut_end_are_counted_and_the_rest_is_kept(tmp_path: Path):
    text = xml_text([{"Path": f"HKLM\\{n}"} for n in range(5)] + [{"Operation": "ReadFile"}])
    text = text.replace("HKLM\\1</Path>", "HKLM\\1", 1)
    at = text.index("HKLM\\3")
    rows, counts = read(tmp_path, text[:at])
    assert [row["path"] for row in rows] == ["HKLM\\0", "HKLM\\2"]
    assert counts == {"log_bad_record": 2}
    assert read(tmp_path, text)[1] == {"log_bad_record": 1, "log_other_records": 1}


def test_a_row_says_where_its_event_begins(tmp_path: Path):
    text = xml_text([{}, {}])
    rows, _ = read(tmp_path, text)
    assert [text[row["record_offset"] :].startswith("<event>") for row in rows] == [True, True]


@given(st.integers(1, 90), st.lists(st.text(st.characters(exclude_characters="<>"), max_size=5), max_size=6))
def test_elements_are_the_same_however_the_text_is_cut(size: int, bodies: list[str]):
    text = ("x" + "".join(f"<event>{body}</event> " for body in bodies)).encode("utf-8", "replace")
    diagnostics = Diagnostics()
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    found = list(elements(pieces, b"event", diagnostics))
    assert [one.body.decode() for one in found] == [
        body.encode("utf-8", "replace").decode() for body in bodies
    ]
    assert all(text[one.offset :].startswith(b"<event>" + one.body) for one in found)
    assert not list(diagnostics)


def test_small_pieces_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = xml_text(EVERY)
    whole, _ = read(tmp_path, text)
    monkeypatch.setattr("tracer.logs.utf8.PIECE", 97)
    monkeypatch.setattr("tracer.named.procmon_xml._BATCH", 5)
    assert read(tmp_path, text)[0] == whole


@pytest.mark.slow
def test_mutated_exports_end_in_rows_or_counters(tmp_path: Path):
    good = xml_text(EVERY).encode()
    dice = random.Random(11)
    for _ in range(150):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(raw))
            what = dice.randrange(3)
            if what == 0:
                raw[at] = dice.choice(b"<>/&;\0\xff\xd8")
            elif what == 1:
                del raw[at : at + dice.randint(1, 80)]
            else:
                raw[at:at] = dice.choice(
                    [b"</event>", b"<event>", b"&#", b"<eventlist>", b"<![CDATA[", b"<!--"]
                )
        try:
            rows, _ = read(tmp_path, bytes(raw))
        except SourceError as error:
            assert str(error).startswith(str(tmp_path))  # noqa: PT017
            continue
        assert all(abs(row["time_ns"]) < 1 << 63 for row in rows)


def test_the_file_is_known_by_its_root_and_ingested(tmp_path: Path):
    path = tmp_path / "Logfile.XML"
    path.write_text(xml_text([{}]), encoding="utf-8")
    assert file_kind(path.read_bytes()[:4096]).word == "procmon-xml"
    assert describe(path)["rows_by_source"] == {"procmon-xml": 1}
    rt.ingest(path, tmp_path / "log.regtrace")
    with rt.open(tmp_path / "log.regtrace") as capture:
        answer = capture.timeline(key="HKLM\\SOFTWARE\\Vendor")
    assert answer["value_name"].tolist() == ["Colour"]
    assert int(answer["time_ns"].iloc[0]) == UTC_NS
