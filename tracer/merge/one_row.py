r"""One row of several: what a row takes from the reports of other sources of its operation.

The row stays what the source that says most made of it, and takes what is NULL there. Data comes as a whole, with type
and size. What the row itself leaves in doubt, another source may prove: where the key ends and the value's name begins, and
whose key ``HKCU\...`` is.
`detail` lists the others under AlsoReportedBy, with where their records are, so that each can be looked up.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import read_numbers
from tracer.schema import FLAGS

__all__ = ["ALSO", "fill_rows"]

ALSO = "AlsoReportedBy"
_TAKEN = (
    "cpu", "thread_id", "process_id", "status", "handle_id", "requested_name", "disposition", "information_class", "index",
    "entry_count", "duration_ns",
)  # fmt: skip
_DATA = (
    ("data_type", "data_size", "data", FLAGS["data_truncated"]),
    ("previous_type", "previous_size", "previous_data", FLAGS["previous_truncated"]),
)
_PATH_SPLIT = FLAGS["path_split"]
_UNSURE = FLAGS["name_ambiguous"] | _PATH_SPLIT
Column = NDArray[np.int64]


def fill_rows(rows: pa.Table, others: pa.Table, places: Column, is_owned: NDArray[np.bool_]) -> pa.Table:
    """Return rows with what other sources say of their operations.

    Args:
        rows: of the table `events`.
        others: more of them, none of which stays a row.
        places: of each of `others`, its place in `rows`; those of a source that says more come first.
        is_owned: of each key_id, whether it is known whose key it is.
    """
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    rounds = _rounds(places)
    for number in range(int(rounds.max(initial=-1)) + 1):
        mine = np.flatnonzero(rounds == number)
        at = np.full(rows.num_rows, -1, np.int64)
        at[places[mine]] = mine
        given = others.take(pa.array(at, mask=at < 0))
        more = {name: given[name].combine_chunks() for name in rows.column_names}
        _settle_key(columns, more, is_owned)
        _take_data(columns, more)
        for name in _TAKEN:
            columns[name] = pc.coalesce(columns[name], more[name])
    columns["detail"] = _with_names(columns["detail"], others, places)
    return pa.Table.from_arrays([columns[name] for name in rows.column_names], schema=rows.schema)


def _rounds(places: Column) -> Column:
    """Return how many before each of some numbers are equal to it."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.ones(len(ordered), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    first = np.flatnonzero(begins)
    rounds = np.empty(len(places), np.int64)
    rounds[order] = np.arange(len(places)) - np.repeat(first, np.diff(np.append(first, len(places))))
    return rounds


def _settle_key(
    columns: dict[str, pa.Array], more: Mapping[str, pa.Array], is_owned: NDArray[np.bool_]
) -> None:
    """Take key and value name from the other where it is certain of them and the row is not."""
    flags, theirs = read_numbers(columns["flags"]).values, read_numbers(more["flags"])
    key, their_key = (read_numbers(one["key_id"]).or_else(-1) for one in (columns, more))
    owned = np.append(is_owned, True)  # of no key, which is number -1
    is_sure = theirs.is_valid & (theirs.values & _UNSURE == 0)
    same_name = pc.equal(pc.fill_null(columns["value_name"], "\0"), pc.fill_null(more["value_name"], "\0"))
    alike = theirs.is_valid & same_name.to_numpy(zero_copy_only=False)
    proved = (flags & _PATH_SPLIT != 0) & is_sure & owned[their_key]
    proved |= ~owned[key] & owned[their_key] & (is_sure | alike)
    for name in ("key_id", "value_name", "name_source"):
        columns[name] = pc.if_else(pa.array(proved), more[name], columns[name])
    columns["flags"] = pa.array(np.where(proved & is_sure, flags & ~np.uint32(_UNSURE), flags))


def _take_data(columns: dict[str, pa.Array], more: Mapping[str, pa.Array]) -> None:
    """Take what is not known of the data, and say whether what was taken is cut."""
    for kind, size, data, cut in _DATA:
        is_empty = pc.fill_null(pc.equal(columns[size], 0), False)
        lacking = pc.and_(pc.is_null(columns[data]), pc.invert(is_empty))
        columns[kind] = pc.coalesce(columns[kind], more[kind])
        columns[size] = pc.coalesce(columns[size], more[size])
        # Text as a log shows it has a NUL at its end, which the value itself may lack.
        taken = _at_most(more[data], columns[size])
        columns[data] = pc.if_else(lacking, taken, columns[data])
        short = pc.less(pc.binary_length(columns[data]), columns[size])
        is_cut = pc.and_(pc.and_(lacking, pc.is_valid(taken)), pc.fill_null(short, False))
        flags = read_numbers(columns["flags"]).values
        columns["flags"] = pa.array(
            flags | np.where(is_cut.to_numpy(zero_copy_only=False), cut, 0).astype(np.uint32)
        )


def _at_most(data: pa.Array, size: pa.Array) -> pa.Array:
    """Return bytes, no more of them than the value has; NULL where it has none."""
    too_long = pc.fill_null(pc.greater(pc.binary_length(data), size), False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(too_long)
    if not len(rows):
        return data
    some = pa.array(rows)
    cut = [
        one[:most] or None
        for one, most in zip(data.take(some).to_pylist(), size.take(some).to_pylist(), strict=True)
    ]
    return pc.replace_with_mask(data, pa.array(too_long), pa.array(cut, data.type))


def _with_names(detail: pa.Array, others: pa.Table, places: Column) -> pa.Array:
    """Return the details with the other sources of each row and what only their details say."""
    said: dict[int, dict[str, Any]] = {}
    names: Sequence[str] = others["source"].to_pylist()
    sources: Sequence[int] = others["source_id"].to_pylist()
    offsets: Sequence[int | None] = others["record_offset"].to_pylist()
    times: Sequence[int] = others["time_ns"].to_pylist()
    details: Sequence[str | None] = others["detail"].to_pylist()
    for number, place in enumerate(places.tolist()):
        facts = said.setdefault(place, {ALSO: {}})
        facts[ALSO][names[number]] = {
            "source_id": sources[number],
            "record_offset": offsets[number],
            "time_ns": times[number],
        }
        for name, value in json.loads(details[number] or "{}").items():
            facts.setdefault(name, value)
    mask = np.zeros(len(detail), bool)
    rows = sorted(said)
    mask[rows] = True
    own = detail.take(pa.array(rows, pa.int64())).to_pylist()
    texts = []
    for row, text in zip(rows, own, strict=True):
        also = said[row].pop(ALSO)
        whole = {**said[row], **json.loads(text or "{}"), ALSO: also}
        texts.append(json.dumps(whole, separators=(",", ":")))
    return pc.replace_with_mask(detail, pa.array(mask), pa.array(texts, pa.string()))
