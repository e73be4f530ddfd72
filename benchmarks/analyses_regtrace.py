"""The cases of benchmarks/analyses.py as regtrace does them: each returns how many rows its answer had."""

from collections.abc import Callable
from pathlib import Path

import ibis
from analyses_common import BUSY_KEY, ENGINE_LIMIT, SUBTREE

import regtrace as rt
from analysis.engine import engine_errors, stream
from analysis.filters import Filters


def table(ask: Callable[[rt.Capture], ibis.Table]) -> Callable[[Path], int]:
    """Return a case that reads the whole answer of a lazy question, batch by batch."""

    def case(path: Path) -> int:
        with rt.open(path, memory_limit=ENGINE_LIMIT) as capture, engine_errors():
            sql = ibis.to_sql(ask(capture), dialect="duckdb")
            return sum(batch.num_rows for batch in stream(capture.engine(), sql, 65_536))

    return case


def frame(ask: Callable[[rt.Capture], object]) -> Callable[[Path], int]:
    """Return a case that makes the whole DataFrame."""

    def case(path: Path) -> int:
        with rt.open(path, memory_limit=ENGINE_LIMIT) as capture:
            return len(ask(capture))  # type: ignore[arg-type]

    return case


def of_subtree() -> Filters:
    return Filters(key=SUBTREE, subtree=True)


CASES: dict[str, Callable[[Path], int]] = {
    "timeline of a key": frame(lambda capture: capture.timeline(BUSY_KEY)),
    "keys": table(lambda capture: capture.keys_table()),
    "who": table(lambda capture: capture.who_table(Filters())),
    "hot by key": table(lambda capture: capture.hot_table(Filters(), by="key")),
    "hot by second": table(lambda capture: capture.hot_table(Filters(), by="second")),
    "hot by storm": table(lambda capture: capture.hot_table(Filters(), by="storm")),
    "tree": table(lambda capture: capture.tree_table(Filters(), depth=3)),
    "errors": table(lambda capture: capture.errors_table(Filters())),
    "handles": table(lambda capture: capture.handles_table(Filters())),
    "handles by key": table(lambda capture: capture.handles_table(Filters(), by="key")),
    "redundant": table(lambda capture: capture.redundant_table(Filters())),
    "history": table(lambda capture: capture.history_table(Filters())),
    "history of a subtree": frame(lambda capture: capture.history(SUBTREE, subtree=True)),
    "state": table(lambda capture: capture.state_table(Filters())),
    "changes": frame(lambda capture: capture.changes()),
}
