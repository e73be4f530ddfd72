r"""One payload at a time: the plain sequential decoder, and the reference of the column-wise one.

It reads the bytes of one record by its declared layout and never raises on any bytes. How a name ends is
the only hard part, for the kernel writes registry names as counted strings, copied whole, and then one NUL:
a name may hold NULs of its own and nothing tells how long it is. The rule, for the two registry providers:

A layout is HEAD (the leading fixed fields), NAMES (the one or two wz fields after it), TAIL (the rest, of
fixed and captured fields). Let `s` be where the names start and call every 16-bit zero at s, s+2, s+4, ...
a NUL. One NUL ends each name, so with n names:

1. The candidates are the NULs, from the n-th on, after which the tail parses to exactly the payload's end.
   (An empty tail leaves only the NUL that ends the payload: the last name runs to the final NUL.)
2. Where one name precedes a tail it is a key path: it begins with a backslash or is empty. If it begins
   with a NUL it is empty, and only the first NUL can be a candidate.
3. Candidates whose captured counts are each 0 or min(the value's full size, 2048) are preferred; where no
   candidate meets that, all stay.
4. One candidate: it ends the last name. Several: the first (with `nothing_captured`, the last). Where that one is
   whole, each captured count being min(the value's full size, 2048), only whole ones contradict it; else all do. What
   is contradicted is `ambiguous`. So a captured DWORD 0 is no doubt, though its zeros could belong to the name if
   nothing had been captured: that would leave 4 bytes of data without a byte captured in a session that captures.
5. Two names are parted at the first NUL. If that leaves the first name not empty and more NULs stand
   before the one that ends the second, the reading is `ambiguous` as well: the first may hold them.
6. `known_path`, the path already known for the record's object, is a length: where the names start with it
   (as the registry compares) and a NUL follows, that NUL ends the first name if any candidate allows it,
   and rule 5's doubt is settled. Known or not, several candidates (rule 4) stay ambiguous.
7. No candidate: each name ends at its first NUL, the tail is read as far as it goes, and the payload is
   `odd`. A layout that is only a `prefix` of the record is read in the same way, but what lies beyond
   it is not odd.

Everywhere else a wz or az field is an ordinary NUL-terminated string.

A payload is `short` when it ends inside the head: it does not even say which object it is about. It is
`odd` when names, counts or sizes beyond the head do not fit its length; the fields that do are kept.
"""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tracer.decode.layouts import Field, Layout
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY
from tracer.registry.text import decode_name, escape_name, fold_name, unescape_name

__all__ = ["CAPTURE_LIMIT", "COUNT_NAMES", "Payload", "Value", "decode_payload", "split_layout"]

# The provider copies at most this many bytes of a value's data.
CAPTURE_LIMIT = 2048

# Manifest names of the counts that stand before the captured bytes.
COUNT_NAMES = {"CapturedData": "CapturedDataSize", "PreviousData": "PreviousDataCapturedSize"}

_FULL_SIZES = {"CapturedData": "DataSize", "PreviousData": "PreviousDataSize"}
_FIXED = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8, "filetime": 8, "guid": 16}
_MOST_SUB_AUTHORITIES = 15  # SID_MAX_SUB_AUTHORITIES of winnt.h

Value = int | str | bytes | None
_Read = tuple[Value, int]


@dataclass(frozen=True, slots=True)
class Payload:
    """What one payload holds.

    Attributes:
        fields: value by manifest or MOF name, in order: numbers, text (escaped, `tracer.registry.text`) or captured
            bytes; None where the payload does not reach, or where a SID is absent. Captured bytes are
            preceded by their count under its manifest name.
        used: bytes that were read, from the start.
        ambiguous: embedded NULs allow another reading.
        short: it ends inside the fixed fields at its head.
        odd: what follows the head does not fit the payload's length.
    """

    fields: dict[str, Value]
    used: int
    ambiguous: bool = False
    short: bool = False
    odd: bool = False


@cache
def split_layout(layout: Layout) -> tuple[tuple[Field, ...], tuple[Field, ...], tuple[Field, ...]]:
    """Return a layout's (head, names, tail): leading fixed fields, the wz fields after them, the rest."""
    fields = layout.fields
    names_at = next((i for i, field in enumerate(fields) if not _is_fixed(field.kind)), len(fields))
    tail_at = next((i for i in range(names_at, len(fields)) if fields[i].kind != "wz"), len(fields))
    return fields[:names_at], fields[names_at:tail_at], fields[tail_at:]


