"""Texts of a Perfetto trace that are written once and referred to by number."""

from collections.abc import Callable, Iterable
from typing import Any

from analysis.export.perfetto_extra import protos

__all__ = ["CATEGORIES", "Strings"]

CATEGORIES = ("read", "write", "open", "other", "failure", "handle", "loss", "doubt")
_MOST_TEXTS = 200_000
_MOST_BYTES = 32 << 20  # of texts that a reader, and this writer, must remember


class Strings:
    """Names of events, categories and annotations, and texts of annotations, by number.

    Where there are too many, all begin anew, and readers forget the old ones.
    """

    def __init__(self, write: Callable[[Any], None]) -> None:
        """Begin; `write` writes a packet."""
        self._write = write
        self._names: dict[str, int] = {}
        self._annotations: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._bytes = 0
        self._begin()

    def _begin(self) -> None:
        packet = protos.TracePacket()
        packet.sequence_flags = protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        for number, name in enumerate(CATEGORIES, 1):
            packet.interned_data.event_categories.add(iid=number, name=name)
        for name, number in self._names.items():
            packet.interned_data.event_names.add(iid=number, name=name)
        for name, number in self._annotations.items():
            packet.interned_data.debug_annotation_names.add(iid=number, name=name)
        self._write(packet)

    def make_room(self) -> None:
        """Forget texts where there are too many; numbers given before are void then."""
        if len(self._texts) > _MOST_TEXTS or self._bytes > _MOST_BYTES:
            self._texts.clear()
            self._bytes = 0
            self._begin()

    def name(self, name: str) -> int:
        """Return the number of the name of an event."""
        if name not in self._names:
            self._names[name] = len(self._names) + 1
            packet = self._packet()
            packet.interned_data.event_names.add(iid=self._names[name], name=name)
            self._write(packet)
        return self._names[name]

    def annotation(self, name: str) -> int:
        """Return the number of the name of an annotation."""
        if name not in self._annotations:
            self._annotations[name] = len(self._annotations) + 1
            packet = self._packet()
            packet.interned_data.debug_annotation_names.add(iid=self._annotations[name], name=name)
            self._write(packet)
        return self._annotations[name]

    def add(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the numbers of all texts known, after these were added."""
        packet = self._packet()
        before = len(self._texts)
        for text in texts:
            if text not in self._texts:
                self._texts[text] = number = len(self._texts) + 1
                raw = text.encode()
                self._bytes += len(raw)
                packet.interned_data.debug_annotation_string_values.add(iid=number, str=raw)
        if len(self._texts) > before:
            self._write(packet)
        return self._texts

    @staticmethod
    def _packet() -> Any:  # noqa: ANN401  (a TracePacket)
        packet = protos.TracePacket()
        packet.sequence_flags = protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet
