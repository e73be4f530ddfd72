"""Events of Windows as XML: the fields of each, as columns of text.

`wevtutil qe /f:xml`, `Get-WinEvent` with ToXml(), the event viewer's "Save as XML" and forwarders write an element
Event each, with or without a root around them. Each is parsed by itself: a bad one spoils no other, and no
document type, and so no entity, can be declared.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.registry.text import escape_name

__all__ = ["MOST_BYTES", "SystemFields", "xml_events"]

MOST_BYTES = 16 << 20  # of one event: a longer one is damage, or made to fill memory
_BEGIN = re.compile(rb"<Event[\s>]")
_END = b"</Event>"
_BATCH = 20_000
# Element of System (or of ExtendedTracingInfo, which events of a trace have), its attribute ("" for its text), and the field.
SystemFields: TypeAlias = Sequence[tuple[str, str, str]]
_SYSTEM: SystemFields = (
    ("Provider", "Name", "Provider"),
    ("EventID", "", "EventID"),
    ("Computer", "", "Computer"),
    ("EventRecordID", "", "RecordNumber"),
    ("TimeCreated", "SystemTime", "TimeCreated"),
    ("Keywords", "", "Keywords"),
    ("Task", "", "Task"),
)
# What XML cannot carry: some writers put these out all the same, as numbers.
_NOT_XML = re.compile(
    rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2}|[fF]{3}[eEfF])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)


def xml_events(
    pieces: Iterable[bytes], names: Sequence[str], diagnostics: Diagnostics, system: SystemFields = _SYSTEM
) -> Iterator[pa.Table]:
    """Yield the events of a text in order: a text column for each of `names`, and `offset` (int64).

    Args:
        pieces: the text as UTF-8; pieces may end anywhere.
        names: fields, as `tracer.logs.field_paths.EVENT_FIELDS` names them.
        diagnostics: counts events that are no XML, or cut (`log_bad_record`).
        system: which fields the header of an event has.
    """
    known = frozenset(names)
    rows: list[dict[str, str]] = []
    offsets: list[int] = []
    for text, offset in _elements(pieces, diagnostics):
        fields = _fields(text, known, system)
        if fields is None:
            diagnostics.count("log_bad_record", offset=offset)
            continue
        rows.append(fields)
        offsets.append(offset)
        if len(rows) >= _BATCH:
            yield _table(rows, offsets, names)
            rows, offsets = [], []
    if rows:
        yield _table(rows, offsets, names)


def _table(rows: Sequence[dict[str, str]], offsets: Sequence[int], names: Sequence[str]) -> pa.Table:
    columns = [from_texts([row.get(name) for row in rows]) for name in names]
    return pa.table([*columns, pa.array(offsets, pa.int64())], names=[*names, "offset"])


def _elements(pieces: Iterable[bytes], diagnostics: Diagnostics) -> Iterator[tuple[bytes, int]]:
    """Yield the text of each element Event, and where it begins."""
    kept, at, searched = b"", 0, 0
    for piece in pieces:
        kept += piece
        place = 0
        while begin := _BEGIN.search(kept, place):
            end = kept.find(_END, max(begin.start(), searched))
            if end < 0:
                break
            searched = 0
            again = kept.rfind(b"<Event ", begin.end(), end)  # one that never ended lies before it
            if again > 0:
                diagnostics.count("log_bad_record", offset=at + begin.start())
            start = max(begin.start(), again)
            yield kept[start : end + len(_END)], at + start
            place = end + len(_END)
        rest = begin.start() if begin else max(place, len(kept) - len("<Event"))
        kept, at = kept[rest:], at + rest
        searched = max(0, len(kept) - len(_END))
        if len(kept) > MOST_BYTES:
            diagnostics.count("log_bad_record", offset=at)
            kept, at, searched = kept[1:], at + 1, 0
            following = _BEGIN.search(kept)
            skip = following.start() if following else len(kept)
            kept, at = kept[skip:], at + skip
    if _BEGIN.search(kept):
        diagnostics.count("log_bad_record", offset=at)


def _fields(text: bytes, known: frozenset[str], system: SystemFields) -> dict[str, str] | None:
    try:
        event = ET.fromstring(text)  # a fragment: nothing can be declared before it
    except ET.ParseError:
        try:
            event = ET.fromstring(_NOT_XML.sub(b"&#xFFFD;", text))
        except ET.ParseError:
            return None
    fields: dict[str, str] = {}
    for part in event:
        name = _local(part.tag)
        if name in ("System", "ExtendedTracingInfo"):
            children = {_local(child.tag): child for child in part}
            for element, attribute, field in system:
                child = children.get(element)
                if child is not None:
                    value = child.get(attribute) if attribute else child.text
                    if value:
                        fields[field] = value.strip()
        elif name in ("EventData", "UserData"):
            for child in part.iter():
                field = child.get("Name") or _local(child.tag)
                if field in known and field not in fields:
                    fields[field] = escape_name(child.text or "")
        elif name == "RenderingInfo":
            for child in part:
                if _local(child.tag) == "Message" and child.text:
                    fields["Message"] = escape_name(child.text)
    return fields


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