def decode_payload(
    layout: Layout,
    payload: bytes,
    pointer_size: int,
    *,
    prefix: bool = False,
    nothing_captured: bool = False,
    known_path: str | None = None,
) -> Payload:
    r"""Read `payload` by `layout`; the module's docstring states the rule for names.

    Args:
        layout: what the record holds (`tracer.decode.layouts`).
        payload: its bytes, whatever they are.
        pointer_size: 4 or 8, of the context that logged the record.
        prefix: the record is newer than the layout and may hold more than the layout says.
        nothing_captured: the session is known to capture no data.
        known_path: path already known for the record's object (escaped text); None where nothing is.

    >>> from tracer.decode.layouts import LAYOUTS
    >>> from tracer.etl.providers import KERNEL_REGISTRY
    >>> payload = bytes(8) + bytes(4) + "AB".encode("utf-16-le") + bytes(2)
    >>> decode_payload(LAYOUTS[KERNEL_REGISTRY, 3, 0], payload, 8).fields
    {'KeyObject': 0, 'Status': 0, 'KeyName': 'AB'}
    """
    payload = bytes(payload)
    fields: dict[str, Value] = {}
    for field in layout.fields:
        if field.kind == "captured":
            fields[COUNT_NAMES[field.name]] = None
        fields[field.name] = None
    head, names, tail = split_layout(layout)
    at, read, _ = _sequence(head, payload, 0, pointer_size, fields)
    if read < len(head):
        # Some manifests list a hive event without a payload and others with a status.
        left_out = layout.provider == KERNEL_REGISTRY and layout.operation == "HiveWork" and not payload
        return Payload(fields, at, short=not left_out)

    nuls: list[int] = []
    candidates: list[int] = []
    whole: set[int] = set()
    known = None
    if names and layout.provider in (KERNEL_REGISTRY, CLASSIC_REGISTRY) and not prefix:
        nuls = [i for i in range(at, len(payload) - 1, 2) if not payload[i] and not payload[i + 1]]
        known = _known_end(payload, at, nuls, known_path)
        candidates, whole = _candidates(len(names), tail, payload, at, nuls, known, pointer_size, fields)
    if not candidates:
        at, read, cut = _sequence((*names, *tail), payload, at, pointer_size, fields)
        unread = read < len(names) + len(tail)
        left_over = at < len(payload) and not prefix and bool(layout.fields)
        return Payload(fields, at, odd=unread or cut or left_over)

    end = candidates[-1 if nothing_captured else 0]
    rivals = [nul for nul in candidates if nul in whole] if end in whole else candidates
    ambiguous = len(rivals) > 1
    if len(names) == 2:
        parting = nuls[0] if known is None or known >= end else known
        if parting > at and parting != known:
            ambiguous = ambiguous or any(parting < nul < end for nul in nuls)
        fields[names[0].name] = decode_name(payload[at:parting])
        at = parting + 2
    fields[names[-1].name] = decode_name(payload[at:end])
    at, _, _ = _sequence(tail, payload, end + 2, pointer_size, fields)
    return Payload(fields, at, ambiguous=ambiguous)


def _candidates(
    names: int,
    tail: Sequence[Field],
    payload: bytes,
    at: int,
    nuls: Sequence[int],
    known: int | None,
    pointer_size: int,
    head: dict[str, Value],
) -> tuple[list[int], set[int]]:
    """Return the NULs that may end the last of `names` names (rules 1 to 3 and 6), in order; and which are whole (rule 4)."""
    possible = nuls[names - 1 :]
    if names == 1 and tail and nuls[:1] == [at]:
        possible = nuls[:1]
    exact: list[int] = []
    preferred: list[int] = []
    whole: set[int] = set()
    for nul in possible:
        values = dict(head)
        end, read, _ = _sequence(tail, payload, nul + 2, pointer_size, values)
        if read == len(tail) and end == len(payload):
            exact.append(nul)
            if _counts_fit(tail, values, or_zero=True):
                preferred.append(nul)
            if _counts_fit(tail, values, or_zero=False):
                whole.add(nul)
    if known is not None:
        fitting = [nul for nul in exact if (nul == known if names == 1 else nul > known)]
        preferred = [nul for nul in preferred if nul in fitting] or fitting or preferred
    return preferred or exact, whole


def _counts_fit(tail: Sequence[Field], values: dict[str, Value], *, or_zero: bool) -> bool:
    """Whether every captured count is what the provider would have copied, or 0 where that is allowed."""
    for field in tail:
        if field.kind == "captured":
            count = values[COUNT_NAMES[field.name]]
            size = values[_FULL_SIZES[field.name]]
            if isinstance(size, int) and count != min(size, CAPTURE_LIMIT) and (count or not or_zero):
                return False
    return True


