r"""Procmon's column Detail back to the fields that it was written from.

Detail is a line of ``Name: text`` with commas between. Which names occur, and how numbers and data are written, was seen
in Procmon's own CSV of a real log, beside the log (docs/sources/procmon.md lists what is UNCONFIRMED). What the
rows of the log itself have in `detail`, and a Detail shows, stands in `detail` here too, under the same names.

Data is text cut for people. The Length beside it says whether all of it is there:

* REG_SZ, REG_EXPAND_SZ, REG_LINK: the text ends before the first NUL. Two bytes more are that NUL; more than that was cut.
  A line break is written as one letter and a semicolon, so a text that may hold one is not known.
* REG_MULTI_SZ: the strings stand with a comma and a space between, which may be in a string too. So only a single string
  is known; a second one may be its end as well, for real lists lack their last NUL (seen).
* REG_DWORD: a decimal number. REG_QWORD: nothing is shown.
* Any other type: bytes in hex, at most sixteen.
"""

import json
import re
from dataclasses import dataclass, field

from tracer.registry.text import encode_name
from tracer.registry.values import ValueType

__all__ = ["Detail", "read_detail"]

_NUMBER = "\\d+(?:(?:[.,'\u2019\u00a0\u202f ])\\d{2,3})*"
_TYPE = r"(?P<type>REG_[A-Z_]+|<Unknown: [^>]{1,24}>)"
_VALUE = re.compile(rf"Type: {_TYPE}(?:, Length: (?P<size>{_NUMBER})(?:, Data: (?P<data>.*))?)?", re.DOTALL)
_ENTRY = re.compile(
    rf"Index: (?P<index>{_NUMBER})(?:, Length: (?P<length>{_NUMBER})|, Name: (?P<rest>.*))?", re.DOTALL
)
_BEHIND_NAME = re.compile(rf", (?=Type: {_TYPE}(?:, Length: {_NUMBER}(?:, Data: |\Z)|\Z))")
_LENGTH = re.compile(f"Length: ({_NUMBER})")
_ACCESS = re.compile(
    r"(?:Desired Access: (?P<desired>.*?))?(?:(?:^|, )Granted Access: (?P<granted>.*?))?"
    r"(?:(?:^|, )Disposition: (?P<disposition>REG_[A-Z_]+))?(?:(?:^|, )Granted Access: (?P<late>.*?))?"
)
_QUERY = re.compile(r"Query: (?P<class>\w+)(?:, (?P<rest>.*))?", re.DOTALL)
_SET = re.compile(
    rf"KeySetInformationClass: (?P<class>\w+)(?:, Length: (?P<length>{_NUMBER}))?(?:, (?P<rest>.*))?",
    re.DOTALL,
)
_COUNTS = re.compile(rf"SubKeys: (?P<keys>{_NUMBER}), Values: (?P<values>{_NUMBER})")
_TAGS = re.compile(r"HandleTags: 0x([0-9A-Fa-f]{1,8})")
_HEX = re.compile(r"[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2})*")

_DISPOSITIONS = {"REG_CREATED_NEW_KEY": 1, "REG_OPENED_EXISTING_KEY": 2}  # winnt.h
# KEY_INFORMATION_CLASS and KEY_SET_INFORMATION_CLASS of wdm.h in Procmon's words
_KEY_CLASSES = {
    "Basic": 0, "Node": 1, "Full": 2, "Name": 3, "Cached": 4, "Flags": 5, "Virtualization": 6, "HandleTags": 7, "Trust": 8,
    "Layer": 9,
}  # fmt: skip
_SET_CLASSES = {
    "KeyWriteTimeInformation": 0, "KeyWow64FlagsInformation": 1, "KeyControlFlagsInformation": 2,
    "KeySetVirtualizationInformation": 3, "KeySetDebugInformation": 4, "KeySetHandleTagsInformation": 5,
    "KeySetLayerInformation": 6,
}  # fmt: skip
# Rights of keys in Procmon's words: the names of winnt.h without KEY_.
_RIGHTS = {
    "All Access": 0xF003F, "Read/Write": 0x2001F, "Read": 0x20019, "Write": 0x20006, "Query Value": 1, "Set Value": 2,
    "Create Sub Key": 4, "Enumerate Sub Keys": 8, "Notify": 0x10, "Create Link": 0x20, "WOW64_Res": 0x300,
    "WOW64_32Key": 0x200, "WOW64_64Key": 0x100, "Delete": 0x10000, "Read Control": 0x20000, "Write DAC": 0x40000,
    "Write Owner": 0x80000, "Synchronize": 0x100000, "Access System Security": 0x1000000, "Maximum Allowed": 0x2000000,
}  # fmt: skip
_NO_RIGHTS = re.compile("None 0x([0-9a-fA-F]{1,8})")
_TYPES = {f"REG_{kind.name}": int(kind) for kind in ValueType}
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ, ValueType.LINK)
_WIDTHS = {ValueType.DWORD: 4, ValueType.QWORD: 8}
_DEFAULT = "(Default)"
_LINE_BREAK = re.compile("[\r\n];")  # UNCONFIRMED of registry data: seen in other Details


