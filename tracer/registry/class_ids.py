r"""CLSIDs of COM classes: where one stands, and which keys tell what its class is called.

The default value of ``Classes\CLSID\{...}`` is the name of the class. Where a capture does not hold it, the ProgID is told:
the default value of ``CLSID\{...}\ProgID``, or the key whose subkey ``CLSID`` has the CLSID as its default value. The source
of all three is the entry COM_CLASS of `tracer.registry.decoders`.
"""

import re

from tracer.registry.decoders import COM_CLASS
from tracer.registry.text import decode_name

__all__ = [
    "CLASS_KEYS",
    "CLSID_SIZES",
    "class_of_key",
    "class_of_meaning",
    "class_of_name",
    "class_of_text",
    "class_words",
    "is_text_class",
    "key_class",
]

_GUID = r"\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}"
_IN_CLASSES = (
    r"^(?:HKCR|(?:HKLM|HKU\\[^\\]+|HKCU)\\SOFTWARE\\(?:WOW6432NODE\\)?CLASSES|HKU\\[^\\]+_CLASSES)"
    r"\\(?:WOW6432NODE\\)?"
)
_OF_CLASS = rf"CLSID\\({_GUID})(\\(?:VERSIONINDEPENDENT)?PROGID)?$"
CLASS_KEYS = (
    rf"{_IN_CLASSES}(?:{_OF_CLASS}|[^\\]+\\CLSID$)"  # of folded paths; their default values tell names
)
CLSID_SIZES = [16, 76, 78]  # bytes of a CLSID in binary, as text, and as text with its NUL
_KEY = re.compile(_IN_CLASSES + _OF_CLASS, re.ASCII)
_NAME = re.compile(_GUID, re.ASCII | re.IGNORECASE)
_READ = re.compile(rf"({_GUID}) \(GUID\)", re.ASCII)
_BRACKETS = f" ({COM_CLASS.name})"
_TEXT_IS = "CLSID of "
_KEY_IS = "key is the CLSID of "


def class_of_key(folded_path: str) -> tuple[str | None, str]:
    """Return the CLSID that a key of CLASS_KEYS is about, and "" or the subkey that holds a ProgID; None: it names none."""
    found = _KEY.match(folded_path)
    return (found[1], found[2] or "") if found else (None, "")


def class_of_name(name: str) -> str | None:
    """Return a name in upper case where it may be a CLSID: a GUID in braces."""
    return name.upper() if len(name) == 38 and _NAME.fullmatch(name) else None


def class_of_text(kind: int | None, data: bytes | None) -> str | None:
    """Return the text of a value in upper case where it may be a CLSID."""
    if data is None or len(data) not in CLSID_SIZES or kind not in COM_CLASS.kinds:
        return None
    return class_of_name(decode_name(data).removesuffix("<U+0000>"))


def class_of_meaning(meaning: str) -> str | None:
    """Return the CLSID that the decoder of GUIDs read; None for other meanings."""
    found = _READ.fullmatch(meaning)
    return found[1] if found else None


def class_words(name: str, meaning: str | None, *, is_key: bool) -> str:
    """Return what a CLSID means.

    Args:
        name: what its class is called.
        meaning: what a decoder said of the same data; None: nothing.
        is_key: whether a key is called so, and not the data.

    >>> class_words("Shortcut", None, is_key=False)
    'CLSID of Shortcut (COM class)'
    """
    before = _KEY_IS if is_key else f"{meaning}, {_TEXT_IS}" if meaning else _TEXT_IS
    return f"{before}{name}{_BRACKETS}"


def is_text_class(meaning: str) -> bool:
    """Tell whether a meaning names the class of a CLSID that is text already."""
    return meaning.startswith(_TEXT_IS) and meaning.endswith(_BRACKETS)


def key_class(meaning: str) -> str | None:
    """Return the name of the class whose CLSID the row's key is called by; None where the meaning says no such thing."""
    is_one = meaning.startswith(_KEY_IS) and meaning.endswith(_BRACKETS)
    return meaning.removeprefix(_KEY_IS).removesuffix(_BRACKETS) if is_one else None
