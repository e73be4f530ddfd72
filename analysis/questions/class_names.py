"""Names of COM classes, as captures and the hives beside them tell them, next to the CLSIDs of an answer.

What tells a name is in `tracer.registry.class_ids`. A name holds for all of a capture, whenever it was read or
written; of a dataset for all captures.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from analysis.engine.connection import answer, engine_errors
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Relation
from tracer.registry.class_ids import (
    CLASS_KEYS,
    CLSID_SIZES,
    class_of_key,
    class_of_meaning,
    class_of_name,
    class_of_text,
    class_words,
)
from tracer.registry.decoders import COM_CLASS
from tracer.registry.value_columns import makers_of, with_texts
from tracer.registry.values import ValueType
from tracer.schema import BASELINE_VALUES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Names", "find_class_names", "with_classes", "with_meanings"]

Names = Mapping[str, str]  # CLSID in upper case -> what the class is called
_Rows = TypeVar("_Rows", "pa.Table", "pa.RecordBatch")
_OF_ROWS = ("data_meaning", "meaning")  # of the value that a row is about: its key's class is told here
_FEW_ROWS = 5_000
_MOST = 2_048  # bytes of data that can be a name
_BEFORE = 1 << 40  # what a hive holds comes before all events
_MOST_NAMES = 3  # different names of one class that are told


class _Captures(Protocol):
    """What of a context (`analysis.questions.context.QueryContext`) is needed here."""

    engine: OpenEngine

    @property
    def class_names(self) -> Names: ...

    def relation(self, name: str) -> Relation: ...


def with_meanings(context: _Captures, rows: _Rows, columns: Sequence[str] | None = None) -> _Rows:
    """Return the rows `with_texts`, whose meanings also name the classes that the context knows."""
    return with_classes(with_texts(rows, columns), rows, lambda _: context.class_names)


def with_classes(finished: _Rows, rows: _Rows, names: Callable[[str], Names]) -> _Rows:
    """Return rows whose meanings also say which class a CLSID is.

    Args:
        finished: what `with_texts` made of the rows.
        rows: the rows.
        names: finds the names for a column of meanings; it is called only where that column may name a class.
    """
    for column, (function, *inputs) in makers_of(rows.schema.names).items():
        if function != "value_meaning" or column not in finished.schema.names or column in rows.schema.names:
            continue
        key, _, kind, data = (rows.column(name) for name in inputs)
        classes = _of_data(kind, data, finished.column(column))
        keys = _of_keys(key, data) if column in _OF_ROWS else {}
        if classes or keys:
            finished = _told(finished, column, classes, keys, names(column))
    return finished


def find_class_names(context: _Captures) -> dict[str, str]:
    """Return the names of the classes that the captures of a context tell, by CLSID in upper case."""
    keys, events, held = (
        context.relation(name).source for name in ("keys", "stored_events", BASELINE_VALUES.name)
    )
    with engine_errors():
        found = answer(
            context.engine,
            f"SELECT key_id, folded_path, display_path FROM {keys} WHERE regexp_matches(folded_path, '{CLASS_KEYS}')",
        ).to_pylist()
        if not found:
            return {}
        # A join finds the rows of some keys in half the time that a list of them takes.
        ids = ", ".join(f"({row['key_id']})" for row in found)
        fits = (
            f"key_id IN (SELECT * FROM (VALUES {ids})) AND data_type IN (1, 2) AND value_name = '' "
            f"AND octet_length(data) BETWEEN coalesce(data_size, 0) AND {_MOST}"
        )
        rows = answer(
            context.engine,
            f"SELECT key_id, data, position - {_BEFORE} AS place FROM {held} WHERE {fits} "
            f"UNION ALL SELECT key_id, data, sequence FROM {events} WHERE status = 0 AND {fits} ORDER BY place",
        ).to_pylist()
    paths = {row["key_id"]: (row["folded_path"], row["display_path"]) for row in found}
    tellers: tuple[dict[str, dict[str, None]], dict[str, dict[str, None]]] = ({}, {})  # the class, ProgIDs
    for key_id, data in dict.fromkeys((row["key_id"], row["data"]) for row in rows):
        folded, shown = paths[key_id]
        text = COM_CLASS.read("", data)
        clsid, below = class_of_key(folded)
        is_prog_id = clsid is None or bool(below)
        if clsid is None:  # the key ProgID\CLSID
            clsid, text = class_of_text(ValueType.SZ, data), shown.split("\\")[-2]
        if clsid is not None and text:
            tellers[is_prog_id].setdefault(clsid, {})[text] = None
    return {
        clsid: " or ".join(list(names)[:_MOST_NAMES]) + " or others" * (len(names) > _MOST_NAMES)
        for clsid, names in (tellers[1] | tellers[0]).items()
    }


def _of_data(kinds: "pa.Array", data: "pa.Array", meanings: "pa.Array") -> dict[int, str]:
    """Return the CLSIDs that data may be, by row."""
    if data.null_count == len(data):
        return {}
    places: Sequence[int] = range(len(data))
    if len(data) > _FEW_ROWS:  # Arrow's functions take longer to load than a look at few rows
        import pyarrow.compute as pc

        fits = pc.is_in(pc.binary_length(data), pc.cast(CLSID_SIZES, pc.binary_length(data).type))
        some = pc.indices_nonzero(pc.fill_null(fits, False))
        kinds, data, meanings = (column.take(some) for column in (kinds, data, meanings))
        places = some.to_pylist()
    rows = zip(places, *(column.to_pylist() for column in (kinds, data, meanings)), strict=True)
    classes = (
        (row, class_of_meaning(said) if said else class_of_text(kind, some)) for row, kind, some, said in rows
    )
    return {row: clsid for row, clsid in classes if clsid is not None}


def _of_keys(paths: "pa.Array", data: "pa.Array") -> dict[int, str]:
    """Return the CLSIDs that are names of keys, by row; of rows without data."""
    if not data.null_count:
        return {}
    if len(data) <= _FEW_ROWS:
        both = enumerate(zip(paths.to_pylist(), data.to_pylist(), strict=True))
        told = ((row, _class_of_path(path)) for row, (path, some) in both if some is None)
        return {row: clsid for row, clsid in told if clsid is not None}
    import pyarrow.compute as pc

    fits = pc.and_(data.is_null(), pc.fill_null(pc.ends_with(paths, "}"), False))
    places = pc.indices_nonzero(fits)
    classes = cache(_class_of_path)
    rows = zip(places.to_pylist(), paths.take(places).to_pylist(), strict=True)
    return {row: clsid for row, path in rows if (clsid := classes(path)) is not None}


def _class_of_path(path: str | None) -> str | None:
    return None if path is None else class_of_name(path.rpartition("\\")[2])


def _told(rows: _Rows, column: str, data: dict[int, str], keys: dict[int, str], names: Names) -> _Rows:
    """Return rows with the names of classes in a column of meanings."""
    import pyarrow as pa

    if names.keys().isdisjoint([*keys.values(), *data.values()]):
        return rows
    meanings = rows.column(column).to_pylist()
    for classes, is_key in ((keys, True), (data, False)):
        for row, clsid in classes.items():
            if clsid in names and not (is_key and meanings[row]):
                meanings[row] = class_words(names[clsid], meanings[row], is_key=is_key)
    made = pa.array(meanings, pa.string())
    return rows.set_column(rows.schema.names.index(column), rows.schema.field(column), made)
