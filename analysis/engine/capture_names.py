"""Names of keys and processes read straight from a capture's files, for the completion of words in a shell.

Nothing is opened for questions: one small query has to answer before a person waits. Not for answers.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracer.errors import RegtraceError
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files

__all__ = ["images", "key_paths"]

_MOST_FILES = 20  # of a folder of captures so many are looked into


_SID = (
    r"^HKU\\S-1-(?:5-21|12-1)(?:-[0-9]+)+"  # of somebody's account (`tracer.registry.user_keys.is_profile`)
)


def key_paths(capture: Path, start: str, most: int) -> list[str]:
    r"""Return display paths that begin with a text, cut before the next backslash, and once more with it where keys are below.

    Users' keys are among them below HKU and, as people type them, below HKCU.

    Args:
        capture: a capture, or a folder of captures.
        start: the text in the registry's upper case (`tracer.registry.text.fold_name`).
        most: the number of keys.
    """
    query = rf"""
        WITH spelled AS (
            SELECT folded_path AS folded, display_path AS shown FROM read_parquet($files)
            UNION ALL
            SELECT {_own("folded_path", "SOFTWARE", "CLASSES")}, {_own("display_path", "Software", "Classes")}
            FROM read_parquet($files) WHERE regexp_matches(folded_path, '{_SID}(_CLASSES)?(\\|$)')
        ), below AS (
            SELECT folded, shown, position('\' IN substr(folded, length($start) + 1)) AS place
            FROM spelled WHERE starts_with(folded, $start)
        )
        SELECT min(CASE place WHEN 0 THEN shown ELSE left(shown, length($start) + place - 1) END), bool_or(place > 0)
        FROM below GROUP BY CASE place WHEN 0 THEN folded ELSE left(folded, length($start) + place - 1) END
        ORDER BY 1 LIMIT $most
    """
    rows = _asked(capture, "keys", query, {"start": start, "most": most})
    return [path for shown, has_more in rows for path in ([shown, shown + "\\"] if has_more else [shown])]


def _own(column: str, *link: str) -> str:
    """Return the SQL of users' keys as HKCU spells them."""
    classes = f"regexp_replace({column}, '(?i){_SID}_CLASSES', 'HKCU\\\\{link[0]}\\\\{link[1]}')"
    return f"regexp_replace({classes}, '(?i){_SID}', 'HKCU')"


def images(capture: Path) -> list[str]:
    """Return the image names of the processes of a capture, or of a folder of captures."""
    query = (
        "SELECT DISTINCT image FROM read_parquet($files) WHERE image IS NOT NULL ORDER BY image LIMIT 1000"
    )
    return [image for (image,) in _asked(capture, "processes", query, {})]


def _asked(capture: Path, table: str, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    duckdb = _engine()
    files = [str(path) for one in _captures(capture) for path in _files(one, table)]
    if not files:
        return []
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            return connection.execute(query, values | {"files": files}).fetchall()
    except duckdb.Error:
        return []  # a damaged capture is told of by the verb, not while its line is typed


def _engine() -> Any:  # noqa: ANN401
    """Return the engine without what its package adds in Python: that takes longer to load than the query."""
    try:
        return importlib.import_module("_duckdb")
    except ImportError:  # older versions keep it elsewhere
        return importlib.import_module("duckdb")


def _captures(path: Path) -> Sequence[Path]:
    if (path / "capture.json").is_file():
        return [path]
    return sorted(path.glob("*.regtrace"))[:_MOST_FILES] if path.is_dir() else []


def _files(capture: Path, table: str) -> Sequence[Path]:
    try:
        return table_files(capture.absolute(), Manifest.load(capture, check_rows=False))[table]
    except (RegtraceError, OSError):
        return []