@dataclass(slots=True)
class Detail:
    """What one Detail says; None for what it does not.

    Attributes:
        value_name: of an enumerated value, escaped; "" is the default value.
        requested_name: the new name of a renamed key.
        disposition: of a create.
        information_class: of a query of a key, or of its settings.
        index: of an enumeration.
        data_type: registry value type.
        data_size: the value's own size in bytes.
        data: the bytes that are known: from its beginning, as many as are shown.
        is_cut: more bytes were there than are known.
        is_clear: False: something in it is of no known form, and stands as text in `fields`.
        is_joined: it is a REG_MULTI_SZ of which it is not known where one string ends.
        fields: what has no column, by the names of REG_*_INFORMATION structures.
    """

    value_name: str | None = None
    requested_name: str | None = None
    disposition: int | None = None
    information_class: int | None = None
    index: int | None = None
    data_type: int | None = None
    data_size: int | None = None
    data: bytes | None = None
    is_cut: bool = False
    is_clear: bool = True
    is_joined: bool = False
    fields: dict[str, int | str] = field(default_factory=dict)

    @property
    def json(self) -> str | None:
        """The fields as JSON; None where there are none."""
        return json.dumps(self.fields, ensure_ascii=False) if self.fields else None


def read_detail(operation: str, text: str) -> Detail:
    r"""Return what Procmon's Detail says of an operation.

    Args:
        operation: a name of `tracer.registry.operations`.
        text: escaped.

    >>> detail = read_detail("SetValueKey", "Type: REG_SZ, Length: 6, Data: ab")
    >>> detail.data_type, detail.data_size, detail.data
    (1, 6, b'a\x00b\x00\x00\x00')
    """
    detail = Detail()
    reader = _READERS.get(operation, _read_any)
    if text and not reader(detail, text):
        detail = Detail(is_clear=False, fields={"Detail": text})
    return detail


def _read_access(detail: Detail, text: str) -> bool:
    match = _ACCESS.fullmatch(text)
    if match is None:
        return False
    for name, words in (
        ("DesiredAccess", match["desired"]),
        ("GrantedAccess", match["granted"] or match["late"]),
    ):
        if words:
            rights = _rights(words)
            detail.is_clear &= rights is not None
            detail.fields[name] = words if rights is None else rights
    if match["disposition"]:
        detail.disposition = _DISPOSITIONS.get(match["disposition"])
        detail.is_clear &= detail.disposition is not None
    return True


def _rights(words: str) -> int | None:
    """Return an access mask; None where a word of it is not known."""
    nothing = _NO_RIGHTS.fullmatch(words)
    if nothing:
        return int(nothing[1], 16)
    mask = 0
    for word in words.split(", "):
        if word not in _RIGHTS:
            return None
        mask |= _RIGHTS[word]
    return mask


def _read_query(detail: Detail, text: str) -> bool:
    match = _QUERY.fullmatch(text)
    if match is None:
        return False
    detail.information_class = _KEY_CLASSES.get(match["class"])
    rest = match["rest"] or ""
    if detail.information_class is None:
        return False
    if tags := _TAGS.fullmatch(rest):
        detail.fields["HandleTags"] = int(tags[1], 16)
    elif counts := _COUNTS.fullmatch(rest):
        detail.fields |= {"SubKeys": _number(counts["keys"]), "Values": _number(counts["values"])}
    elif rest.startswith("Name: "):
        detail.fields["Name"] = rest.removeprefix("Name: ")
    elif rest and not _read_any(detail, rest):
        detail.is_clear, detail.fields["Detail"] = False, rest
    return True


def _read_settings(detail: Detail, text: str) -> bool:
    match = _SET.fullmatch(text)
    if match is None or match["class"] not in _SET_CLASSES:
        return False
    detail.information_class = _SET_CLASSES[match["class"]]
    # Procmon writes how much of the structure it logged: 0 says nothing about the call.
    if match["length"] and (length := _number(match["length"])):
        detail.fields["Length"] = length
    if match["rest"]:
        detail.is_clear, detail.fields["Detail"] = False, match["rest"]
    return True


