"""Plans: the layouts of registry records turned into offset tables that whole columns are read by.

A plan is one layout at one pointer width. Tables are indexed by plan number, so a field of all records of
a chunk is read by one gather, whatever mixture of events the chunk holds.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tracer.decode.layouts import LAYOUTS, Field, Layout
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY
from tracer.registry.operations import OPERATIONS

__all__ = [
    "ABSENT",
    "FIXED_FIELDS",
    "LONG_FIELDS",
    "OPERATION_NUMBERS",
    "PLANS",
    "Plan",
    "PlanTables",
    "find_plans",
]

ABSENT = -1
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8, "filetime": 8}
FIXED_FIELDS = (
    "BaseObject", "KeyObject", "KeyHandle", "Status", "Disposition", "InfoClass", "Index", "DataSize", "Type",
    "EntryCount", "InitialTime",
)  # fmt: skip
LONG_FIELDS = frozenset({"BaseObject", "KeyObject", "KeyHandle", "InitialTime"})
OPERATION_NUMBERS = {operation.name: number for number, operation in enumerate(OPERATIONS)}
_VALUE_OPCODES = frozenset({13, 14, 15, 16, 18, 19})  # classic: KeyName holds a value name
_INDEX_OPCODES = frozenset({17, 18})  # classic: the dword is an index; elsewhere an information class
KCB_CREATE, KCB_DELETE, KCB_RUNDOWN = 22, 23, (24, 25)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read one layout at one pointer width.

    Attributes:
        layout: what it was made from.
        pointer_size: 4 or 8.
        fixed: bytes before the first name, at which the payload's text part starts.
        offsets: of the fixed fields, by name.
        names: 0, 1 or 2 names follow.
        tail: captured blobs after the names: 0, 1, or 2 (the second behind a type and a size).
        scalar: whether records are rare enough, or odd enough, to be read one by one.
    """

    layout: Layout
    pointer_size: int
    fixed: int
    offsets: dict[str, int]
    names: int
    tail: int
    scalar: bool


def _plan(layout: Layout, pointer_size: int) -> Plan:
    sizes = {**_SIZES, "ptr": pointer_size, "psize": pointer_size}
    at, offsets = 0, {}
    rest: tuple[Field, ...] = layout.fields
    for number, field in enumerate(layout.fields):
        if field.kind not in sizes:
            rest = layout.fields[number:]
            break
        offsets[field.name] = at
        at += sizes[field.kind]
    else:
        rest = ()
    kinds = [field.kind for field in rest]
    scalar = layout.operation in ("HiveWork", "TransactionWork", "ChangeNotify")
    return Plan(layout, pointer_size, at, offsets, kinds.count("wz"), kinds.count("captured"), scalar)


PLANS = tuple(
    _plan(layout, pointer_size)
    for layout in LAYOUTS.values()
    if layout.provider in (KERNEL_REGISTRY, CLASSIC_REGISTRY)
    for pointer_size in (4, 8)
)


class PlanTables:
    """Columns over PLANS: one NumPy row a plan."""

    fixed = np.array([plan.fixed for plan in PLANS])
    names = np.array([plan.names for plan in PLANS])
    tail = np.array([plan.tail for plan in PLANS])
    scalar = np.array([plan.scalar for plan in PLANS])
    wide = np.array([plan.pointer_size == 8 for plan in PLANS])
    classic = np.array([plan.layout.provider == CLASSIC_REGISTRY for plan in PLANS])
    event_id = np.array([plan.layout.id for plan in PLANS])
    operation = np.array([OPERATION_NUMBERS.get(plan.layout.operation or "", ABSENT) for plan in PLANS])
    creates = ~classic & ((event_id == 1) | (event_id == 2))
    closes = np.array([plan.layout.name == "CloseKey" for plan in PLANS])
    kcb_create = classic & (event_id == KCB_CREATE)
    kcb_delete = classic & (event_id == KCB_DELETE)
    kcb_rundown = classic & np.isin(event_id, KCB_RUNDOWN)
    value_only = classic & np.isin(event_id, list(_VALUE_OPCODES))
    index_only = classic & np.isin(event_id, list(_INDEX_OPCODES))
    offsets: ClassVar[dict[str, NDArray[np.int64]]] = {
        name: np.array([plan.offsets.get(name, ABSENT) for plan in PLANS], np.int64) for name in FIXED_FIELDS
    }


_IDS, _VERSIONS = 64, 4
# Plan numbers, and whether a layout was declared for just this version, by [classic, wide, version, id].
_LOOKUP = np.full((2, 2, _VERSIONS, _IDS), ABSENT, np.int16)
_EXACT = np.zeros((2, 2, _VERSIONS, _IDS), bool)
for _number, _a_plan in enumerate(PLANS):
    _layout = _a_plan.layout
    _where = (int(_layout.provider == CLASSIC_REGISTRY), int(_a_plan.pointer_size == 8))
    _LOOKUP[(*_where, _layout.version, _layout.id)] = _number
    _EXACT[(*_where, _layout.version, _layout.id)] = True
for _where in np.ndindex(2, 2):
    for _id in range(_IDS):
        _known = np.flatnonzero(_LOOKUP[_where][:, _id] != ABSENT)
        if len(_known):  # a newer version is read by the newest known layout, as a prefix
            _LOOKUP[_where][_known[-1] + 1 :, _id] = _LOOKUP[_where][_known[-1], _id]


def find_plans(
    classic: NDArray[np.bool_], wide: NDArray[np.bool_], version: NDArray[np.int16], id_: NDArray[np.int32]
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return each record's plan number (ABSENT where the event is unknown) and whether it fits exactly."""
    known = (id_ >= 0) & (id_ < _IDS)
    table = np.minimum(version.view(np.uint16), _VERSIONS - 1).astype(np.int32)
    table += (classic * np.int32(2) + wide) * _VERSIONS
    place = table * _IDS + id_
    if known.all():
        return _LOOKUP.take(place), _EXACT.take(place)
    place = np.where(known, place, 0)
    return np.where(known, _LOOKUP.take(place), ABSENT).astype(np.int16), _EXACT.take(place)
