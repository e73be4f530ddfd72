"""What a decoded record is: its provider, id or opcode, and version, from what a tool says of it."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.decode.layouts import LAYOUTS
from tracer.etl.providers import (
    CLASSIC_PROCESS,
    CLASSIC_REGISTRY,
    KERNEL_REGISTRY,
    PROVIDER_NAMES,
)

__all__ = ["UNKNOWN", "Identity", "identify"]

UNKNOWN = -1
_CLASSIC = (CLASSIC_REGISTRY, CLASSIC_PROCESS)
_GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?")
# What tools call a provider or a class beside the names of `PROVIDER_NAMES`: tracerpt's CSV and TraceEvent.
_NAMES = {name.lower(): guid for guid, name in PROVIDER_NAMES.items()} | {
    "registry": CLASSIC_REGISTRY,
    "process": CLASSIC_PROCESS,
}
_FIRST_OPCODE = (
    32  # of Microsoft-Windows-Kernel-Registry: CreateKey; the others follow in the order of their ids
)
_OPERATIONS = 15
# Velociraptor's names of the kernel logger's events.
_VELOCIRAPTOR = {
    "RegCreateKey": 10, "RegOpenKey": 11, "RegDeleteKey": 12, "RegQueryKey": 13, "RegSetValue": 14, "RegDeleteValue": 15,
    "RegQueryValue": 16, "RegCreateKCB": 22, "RegDeleteKCB": 23, "RegKCBRundown": 25, "RegCloseKey": 27,
}  # fmt: skip
_VELOCIRAPTOR_PROCESSES = {"CreateProcess": 1, "TerminateProcess": 2, "ProcessRundown": 3}
_KERNEL_NAMES = {name.lower(): (CLASSIC_REGISTRY, opcode) for name, opcode in _VELOCIRAPTOR.items()} | {
    name.lower(): (CLASSIC_PROCESS, opcode) for name, opcode in _VELOCIRAPTOR_PROCESSES.items()
}
_KERNEL_SESSIONS = {"nt kernel logger", "nt-kernel-logger", "windows kernel", "kernel"}
_KERNEL_LOGGER = "9e814aad-3204-11d2-9a82-006008a86939"
_OPCODE_NAMES = {(layout.provider, layout.name.lower()): layout.id for layout in LAYOUTS.values()}
_COLUMNS = ("@guid", "@provider", "@class", "@id", "@opcode", "@version", "@name")


@dataclass(frozen=True, slots=True)
class Identity:
    """What one record is.

    Attributes:
        provider: GUID of a provider of `PROVIDER_NAMES`.
        id: event id; classic: opcode. UNKNOWN where nothing says.
        version: UNKNOWN where nothing says.
    """

    provider: str
    id: int
    version: int

    @property
    def classic(self) -> bool:
        """Whether it is of a class of the NT Kernel Logger."""
        return self.provider in _CLASSIC


def identify(records: pa.Table) -> tuple[list[Identity | None], NDArray[np.int64]]:
    """Return what the records are, each thing once, and the place of each record among them; None: another provider."""
    parts = [pc.fill_null(records[name], "") for name in _COLUMNS]
    encoded = pc.binary_join_element_wise(*parts, "\x1f").combine_chunks().dictionary_encode()
    found = [_identity(*text.split("\x1f")) for text in encoded.dictionary.to_pylist()]
    return found, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _identity(
    guid: str, provider: str, class_: str, id_: str, opcode: str, version: str, name: str, *_: str
) -> Identity | None:
    words = name.lower().split("/")
    known = _provider(guid, provider, class_, words)
    if known is None:
        return None
    numbers = _number(id_), _number(opcode)
    return Identity(known, _event(known, *numbers, words), _number(version))


def _provider(guid: str, provider: str, class_: str, words: list[str]) -> str | None:
    """Return the GUID of the provider or class: what a GUID says counts more than a name."""
    named = False
    for text in (class_, guid):
        found = _GUID.fullmatch(text.strip().lower())
        if found is None or not found[1].strip("0-"):
            continue
        if found[1] in PROVIDER_NAMES:
            return found[1]
        named = named or found[1] != _KERNEL_LOGGER
    if named:
        return None
    lowered = provider.strip().lower()
    if lowered in _NAMES:
        return _NAMES[lowered]
    if lowered in _KERNEL_SESSIONS or _KERNEL_LOGGER in guid.lower():
        kernel = _KERNEL_NAMES.get(words[-1])
        return kernel[0] if kernel else _NAMES.get(words[0])
    return None


def _event(provider: str, id_: int, opcode: int, words: list[str]) -> int:
    """Return the id of an event, of a classic one its opcode."""
    if provider in _CLASSIC:
        kernel = _KERNEL_NAMES.get(words[-1])
        named = kernel[1] if kernel else _OPCODE_NAMES.get((provider, words[-1]), UNKNOWN)
        return next((number for number in (opcode, id_, named) if number > 0), UNKNOWN)
    if id_ > 0:
        return id_
    if provider == KERNEL_REGISTRY and _FIRST_OPCODE <= opcode < _FIRST_OPCODE + _OPERATIONS:
        return opcode - _FIRST_OPCODE + 1
    names = (_OPCODE_NAMES.get((provider, word)) for word in (*reversed(words), "".join(words)))
    return next((number for number in names if number is not None), UNKNOWN)


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else UNKNOWN
