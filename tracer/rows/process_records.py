"""Process records of a batch: found among all records, decoded, each with the row before which it applies."""

import numpy as np

from tracer.decode.batch import Operations
from tracer.decode.layouts import find_layout
from tracer.decode.payload import decode_payload
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_PROCESS
from tracer.etl.records import Records
from tracer.rows.processes import ProcessRecord, read_process

__all__ = ["process_records"]


def process_records(
    records: Records, operations: Operations, providers: list[str]
) -> list[tuple[int, ProcessRecord]]:
    """Return what the batch says about processes, in time order, as `ProcessTable.assign` takes it.

    Args:
        records: the batch.
        operations: its registry records.
        providers: names of providers, by number.
    """
    found: list[tuple[int, ProcessRecord]] = []
    wanted = np.array([name in (KERNEL_PROCESS, CLASSIC_PROCESS) for name in providers] + [False])
    if not wanted.any():
        return found
    mine = wanted.take(records.provider)  # -1, no provider, is the last
    if not mine.any():
        return found
    is_row = np.zeros(len(records), bool)
    is_row[operations.rows] = True
    before = np.cumsum(is_row[records.order]) - is_row[records.order]
    for place in np.flatnonzero(mine[records.order]).tolist():
        record = _read(records, int(records.order[place]), providers)
        if record is not None:
            found.append((int(before[place]), record))
    return found


def _read(records: Records, row: int, providers: list[str]) -> ProcessRecord | None:
    provider = providers[records.provider[row]]
    id_ = records.opcode[row] if provider == CLASSIC_PROCESS else records.id[row]
    layout, exact = find_layout(provider, int(id_), int(records.version[row]))
    if layout is None:
        return None
    raw = records.raw[records.payload[row] : records.end[row]].tobytes()
    payload = decode_payload(layout, raw, int(records.pointer_size[row]), prefix=not exact)
    return read_process(layout, payload, int(records.time_ns[row]))
