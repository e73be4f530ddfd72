r"""The fields of Sysmon's registry events as a capture tells them: of each distinct write what is known of each field.

Sigma's rules are written for Sysmon's records, so keys are spelled as Sysmon spells them (``HKCR`` for
``HKLM\SOFTWARE\Classes``, ``CurrentControlSet`` for the control set in force) and data as its Details. What a capture does not
tell is not made up: a field is known, one of a few texts, known from its beginning or its end, not there, or unknown.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.registry.text import decode_name, fold_name
from tracer.registry.values import ValueType

__all__ = [
    "ABSENT",
    "KeyName",
    "Known",
    "details_of",
    "event_types",
    "image_of",
    "key_name",
    "new_name_of",
    "target_of",
    "user_of",
]

Codes = NDArray[np.int32]

_FEW = 256  # texts that are looked at one by one
_CLASSES = r"HKLM\SOFTWARE\CLASSES"
_CONTROL_SET = re.compile(r"HKLM\\SYSTEM\\CONTROLSET(\d{3})(?=\\|\Z)")
_DOS = re.compile(r"(?:\\\\\?\\|\\\?\?\\)?([A-Za-z]:\\.*)", re.DOTALL)
_VOLUME = re.compile(r"(\\Device\\HarddiskVolume\d+)(\\.*)", re.DOTALL | re.IGNORECASE)
_NATIVE = re.compile(
    r"\\(?:SystemRoot(\\.+)|Device\\(?:.*\\)?([^\\]+))", re.DOTALL | re.IGNORECASE
)  # of any other device, the name
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ACCOUNTS = {  # well-known SIDs as Sysmon names them
    "S-1-5-18": r"NT AUTHORITY\SYSTEM",
    "S-1-5-19": r"NT AUTHORITY\LOCAL SERVICE",
    "S-1-5-20": r"NT AUTHORITY\NETWORK SERVICE",
}
EVENT_TYPES = {
    "SetValueKey": "SetValue",
    "CreateKey": "CreateKey",
    "DeleteKey": "DeleteKey",
    "DeleteValueKey": "DeleteValue",
    "RenameKey": "RenameKey",
}
_SYSTEM_PID = 4


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a field of one event.

    Attributes:
        texts: the text, or the few texts of which it is one; the known beginning or end; empty where nothing is known.
        how: whole, beginning, end, absent (such events have no such field), or nothing.
        gap: what is not known, in a few words; "" where the field is.
    """

    texts: tuple[str, ...]
    how: str = "whole"
    gap: str = ""


ABSENT = Known((), "absent")


@dataclass(frozen=True, slots=True)
class KeyName:
    r"""The path of a key as Sysmon spells it, or as far as it is known.

    Attributes:
        texts: the path, or the few of which it is one; below an unnamed object what follows it, with the backslash in front.
        is_whole: whether nothing stands before that.
        gap: what is not known of it; "" where it is.
    """

    texts: tuple[str, ...]
    is_whole: bool = True
    gap: str = ""


def key_name(display: str | None, control_set: int | None) -> KeyName:
    r"""Return the name of a key.

    Args:
        display: its display path; None: the event names none.
        control_set: the control set in force; None if unknown. A numbered one may then be the one in force or not.

    >>> key_name(r"HKLM\SOFTWARE\Classes\exefile", 1).texts, key_name(r"<object 0x1F>\Run", 1).texts
    (('HKCR\\exefile',), ('\\Run',))
    """
    if not display:
        return KeyName((), is_whole=False, gap="name of the key")
    if display.startswith("<object"):
        end = display.partition("\\")
        return KeyName((f"\\{end[2]}",) if end[2] else (), is_whole=False, gap="name of the key")
    folded = fold_name(display)
    if folded.startswith(_CLASSES) and folded[len(_CLASSES) :][:1] in ("", "\\"):
        return KeyName(("HKCR" + display[len(_CLASSES) :],))
    if found := _CONTROL_SET.match(folded):
        current = r"HKLM\System\CurrentControlSet" + display[found.end() :]
        if control_set is None:
            return KeyName((display, current), gap="control set in force")
        return KeyName((current if int(found[1]) == control_set else display,))
    return KeyName((display,))


def target_of(key: KeyName, value_name: str | None, *, is_value: bool) -> Known:
    """Return TargetObject: the key, or the key, a backslash and the value's name.

    Args:
        key: the key.
        value_name: the value's name; "" is the default value. None: not known.
        is_value: whether the operation is one on a value.
    """
    if not is_value:
        return _of_key(key, key.texts)
    if value_name is None:
        beginning = tuple(f"{text}\\" for text in key.texts)
        whole = key.is_whole and beginning
        return (
            Known(beginning, "beginning", "name of the value")
            if whole
            else Known((), "nothing", key.gap or "name of the value")
        )
    name = value_name or "(Default)"
    return _of_key(key, tuple(f"{text}\\{name}" for text in key.texts) or (f"\\{name}",))


