"""Twin of `tracer.decode.plans.find_plans`: which records are of the registry, and how each is read."""

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.decode.plans import ABSENT, EXACT, LOOKUP
from tracer.etl.records import Records

__all__ = ["find_plans"]

_VERSIONS, _IDS = LOOKUP.shape[2:]


def find_plans(
    records: Records, manifest: int, classic: int
) -> tuple[NDArray[np.int64], NDArray[np.int16], NDArray[np.bool_]]:
    """Return the rows of the two registry providers (numbers, -1: none), their plans, and whether these fit exactly."""
    rows = np.empty(len(records), np.int64)
    plan, exact = np.empty(len(records), np.int16), np.empty(len(records), bool)
    found = _find(
        records.provider, records.id, records.opcode, records.version, records.pointer_size,
        manifest, classic, LOOKUP, EXACT, rows, plan, exact,
    )  # fmt: skip
    return rows[:found], plan[:found], exact[:found]


@kernel
def _find(
    provider, ids, opcodes, versions, pointer_sizes, manifest, classic, lookup, fits, rows, plan, exact
):
    found = 0
    for row in range(len(provider)):
        whose = provider[row]
        if whose < 0 or (whose != manifest and whose != classic):
            continue
        is_classic = np.int64(whose == classic)
        id_ = np.int64(opcodes[row]) if is_classic else np.int64(ids[row])
        version, wide = (
            min(np.int64(versions[row]) & 0xFFFF, _VERSIONS - 1),
            np.int64(pointer_sizes[row] == 8),
        )
        known = 0 <= id_ < _IDS
        place = id_ if known else 0
        rows[found] = row
        plan[found] = lookup[is_classic, wide, version, place] if known else ABSENT
        exact[found] = fits[is_classic, wide, version, place]
        found += 1
    return found
