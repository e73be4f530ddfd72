"""Track events of a Perfetto trace, many at once: the fields that repeat are made by Perfetto's own classes, once for all alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.export.json_text import decoded
from analysis.export.perfetto_extra import protos
from analysis.export.perfetto_strings import Strings
from analysis.export.rows import Rows
from analysis.export.wire import as_array, framed, joined, piece, varints

__all__ = [
    "SEQUENCE_ID",
    "Ints",
    "begins",
    "ends",
    "flow_pieces",
    "named_pieces",
    "number_pieces",
    "packets",
    "text_pieces",
]

Ints = NDArray[np.int64]
SEQUENCE_ID = 1  # of packets: all are of one sequence, so that they share what was written once
_UUID_BYTES = 5


def _tag(message: Any, field: str, wire_type: int) -> bytes:  # noqa: ANN401  (a class of messages)
    """Return the tag of a field: its number and how it is written."""
    number = message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


_VARINT, _FIXED64, _LEN = 0, 1, 2
_PACKET = _tag(protos.Trace, "packet", _LEN)
_TIMESTAMP = _tag(protos.TracePacket, "timestamp", _VARINT)
_EVENT = _tag(protos.TracePacket, "track_event", _LEN)
_TRACK = _tag(protos.TrackEvent, "track_uuid", _VARINT)
_ANNOTATION = _tag(protos.TrackEvent, "debug_annotations", _LEN)
_FLOW = _tag(protos.TrackEvent, "flow_ids", _FIXED64)
_FLOW_END = _tag(protos.TrackEvent, "terminating_flow_ids", _FIXED64)
_INT = _tag(protos.DebugAnnotation, "int_value", _VARINT)
_OF_SEQUENCE = protos.TracePacket(
    trusted_packet_sequence_id=SEQUENCE_ID, sequence_flags=protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
).SerializeToString()


def packets(messages: list[Any]) -> bytes:
    """Return packets as parts of a trace; they become packets of our sequence."""
    trace = protos.Trace()
    for message in messages:
        message.trusted_packet_sequence_id = SEQUENCE_ID
        trace.packet.append(message)
    made: bytes = trace.SerializeToString()
    return made


def begins(times: Ints, tracks: Ints, is_slice: NDArray[np.bool_], pieces: list[pa.Array]) -> pa.Array:
    """Return the packet of each event: the begin of a slice, or an instant.

    Args:
        times: UTC nanoseconds.
        tracks: uuids.
        is_slice: whether an end follows.
        pieces: other fields of the track events; NULL is no field. The first has no NULL.
    """
    kinds = [protos.TrackEvent(type=kind).SerializeToString()
             for kind in (protos.TrackEvent.TYPE_INSTANT, protos.TrackEvent.TYPE_SLICE_BEGIN)]  # fmt: skip
    kind = np.array([list(one) for one in kinds], np.uint8)[is_slice.astype(np.int8)]
    own = np.concatenate([kind, piece(_TRACK, varints(tracks, _UUID_BYTES))], axis=1)
    return framed(_PACKET, _head(times), _EVENT, joined([as_array(own), *pieces]))


def ends(times: Ints, tracks: Ints, is_slice: NDArray[np.bool_]) -> pa.Array:
    """Return the packet that ends each slice; NULL for instants."""
    kind = protos.TrackEvent(type=protos.TrackEvent.TYPE_SLICE_END).SerializeToString()
    inside = piece(kind + _TRACK, varints(tracks, _UUID_BYTES))
    made = framed(_PACKET, _head(times), _EVENT, as_array(inside))
    return made if is_slice.all() else _only(made, is_slice)


def text_pieces(strings: Strings, name: str, texts: pa.DictionaryArray) -> pa.Array:
    """Return an annotation for each text of a column; NULL for NULL."""
    number = strings.annotation(name)
    listed = texts.dictionary.to_pylist()
    numbers = strings.add(text for text in listed if text is not None)
    made = [None if text is None else _annotation(number, numbers[text]) for text in listed]
    return decoded(pa.DictionaryArray.from_arrays(texts.indices, pa.array(made, pa.binary())))


def number_pieces(strings: Strings, name: str, numbers: pa.Array) -> pa.Array:
    """Return an annotation for each number of a column; NULL for NULL."""
    known = numbers.is_valid().to_numpy(zero_copy_only=False)
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    inside = piece(
        protos.DebugAnnotation(name_iid=strings.annotation(name)).SerializeToString() + _INT, varints(values)
    )
    made = piece(_ANNOTATION + bytes([inside.shape[1]]), inside)
    return as_array(made, None if known.all() else known)


def flow_pieces(numbers: Ints, *, is_end: bool) -> pa.Array:
    """Return the begin or the end of the flow with a number for each row; NULL for 0."""
    octets = np.ascontiguousarray(numbers.astype("<u8")).view(np.uint8).reshape(-1, 8)
    return as_array(piece(_FLOW_END if is_end else _FLOW, octets), numbers > 0)


def named_pieces(rows: Rows, names: tuple[str, ...], make: Callable[..., bytes]) -> pa.Array:
    """Return bytes that are made once for all rows that are alike in some columns."""
    return decoded(rows.told(names, make, kind=pa.binary()))


def _annotation(name: int, text: int) -> bytes:
    event = protos.TrackEvent()
    event.debug_annotations.add(name_iid=name, string_value_iid=text)
    made: bytes = event.SerializeToString()
    return made


def _head(times: Ints) -> NDArray[np.uint8]:
    stamps = piece(_TIMESTAMP, varints(np.maximum(times, 0)))
    own = np.broadcast_to(np.frombuffer(_OF_SEQUENCE, np.uint8), (len(times), len(_OF_SEQUENCE)))
    return np.concatenate([stamps, own], axis=1)


def _only(made: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(where), made, pa.scalar(None, pa.binary()))
