"""The second pass over a Procmon log: its registry operations as event rows, a batch at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.pml.details import Captured, detail_texts, find_captured, value_names_carried
from tracer.pml.events import Details, read_details, read_heads
from tracer.pml.header import FIRST_DATE, Bytes, Header
from tracer.pml.index import CHUNK, EventIndex
from tracer.pml.names import KeyNames
from tracer.pml.operations import OPERATIONS, VALUE_OPERATIONS
from tracer.registry.operations import BY_NAME
from tracer.registry.text import escape_name
from tracer.schema import EVENTS, FLAGS

__all__ = ["RowReader"]

_CREATE_KEY, _CLOSE_KEY, _ENUM_VALUE = 1, 2, 6
_QUERIES = (3, 5)  # key, value
_ENUMERATIONS = (6, 7)
_SET_INFO = 8
_UNFINISHED = 0x103  # STATUS_PENDING: Procmon shows neither result nor duration
_NUL = escape_name("\0")
_LONGEST = 1 << 56  # a longer duration (in 100 ns) is damage
_SCHEMA = EVENTS.arrow()
_NAMES = pa.array([name for _, name in OPERATIONS], pa.string())
_CLASSES = pa.array([BY_NAME[name].notify_class for _, name in OPERATIONS], pa.int16())
_PHASES = pa.array([BY_NAME[name].phase for _, name in OPERATIONS], pa.string())


class RowReader:
    """Reads the rows of one file, in the order of its index."""

    def __init__(
        self,
        raw: Bytes,
        header: Header,
        index: EventIndex,
        names: KeyNames,
        processes: NDArray[np.uint32],
        diagnostics: Diagnostics,
    ) -> None:
        """Take the process indexes in the order of the rows of the table `processes`."""
        self._raw = raw
        self._header = header
        self._index = index
        self._names = names
        self._order = np.argsort(processes, kind="stable")
        self._processes = processes[self._order]
        self._diagnostics = diagnostics
        self._used_last: dict[
            int, str | int
        ] = {}  # thread -> the key it used last: folded path, or its number

    def batches(
        self, *, source_id: int, first_process_id: int, first_sequence: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most CHUNK a batch."""
        for start in range(0, len(self._index.offsets), CHUNK):
            offsets = self._index.offsets[start : start + CHUNK]
            paths = self._index.paths[start : start + CHUNK]
            self._raw.load(offsets)
            yield self._batch(offsets, paths, source_id, first_process_id, first_sequence + start)

    def _batch(
        self,
        offsets: NDArray[np.int64],
        paths: NDArray[np.int32],
        source_id: int,
        first_process: int,
        first: int,
    ) -> pa.RecordBatch:
        head = read_heads(self._raw, offsets)
        details = read_details(self._raw, offsets, head, self._header.pointer_size)
        count, operation = len(offsets), head["operation"]
        time_ns = (head["date"].astype(np.int64) - FIRST_DATE) * 100
        unfinished = head["result"] == _UNFINISHED
        duration = head["duration"]
        captured = find_captured(self._raw, details, self._diagnostics)
        key_ids, value_names, ambiguous = self._name(details, paths, captured)
        flags = np.where(ambiguous, FLAGS["path_split"], 0)
        flags |= np.where(captured.truncated, FLAGS["data_truncated"], 0)
        flags |= self._nul_flags(paths, value_names)
        fixed = details.fixed
        queries = np.isin(operation, _QUERIES)
        enumerations = np.isin(operation, _ENUMERATIONS)
        readable = details.path_size >= 0  # a detail too short for its path is too short for the rest
        classed = (queries | enumerations | (operation == _SET_INFO)) & readable
        information = np.select([queries, enumerations], [fixed[:, 2], fixed[:, 3]], fixed[:, 1])
        disposition = details.lead[:, 1]
        created = (operation == _CREATE_KEY) & (details.extra_size >= 8) & (disposition > 0)
        texts, requested = detail_texts(self._raw, details, captured)
        columns: dict[str, Any] = {
            "sequence": np.arange(first, first + count),
            "time": pa.array(time_ns // 1000, pa.timestamp("us", tz="UTC")),
            "time_ns": time_ns,
            "cpu": None,
            "thread_id": head["thread"],
            "process_id": self._process_ids(head["process"], first_process),
            "operation": _NAMES.take(pa.array(operation)),
            "notify_class": _CLASSES.take(pa.array(operation)),
            "phase": _PHASES.take(pa.array(operation)),
            # Procmon times a close and gives its result, so unlike ETW's nominal 0 it is kept.
            "status": pa.array(head["result"], mask=unfinished),
            "key_id": key_ids,
            "handle_id": None,
            "requested_name": requested,
            "value_name": pa.array(value_names, pa.string()),
            "disposition": pa.array(disposition, mask=~created),
            "information_class": pa.array(information, mask=~classed),
            "index": pa.array(fixed[:, 2], mask=~(enumerations & readable)),
            "entry_count": None,
            "data_type": pa.array(captured.type, mask=~captured.has_type),
            "data_size": pa.array(captured.full_size.astype(np.uint32), mask=captured.full_size < 0),
            "data": captured.read(self._raw),
            "previous_type": None,
            "previous_size": None,
            "previous_data": None,
            "duration_ns": pa.array(
                np.where(duration < _LONGEST, duration, 0).astype(np.int64) * 100,
                mask=unfinished | (duration >= _LONGEST),
            ),
            "name_source": pa.repeat("event", count),
            "source": pa.repeat("procmon", count),
            "source_id": np.full(count, source_id, np.int16),
            "event_id": None,
            "record_offset": offsets,
            "flags": flags.astype(np.uint32),
            "detail": texts,
        }
        arrays = [_as_array(columns[field.name], field.type, count) for field in _SCHEMA]
        return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)

    def _process_ids(self, indexes: NDArray[np.uint32], first_process: int) -> NDArray[np.int32]:
        """Return the row of each event's process; every index that occurs has a row."""
        return (self._order[np.searchsorted(self._processes, indexes)] + first_process).astype(np.int32)

    def _name(
        self, details: Details, paths: NDArray[np.int32], captured: Captured
    ) -> tuple[pa.Array, list[str | None], NDArray[np.bool_]]:
        """Return each row's key and value name, and whether the path could be split in another way."""
        names, used_last = self._names, self._used_last
        carried = value_names_carried(self._raw, captured)
        operation = details.head["operation"]
        of_values = np.isin(operation, list(VALUE_OPERATIONS))
        key_ids = names.key_ids(np.where(of_values, -1, paths))
        values: list[str | None] = [None] * len(paths)
        ambiguous = np.zeros(len(paths), np.bool_)
        # A failed open or create uses no key.
        uses = (operation > _CREATE_KEY) | (details.head["result"] == 0)
        threads = details.head["thread"].tolist()
        for row, (number, code, thread, used) in enumerate(
            zip(paths.tolist(), operation.tolist(), threads, uses.tolist(), strict=True)
        ):
            if number < 0:
                continue
            if code in VALUE_OPERATIONS:
                split = names.split(number, carried=carried.get(row), used_last=used_last.get(thread))
                key_ids[row] = -1 if split.key_id is None else split.key_id
                values[row] = split.value_name
                ambiguous[row] = not split.sure
                if split.sure:
                    used_last[thread] = split.folded_key
            elif code == _CLOSE_KEY:
                used_last.pop(thread, None)
            elif used:
                used_last[thread] = number
        for row in np.flatnonzero(operation == _ENUM_VALUE).tolist():
            values[row] = carried.get(row)
        self._diagnostics.count("pml_ambiguous_value", int(ambiguous.sum()))
        return pa.array(key_ids, mask=key_ids < 0), values, ambiguous

    def _nul_flags(self, paths: NDArray[np.int32], values: list[str | None]) -> NDArray[np.int64]:
        """Return the flag of rows whose names hold a NUL."""
        has_nul = self._names.has_nul[paths] | np.array(
            [value is not None and _NUL in value for value in values], np.bool_
        )
        return np.where(has_nul, FLAGS["name_has_nul"], 0)


def _as_array(values: Any, kind: pa.DataType, count: int) -> pa.Array:  # noqa: ANN401
    """Return a column of the schema's type; None means that all its values are unknown."""
    if values is None:
        return pa.nulls(count, kind)
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array if array.type == kind else array.cast(kind)