def _read_entry(detail: Detail, text: str) -> bool:
    """Read the Detail of an enumeration: of values where a type follows the name."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        return False
    detail.index = _number(match["index"])
    if match["length"]:
        detail.fields["Length"] = _number(match["length"])
    elif match["rest"] is not None:
        detail.fields["Name"] = match["rest"]
    return True


def _read_value_entry(detail: Detail, text: str) -> bool:
    if not _read_entry(detail, text):
        return False
    rest = detail.fields.pop("Name", None)
    if isinstance(rest, str):
        places = [match.end() for match in _BEHIND_NAME.finditer(rest)]
        if len(places) > 1:  # the name or the data looks like the rest of a Detail
            detail.is_clear, detail.fields["Detail"] = False, rest
            return True
        name = rest[: places[0] - 2] if places else rest
        detail.value_name = "" if name == _DEFAULT else name
        return not places or _read_value(detail, rest[places[0] :])
    return True


def _read_value(detail: Detail, text: str) -> bool:
    match = _VALUE.fullmatch(text)
    if match is None:
        return _read_any(detail, text)
    kind = match["type"]
    detail.data_type = _TYPES.get(kind)
    if detail.data_type is None:
        number = re.fullmatch(r"<Unknown: (?:(\d{1,10})|0x([0-9A-Fa-f]{1,8}))>", kind)
        if number is None:
            return False
        value = int(number[1]) if number[1] else int(number[2], 16)
        if value >= 1 << 32:
            return False
        detail.data_type = value
    if match["size"]:
        detail.data_size = _number(match["size"])
        if detail.data_size >= 1 << 32:
            return False
        if match["data"] is not None and detail.data_size:
            _read_data(detail, match["data"], detail.data_type, detail.data_size)
    return True


def _read_data(detail: Detail, shown: str, kind: int, size: int) -> None:
    """Fill in the bytes that the text of the data stands for."""
    data: bytes | None
    if kind in _TEXTS:
        data = _text(shown, size)
    elif kind == ValueType.MULTI_SZ:
        data = _strings(shown, size)
        detail.is_joined = data is None
    elif kind in _WIDTHS:
        data = _integer(shown, _WIDTHS[ValueType(kind)], size)
    else:
        data = bytes.fromhex(shown) if _HEX.fullmatch(shown) and len(shown) // 3 + 1 <= size else None
    if data is None:
        if shown:
            detail.is_clear &= detail.is_joined
            detail.fields["Data"] = shown
        return
    if data:
        detail.data, detail.is_cut = data, len(data) < size


def _text(shown: str, size: int) -> bytes | None:
    """Return the bytes of a text, with the NUL that ends it where the size leaves room; None where they are not known."""
    data = encode_name(shown)
    if len(data) > size or _LINE_BREAK.search(shown):
        return None
    return data + b"\0\0" if len(data) + 2 <= size else data


def _strings(shown: str, size: int) -> bytes | None:
    """Return the bytes of a list of one string; None where there may be more."""
    data = encode_name(shown)
    if ", " in shown or _LINE_BREAK.search(shown) or not 0 <= size - len(data) <= 4:
        return None
    return data + bytes(size - len(data) & ~1)


def _integer(shown: str, width: int, size: int) -> bytes | None:
    value = _number(shown) if re.fullmatch(_NUMBER, shown) else -1
    if not 0 <= value < 1 << 8 * width or size < width:
        return None
    return value.to_bytes(width, "little")


def _read_hive(detail: Detail, text: str) -> bool:
    return _named(detail, text, "Hive Path: ", "FileName")


def _read_rename(detail: Detail, text: str) -> bool:
    if text.startswith("New Name: "):
        detail.requested_name = text.removeprefix("New Name: ")
        return True
    return False


def _named(detail: Detail, text: str, label: str, name: str) -> bool:
    if text.startswith(label):
        detail.fields[name] = text.removeprefix(label)
        return True
    return False


def _read_any(detail: Detail, text: str) -> bool:
    if length := _LENGTH.fullmatch(text):
        detail.fields["Length"] = _number(length[1])
        return True
    return False


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


_READERS = {
    "OpenKey": _read_access, "CreateKey": _read_access, "QueryKey": _read_query, "SetInformationKey": _read_settings,
    "EnumerateKey": _read_entry, "EnumerateValueKey": _read_value_entry, "SetValueKey": _read_value,
    "QueryValueKey": _read_value, "LoadKey": _read_hive, "RenameKey": _read_rename,
}  # fmt: skip
