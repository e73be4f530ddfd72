"""The seed: names of key objects that were open before the trace.

It is a table beside the .etl, or was read from the system's handle table while the trace was recorded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import SourceError, reason_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_seed", "unchanged_objects"]


def read_seed(path: Path) -> tuple[list[int], list[str]]:
    """Return addresses (unsigned) and native paths of a seed table (schema.SEED), Parquet or CSV.

    Addresses are numbers, or hex text such as 0xffffb1893d043aa0.

    Raises:
        SourceError: the file cannot be read, or lacks a column, or an address is no number.
    """
    import pyarrow as pa
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SourceError(f"{path}: not a file; a seed table is a Parquet or CSV file")
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        text = pcsv.ConvertOptions(column_types={"address": pa.string(), "path": pa.string()})
        table = pq.read_table(path) if parquet else pcsv.read_csv(path, convert_options=text)
        columns = [table[name] for name in ("address", "path")]
        for column in columns:
            column.validate(full=True)  # that text is UTF-8, among other things
        _check_kinds(*(column.type for column in columns))
        addresses, paths = (column.to_pylist() for column in columns)
    except (OSError, KeyError, pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: not a seed table: {reason_of(error)}; it is a Parquet or CSV file with the columns address and path"
        ) from error
    numbers = []
    for row, address in enumerate(addresses):
        try:
            number = int(address, 0) if isinstance(address, str) else int(address)
            number.to_bytes(8, signed=number < 0)
        except (TypeError, ValueError, OverflowError) as error:
            raise SourceError(
                f"{path}: row {row + 1}: {address!r:.80} is no address; write it as 0xffff..."
            ) from error
        numbers.append(number & 0xFFFF_FFFF_FFFF_FFFF)
    return numbers, [path or "" for path in paths]


def _check_kinds(address: "pa.DataType", path: "pa.DataType") -> None:
    """Raise ArrowInvalid where the columns are of other types than they should be: nothing is converted by guess."""
    import pyarrow as pa

    if not (pa.types.is_integer(address) or _is_text(address)):
        raise pa.ArrowInvalid(f"the column address holds {address}, not 64-bit numbers or hex text")
    if not (_is_text(path) or pa.types.is_null(path)):
        raise pa.ArrowInvalid(f"the column path holds {path}, not text")


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def unchanged_objects(
    sources: Sequence[Path], addresses: Sequence[int], paths: Sequence[str], until_ns: int
) -> tuple[list[int], list[str]]:
    """Return those objects of a reading at `until_ns` that were the same ones when the trace began.

    An object that the trace saw opened or closed before the reading had an address that stood for something else
    earlier, so the reading says nothing about the beginning; the trace itself names it from its opening on.

    Args:
        sources: the .etl files of the trace.
        addresses: unsigned addresses of the objects that were open at `until_ns`.
        paths: their native paths, alike long.
        until_ns: when they were, UTC nanoseconds.
    """
    import numpy as np

    from tracer.decode.columns import decode_operations
    from tracer.decode.plans import PlanTables
    from tracer.decode.strings import NameTable
    from tracer.diagnostics import Diagnostics
    from tracer.etl.reader import EtlReader

    touched = [np.zeros(0, np.uint64)]
    with EtlReader(sources, [Diagnostics() for _ in sources]) as reader:
        for records in reader:
            if int(records.time_ns.min()) > until_ns:
                break
            operations = decode_operations(records, reader.providers, NameTable(), reader.diagnostics)
            begins_or_ends = PlanTables.creates.take(operations.plan) | PlanTables.closes.take(
                operations.plan
            )
            begins_or_ends &= records.time_ns.take(operations.rows) <= until_ns
            touched.append(np.unique(operations.fields["KeyObject"][begins_or_ends]))
    same = ~np.isin(np.array(addresses, np.uint64), np.concatenate(touched))
    kept = np.flatnonzero(same).tolist()
    return [addresses[row] for row in kept], [paths[row] for row in kept]
