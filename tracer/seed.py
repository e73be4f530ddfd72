"""The seed: names of key objects that were open before the trace, given as a table beside the .etl."""

from pathlib import Path

from tracer.errors import SourceError

__all__ = ["read_seed"]


def read_seed(path: Path) -> tuple[list[int], list[str]]:
    """Return addresses (unsigned) and native paths of a seed table (schema.SEED), Parquet or CSV.

    Addresses are numbers, or hex text such as 0xffffb1893d043aa0.

    Raises:
        SourceError: the file cannot be read, or lacks a column, or an address is no number.
    """
    import pyarrow as pa
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        text = pcsv.ConvertOptions(column_types={"address": pa.string(), "path": pa.string()})
        table = pq.read_table(path) if parquet else pcsv.read_csv(path, convert_options=text)
        addresses, paths = table["address"].to_pylist(), table["path"].to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{path}: not a seed table: {reason}; it is a Parquet or CSV file with the columns address and path"
        ) from error
    numbers = []
    for row, address in enumerate(addresses):
        try:
            number = int(address, 0) if isinstance(address, str) else int(address)
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"{path}: row {row + 1}: {address!r} is no address; write it as 0xffff..."
            ) from error
        numbers.append(number & 0xFFFF_FFFF_FFFF_FFFF)
    return numbers, [path or "" for path in paths]