def new_name_of(key: KeyName, requested_name: str | None) -> Known:
    """Return NewName of a rename: where the key is afterwards.

    Args:
        key: the key before.
        requested_name: its new last component; None: not known.
    """
    above = tuple(text.rpartition("\\")[0] for text in key.texts)
    if requested_name is None:
        return Known((), "nothing", "new name of the key")
    return _of_key(key, tuple(f"{text}\\{requested_name}" for text in above) or (f"\\{requested_name}",))


def _of_key(key: KeyName, texts: tuple[str, ...]) -> Known:
    if key.is_whole:
        return Known(texts, "whole", key.gap)
    return Known(texts, "end", key.gap) if texts else Known((), "nothing", key.gap)


def event_types(operation: str) -> Known:
    """Return EventType of an operation; of a record that lost it the three that it may be."""
    if operation in EVENT_TYPES:
        return Known((EVENT_TYPES[operation],))
    return Known(("CreateKey", "DeleteKey", "DeleteValue"), "whole", "EventType")


def details_of(
    kind: int | None, size: int | None, data: bytes | None, *, is_cut: bool, is_binary: bool
) -> Known:
    r"""Return Details: new data as Sysmon shows them.

    Args:
        kind: registry value type; None if the source does not tell it.
        size: bytes of the value; None if unknown.
        data: bytes that were captured; None if none were.
        is_cut: whether the value has more bytes than that.
        is_binary: whether the source shows data of this kind without type and bytes.

    >>> details_of(4, 4, b"\x10\0\0\0", is_cut=False, is_binary=False).texts
    ('DWORD (0x00000010)',)
    """
    if is_binary or (kind is not None and kind not in _SHOWN):
        return Known(("Binary Data",))
    if kind is not None and data is not None and len(data) == size == _NUMBERS.get(kind):
        number = int.from_bytes(data, "little")
        if kind == ValueType.DWORD:
            return Known((f"DWORD (0x{number:08x})",))
        return Known((f"QWORD (0x{number >> 32:08x}-0x{number & 0xFFFFFFFF:08x})",))
    if kind in _NUMBERS:
        return Known((), "nothing", "data that were written")
    if data is None:
        if size == 0 and kind is not None:
            return Known(("(Empty)",))
        return Known((), "nothing", "data that were written")
    whole = decode_name(data)
    text, nul, more = whole.partition(_NUL)
    if nul and more.replace(_NUL, ""):
        return Known((text or "(Empty)", whole), "whole", "text after a NUL")
    if is_cut and not nul:
        return (
            Known((text,), "beginning", "rest of the data")
            if text
            else Known((), "nothing", "rest of the data")
        )
    return Known((text or "(Empty)",))


def image_of(image: str | None, image_path: str | None, pid: int | None) -> Known:
    r"""Return Image: the path of the process's program.

    Args:
        image: its file name; None if unknown.
        image_path: its path with a drive where that is proved, else as recorded; None if unknown.
        pid: its process id; None if unknown.
    """
    if pid == _SYSTEM_PID:
        return Known(("System",))
    if image_path and (found := _DOS.fullmatch(image_path)):
        return Known((found[1],))
    if image_path and (found := _VOLUME.fullmatch(image_path)):
        return Known(
            tuple(f"{letter}:{found[2]}" for letter in _LETTERS), "whole", "drive letter of the program"
        )
    if image_path and (found := _NATIVE.fullmatch(image_path)):
        return Known((found[1] or f"\\{image or found[2]}",), "end", "path of the program")
    if image_path:
        return Known((image_path,))
    return Known((f"\\{image}",), "end", "path of the program") if image else Known((), "nothing", "process")


def user_of(user: str | None) -> Known:
    """Return User: the account, as Sysmon names it; of a SID that is nobody's in particular it is unknown."""
    if user is None:
        return Known((), "nothing", "user")
    if user.upper().startswith("S-1-"):
        account = _ACCOUNTS.get(user.upper())
        return Known((account,)) if account else Known((), "nothing", "name of the user")
    return Known((user,))


_NUL = "<U+0000>"
_NUMBERS: dict[int, int] = {ValueType.DWORD: 4, ValueType.QWORD: 8}
_SHOWN = (ValueType.SZ, ValueType.EXPAND_SZ, *_NUMBERS)
