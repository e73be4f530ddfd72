"""The content of a value as formats with types for it need it: strings, a number, or bytes."""

from base64 import b64encode
from dataclasses import dataclass

from tracer.registry.text import decode_name, encode_name, unescape_name
from tracer.registry.values import ValueType

__all__ = ["Content", "content_of"]

_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ, ValueType.LINK)
_NUMBERS = {ValueType.DWORD: 4, ValueType.DWORD_BIG_ENDIAN: 4, ValueType.QWORD: 8}
_NUL = "<U+0000>"  # as decode_name writes it


@dataclass(frozen=True, slots=True)
class Content:
    """What a value holds.

    Attributes:
        strings: the strings of a text or of a list of texts, escaped as names are; None of other values.
        number: the number of a REG_DWORD or REG_QWORD that is whole, unsigned; None of other values.
        octets: the captured bytes.
        is_list: whether it is a list of texts (REG_MULTI_SZ).
        is_exact: whether the strings or the number give the captured bytes back, and nothing of the value was cut.
    """

    strings: tuple[str, ...] | None
    number: int | None
    octets: bytes
    is_exact: bool
    is_list: bool = False

    @property
    def base64(self) -> str:
        """The captured bytes in base64."""
        return b64encode(self.octets).decode()


def content_of(kind: int | None, data: bytes | None, size: int | None) -> Content | None:
    r"""Return the content of a value; None where nothing of it was captured.

    Args:
        kind: registry value type; None if the source showed text without its type.
        data: the captured bytes.
        size: full size in bytes; None if unknown. Of 0, there was nothing to capture.

    >>> content_of(4, b"\x10\0\0\0", 4).number
    16
    >>> content_of(1, "a\0".encode("utf-16-le"), 4)
    Content(strings=('a',), number=None, octets=b'a\x00\x00\x00', is_exact=True)
    """
    if data is None:
        if size != 0:
            return None
        data = b""
    is_whole = size is None or len(data) >= size
    if kind in _NUMBERS and len(data) == _NUMBERS[ValueType(kind)]:
        number = int.from_bytes(data, "big" if kind == ValueType.DWORD_BIG_ENDIAN else "little")
        return Content(None, number, data, is_whole)
    if kind in _TEXTS or kind is None:
        text = decode_name(data).removesuffix(_NUL)
        is_exact = is_whole and (encode_name(text) + b"\0\0" == data) and _NUL not in text
        return None if kind is None and not is_exact else Content((text,), None, data, is_exact)
    if kind == ValueType.MULTI_SZ:
        items = decode_name(data).split(_NUL)
        while items and not items[-1]:
            items.pop()
        written = "".join(f"{unescape_name(item)}\0" for item in items) + "\0"
        is_exact = is_whole and written.encode("utf-16-le", "surrogatepass") == data
        return Content(tuple(items), None, data, is_exact, is_list=True)
    return Content(None, None, data, is_whole)
