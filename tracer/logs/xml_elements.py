"""Elements of XML whose children hold one text each, read as text: nothing is declared, and a bad one spoils no other.

For exports of hundreds of megabytes with one small element a record. What a parser of whole documents would refuse is
kept: a file that was cut, letters that XML cannot carry, numbers that stand for such letters.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracer.diagnostics import Diagnostics
from tracer.registry.text import escape_name

__all__ = ["MOST_BYTES", "Element", "elements"]

MOST_BYTES = 16 << 20  # of one element: a longer one is damage, or made to fill memory
_CHILD = re.compile(r"<([A-Za-z_][\w.-]*)>([^<]*)</\1>")
_EMPTY = re.compile(r"<([A-Za-z_][\w.-]*)\s*/>")
_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|amp|quot|apos));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


@dataclass(frozen=True, slots=True)
class Element:
    """One element.

    Attributes:
        body: its text (UTF-8), without its own tags.
        offset: where it begins, in bytes of the text.
    """

    body: bytes
    offset: int

    def children(self, before: bytes) -> dict[str, str] | None:
        """Return the texts of its children by name, escaped (`tracer.registry.text`); None where it is no XML.

        Args:
            before: children from this tag on are left out, for what is below it is no text; b"" for all.
        """
        raw = self.body.partition(before)[0] if before else self.body
        body = raw.decode("utf-8", "replace")
        children = _CHILD.findall(body)
        if body.count("<") != 2 * len(children):
            children += [(name, "") for name in _EMPTY.findall(body)]
            if body.count("<") != 2 * len(children) - len(_EMPTY.findall(body)):
                return self._parsed(raw)  # more than that is in it: attributes, comments, CDATA, or damage
        if "&" in body or "\0" in body:
            return {name: escape_name(_ENTITY.sub(_letter, text)) for name, text in children}
        return dict(children)

    def _parsed(self, body: bytes) -> dict[str, str] | None:
        try:
            element = ET.fromstring(b"<e>" + body + b"</e>")  # a fragment: nothing can be declared before it
        except ET.ParseError:
            return None
        return {child.tag: escape_name(child.text or "") for child in element}


def _letter(match: re.Match[str]) -> str:
    if match[3]:
        return _NAMED[match[3]]
    point = int(match[1], 16) if match[1] else int(match[2])
    return chr(point) if point < 0x110000 else "\ufffd"


def elements(pieces: Iterable[bytes], name: bytes, diagnostics: Diagnostics) -> Iterator[Element]:
    """Yield the elements of a name, in order.

    Args:
        pieces: the text as UTF-8; pieces may end anywhere.
        name: of the elements; their tags have no attributes.
        diagnostics: counts elements that never end, or are too long (`log_bad_record`).
    """
    begin, end = b"<" + name + b">", b"</" + name + b">"
    kept, at = b"", 0
    for piece in pieces:
        kept += piece
        parts = kept.split(end)
        for part in parts[:-1]:
            start = part.rfind(begin)
            if part.count(begin) != 1:  # one that never ended, or one that never began
                diagnostics.count("log_bad_record", offset=at)
            if start >= 0:
                yield Element(part[start + len(begin) :], at + start)
            at += len(part) + len(end)
        kept = parts[-1]
        if len(kept) > MOST_BYTES:
            diagnostics.count("log_bad_record", offset=at)
            at += len(kept) - len(begin)
            kept = kept[-len(begin) :]
    if begin in kept:
        diagnostics.count("log_bad_record", offset=at)
