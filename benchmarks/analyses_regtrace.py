"""The cases of benchmarks/analyses.py as regtrace does them: each returns how many rows its answer had."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
from analyses_common import BUSY_KEY, ENGINE_LIMIT, SUBTREE

import regtrace as rt
from analysis.engine.duckdb_backend import engine_errors, stream
from analysis.filters import Filters

if TYPE_CHECKING:
    import pandas as pd

Ask = Callable[[rt.Capture], "ibis.Table | pd.DataFrame"]

# Where the answer is a lazy table it is read whole, batch by batch, else it is a whole DataFrame.
QUESTIONS: dict[str, Ask] = {
    "timeline of a key": lambda capture: capture.timeline(BUSY_KEY),
    "every event": lambda capture: capture.timeline_table(Filters()),
    "keys": lambda capture: capture.keys_table(),
    "who": lambda capture: capture.who_table(Filters()),
    "hot by key": lambda capture: capture.hot_table(Filters(), by="key"),
    "hot by second": lambda capture: capture.hot_table(Filters(), by="second"),
    "hot by storm": lambda capture: capture.hot_table(Filters(), by="storm"),
    "tree": lambda capture: capture.tree_table(Filters(), depth=3),
    "errors": lambda capture: capture.errors_table(Filters()),
    "handles": lambda capture: capture.handles_table(Filters()),
    "handles by key": lambda capture: capture.handles_table(Filters(), by="key"),
    "redundant": lambda capture: capture.redundant_table(Filters()),
    "history": lambda capture: capture.history_table(Filters()),
    "history of a subtree": lambda capture: capture.history(SUBTREE, subtree=True),
    "state": lambda capture: capture.state_table(Filters()),
    "changes": lambda capture: capture.changes(),
}


def counted(ask: Ask) -> Callable[[Path], int]:
    """Return a case that makes the whole answer and says how many rows it had."""

    def case(path: Path) -> int:
        with rt.open(path, memory_limit=ENGINE_LIMIT) as capture, engine_errors():
            answer = ask(capture)
            if not isinstance(answer, ibis.Table):
                return len(answer)
            sql = ibis.to_sql(answer, dialect="duckdb")
            return sum(batch.num_rows for batch in stream(capture.engine(), sql, 65_536))

    return case


CASES = {name: counted(ask) for name, ask in QUESTIONS.items()}


def answer(case: str, path: Path) -> "pd.DataFrame":
    """Return the whole answer of a case."""
    with rt.open(path, memory_limit=ENGINE_LIMIT) as capture:
        found = QUESTIONS[case](capture)
        return capture.frame(found) if isinstance(found, ibis.Table) else found
