"""Fields of JSON objects as columns of text: many objects at once, in DuckDB's parser."""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from threading import Lock, local
from types import MappingProxyType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.logs.field_paths import WRAPPERS, FieldPaths
from tracer.logs.json_engine import JsonEngine
from tracer.logs.json_texts import JsonTexts
from tracer.registry.text import escape_name

__all__ = ["JsonFields"]

_MOST_STATEMENTS = 200  # of one set of paths: objects of a hostile log have any names


class JsonFields:
    """Takes fields out of JSON objects by their paths (`tracer.logs.field_paths`); threads may share one."""

    def __init__(
        self,
        paths: FieldPaths,
        diagnostics: Diagnostics,
        conditions: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take the paths.

        Args:
            paths: of each field.
            diagnostics: counts objects that are not JSON.
            conditions: of fields that few records need: an SQL condition over the fields that have none. Where it is not
                true, the field is NULL.
        """
        self._paths, self._diagnostics = paths, diagnostics
        self._statements = _statements(tuple(paths.items()), tuple(conditions.items()))
        self._engines: list[JsonEngine] = []
        self._of_thread, self._counting = local(), Lock()

    def close(self) -> None:
        """Let go of what the threads used."""
        for engine in self._engines:
            engine.give_back()

    def table(self, batch: JsonTexts) -> pa.Table:
        """Return a row for each object that is JSON: a text column for each field, and `offset` (int64).

        A field is NULL where no path leads to anything; a number is its digits, an object or array its JSON. Texts are
        escaped (`tracer.registry.text`). Objects that are not JSON are counted (`log_bad_record`).
        """
        offsets = pa.array(batch.offsets)
        try:
            return _with_escapes(self._extract(batch.texts, offsets))
        except (
            duckdb.Error,
            UnicodeDecodeError,
        ):  # one is no JSON; a message that quotes it may be cut inside a letter
            rows_ = pa.table({"json": batch.texts, "offset": offsets})
            valid = self._ask("SELECT json_valid(json) FROM rows", rows_).column(0)
        rows = valid.combine_chunks()
        tables = [_with_escapes(self._extract(batch.texts.filter(rows), offsets.filter(rows)))]
        others = pc.indices_nonzero(pc.invert(rows))
        mended = {}
        for number in others.to_pylist():
            text = _with_surrogates_escaped(batch.texts[number].as_py())
            if text is None:
                with self._counting:
                    self._diagnostics.count("log_bad_record", offset=int(batch.offsets[number]))
            else:
                mended[number] = text
        if mended:
            places = pa.array(list(mended), pa.int64())
            # These texts are escaped, and hold nothing that has to be escaped again.
            tables.append(self._extract(from_texts(list(mended.values())), offsets.take(places)))
        return pa.concat_tables(tables).sort_by("offset")

    def _extract(self, texts: pa.Array | pa.ChunkedArray, offsets: pa.Array) -> pa.Table:
        """Return the fields of objects that are JSON."""
        rows = pa.table({"json": texts, "offset": offsets})
        names = self._names(rows)
        for wrapper in names & set(WRAPPERS):
            inside = f"json_extract(json, {_literal(_json_path([wrapper]))})"
            unwrapped = f"CASE WHEN json_type({inside}) = 'OBJECT' THEN CAST({inside} AS VARCHAR) ELSE json END AS json"
            rows = self._ask(f'SELECT {unwrapped}, "offset" FROM rows', rows)
            names = self._names(rows)
        table = self._ask(self._statements.of(names), rows)
        nothing = pa.nulls(table.num_rows, pa.string())  # a plan of the engine costs by the column
        columns = dict(zip(table.column_names, table.columns, strict=True))
        return pa.table(
            [*(columns.get(name, nothing) for name in self._paths), columns["offset"]],
            [*self._paths, "offset"],
        )

    def _names(self, rows: pa.Table) -> set[str]:
        """Return the names of the outermost level of any object."""
        return set(self._ask("SELECT DISTINCT unnest(json_keys(json)) FROM rows", rows).column(0).to_pylist())

    def _ask(self, statement: str, rows: pa.Table) -> pa.Table:
        if not hasattr(self._of_thread, "engine"):
            self._of_thread.engine = JsonEngine.take()
            self._engines.append(self._of_thread.engine)
        engine: JsonEngine = self._of_thread.engine
        return engine.ask(statement, rows)


class _Statements:
    """SQL that takes fields out of objects, by the names at their top: what no object has is in no plan."""

    def __init__(self, paths: FieldPaths, conditions: Mapping[str, str]) -> None:
        self._paths, self._conditions = paths, conditions
        # Names to which a path may lead: whole paths are names with dots.
        self._first_names = {
            name for places in paths.values() for path in places for name in (path, path.partition(".")[0])
        }
        self._made: dict[frozenset[str], str] = {}

    def of(self, names: AbstractSet[str]) -> str:
        """Return the SQL that takes out of `rows` the fields to which paths lead whose first name is among `names`."""
        present = frozenset(names & self._first_names)
        statement = self._made.get(present)
        if statement is None:
            statement = self._make(present)
            if len(self._made) < _MOST_STATEMENTS:
                self._made[present] = statement
        return statement

    def _make(self, present: Container[str]) -> str:
        places_of = {
            name: [_literal(place) for path in paths for place in _places(path, present)]
            for name, paths in self._paths.items()
        }
        compared = {self._conditions[name] for name in self._conditions if places_of.get(name)}
        columns: list[str] = []
        conditional: list[str] = []
        asked: list[str] = []  # all in one list, for which an object is parsed once
        for name, places in places_of.items():
            if not places:
                if any(name in condition for condition in compared):
                    columns.append(f"NULL::VARCHAR AS {_quoted(name)}")
            elif name in self._conditions:
                text = ", ".join(f"json_extract_string(json, {place})" for place in places)
                value = f"CASE WHEN {self._conditions[name]} THEN coalesce({text}) END"
                conditional.append(f"{value} AS {_quoted(name)}")
            else:
                first = len(asked) + 1
                asked += places
                value = ", ".join(f"f[{number}]" for number in range(first, len(asked) + 1))
                columns.append(f"coalesce({value}) AS {_quoted(name)}")
        extract = f"json_extract_string(json, [{', '.join(asked)}])" if asked else "[]::VARCHAR[]"
        inner = f'SELECT {extract} AS f, "offset", json FROM rows'
        columns += ['"offset"', "json"]
        every = ", ".join(["* EXCLUDE (json)", *conditional])
        return f"SELECT {every} FROM (SELECT {', '.join(columns)} FROM ({inner}))"


@lru_cache(16)
def _statements(
    paths: tuple[tuple[str, tuple[str, ...]], ...], conditions: tuple[tuple[str, str], ...]
) -> _Statements:
    return _Statements(dict(paths), dict(conditions))


def _with_escapes(table: pa.Table) -> pa.Table:
    """Return the table with those texts escaped that hold a NUL, or look as if they were escaped."""
    for number, name in enumerate(table.column_names):
        if table.column(number).null_count == table.num_rows:
            continue
        column = table.column(number).combine_chunks()
        data = column.buffers()[2] if pa.types.is_string(column.type) else None
        if data is None:
            continue
        letters = data.to_pybytes()  # of the whole column: few hold either
        if b"\0" not in letters and (b"<" not in letters or b"<U+" not in letters):
            continue
        odd = pc.or_(pc.match_substring(column, "\0"), pc.match_substring(column, "<U+"))
        mask = pc.fill_null(odd, False)
        texts = [escape_name(text) for text in column.filter(mask).to_pylist()]
        table = table.set_column(number, name, pc.replace_with_mask(column, mask, from_texts(texts)))
    return table


def _with_surrogates_escaped(text: str) -> str | None:
    r"""Return JSON that holds lone surrogates (``\ud800``) with its texts escaped; None where it is no JSON at all."""
    if "\\u" not in text:
        return None
    try:
        return json.dumps(_escaped(json.loads(text)), allow_nan=False)  # NaN is no JSON
    except (ValueError, RecursionError):
        return None


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return escape_name(value)
    if isinstance(value, dict):
        return {escape_name(name): _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value


def _places(path: str, present: Container[str]) -> Iterator[str]:
    """Yield where a path may lead: through nested objects, or to one name with dots in it."""
    if path.partition(".")[0] in present:
        yield _json_path(path.split("."))
    if "." in path and path in present:
        yield _json_path([path])


def _json_path(names: Sequence[str]) -> str:
    return "$" + "".join(f'."{name}"' for name in names)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