def _known_end(payload: bytes, at: int, nuls: Sequence[int], known_path: str | None) -> int | None:
    """Return where the first name ends if it is the path already known; None if it is not."""
    if not known_path:
        return None
    length = len(unescape_name(known_path).encode("utf-16-le", "surrogatepass"))
    end = at + length
    if end in nuls and fold_name(decode_name(payload[at:end])) == fold_name(known_path):
        return end
    return None


def _sequence(
    fields: Sequence[Field], payload: bytes, at: int, pointer_size: int, values: dict[str, Value]
) -> tuple[int, int, bool]:
    """Read ordinary fields into `values`.

    Returns where reading ended, how many fields were read, and whether a string was cut: ran to the end
    of the payload without its NUL.
    """
    cut = False
    for read, field in enumerate(fields):
        result = _read_field(field.kind, payload, at, pointer_size)
        if result is None:
            return at, read, cut
        value, end = result
        if field.kind == "captured":
            values[COUNT_NAMES[field.name]] = end - at - 2
        elif field.kind == "wz":
            cut = bool((end - at) % 2) or payload[end - 2 : end] != b"\0\0"
        elif field.kind == "az":
            cut = payload[end - 1] != 0
        values[field.name] = value
        at = end
    return at, len(fields), cut


def _is_fixed(kind: str) -> bool:
    return kind in _FIXED or kind in ("ptr", "psize")


def _read_field(kind: str, payload: bytes, at: int, pointer_size: int) -> _Read | None:
    """Return one field's value and its end; None where it does not fit."""
    if _is_fixed(kind):
        return _read_fixed(kind, payload, at, pointer_size)
    if at >= len(payload):
        return None
    return _READERS[kind](payload, at, pointer_size)


def _read_fixed(kind: str, payload: bytes, at: int, pointer_size: int) -> _Read | None:
    end = at + _FIXED.get(kind, pointer_size)
    if end > len(payload):
        return None
    piece = payload[at:end]
    if kind == "guid":
        return str(uuid.UUID(bytes_le=piece)), end
    value = int.from_bytes(piece, "little", signed=kind == "i64")
    # An NTSTATUS in a pointer-sized slot is sign-extended or padded: only its low half is the status.
    return (value & 0xFFFFFFFF if kind == "psize" else value), end


def _read_wz(payload: bytes, at: int, _pointer_size: int) -> _Read | None:
    """Read to the first 16-bit NUL, or to the payload's end where there is none."""
    for end in range(at, len(payload) - 1, 2):
        if not payload[end] and not payload[end + 1]:
            return decode_name(payload[at:end]), end + 2
    return decode_name(payload[at:]), len(payload)


def _read_az(payload: bytes, at: int, _pointer_size: int) -> _Read | None:
    r"""Read 8-bit text; its code page is not recorded, so bytes beyond ASCII are written \xNN."""
    end = payload.find(b"\0", at)
    text = payload[at : end if end >= 0 else None].decode("ascii", "backslashreplace")
    return escape_name(text), end + 1 if end >= 0 else len(payload)


def _read_captured(payload: bytes, at: int, _pointer_size: int) -> _Read | None:
    if at + 2 > len(payload):
        return None
    end = at + 2 + int.from_bytes(payload[at : at + 2], "little")
    return (payload[at + 2 : end], end) if end <= len(payload) else None


def _read_sid(payload: bytes, at: int, _pointer_size: int = 0) -> _Read | None:
    """Read a SID as S-1-...; None where its revision or its length is impossible."""
    if at + 8 > len(payload) or payload[at] != 1 or payload[at + 1] > _MOST_SUB_AUTHORITIES:
        return None
    count = payload[at + 1]
    end = at + 8 + 4 * count
    if end > len(payload):
        return None
    authority = int.from_bytes(payload[at + 2 : at + 8], "big")
    sub_authorities = struct.unpack_from(f"<{count}I", payload, at + 8)
    return "-".join(["S-1", str(authority), *map(str, sub_authorities)]), end


def _read_ksid(payload: bytes, at: int, pointer_size: int) -> _Read | None:
    """Read a SID behind a TOKEN_USER, or the zero dword that says there is none.

    The two pointers of the TOKEN_USER are leftovers of another address space; re-emitted records have
    zeros there. So a zero dword means "none" only where no sound SID follows.
    """
    sid = _read_sid(payload, at + 2 * pointer_size)
    if sid is not None:
        return sid
    if payload[at : at + 4] == bytes(4):
        return None, at + 4
    return None


_READERS = {"wz": _read_wz, "az": _read_az, "captured": _read_captured, "sid": _read_sid, "ksid": _read_ksid}
