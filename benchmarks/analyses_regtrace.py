"""The cases of benchmarks/analyses.py as regtrace does them: each returns how many rows its answer had."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analyses_common import BUSY_KEY, ENGINE_LIMIT, SUBTREE

import regtrace as rt
from analysis.questions.query import Query

if TYPE_CHECKING:
    import pandas as pd

Ask = Callable[[rt.Capture], "Query | pd.DataFrame"]

# Where the answer is a query it is read whole, batch by batch, else it is a whole DataFrame.
QUESTIONS: dict[str, Ask] = {
    "timeline of a key": lambda capture: capture.timeline(BUSY_KEY),
    "every event": lambda capture: capture.queries.timeline(),
    "keys": lambda capture: capture.queries.keys(noise=True),
    "who": lambda capture: capture.queries.who(noise=True),
    "hot by key": lambda capture: capture.queries.hot(by="key", noise=True),
    "hot by second": lambda capture: capture.queries.hot(by="second", noise=True),
    "hot by storm": lambda capture: capture.queries.hot(by="storm", noise=True),
    "tree": lambda capture: capture.queries.tree(depth=3, noise=True),
    "errors": lambda capture: capture.queries.errors(),
    "handles": lambda capture: capture.queries.handles(),
    "handles by key": lambda capture: capture.queries.handles(by="key"),
    "redundant": lambda capture: capture.queries.redundant(noise=True),
    "history": lambda capture: capture.queries.history(),
    "history of a subtree": lambda capture: capture.history(SUBTREE, subtree=True),
    "state": lambda capture: capture.queries.state(),
    "changes": lambda capture: capture.changes(),
}


def counted(ask: Ask) -> Callable[[Path], int]:
    """Return a case that makes the whole answer and says how many rows it had."""

    def case(path: Path) -> int:
        with rt.open(path, memory_limit=ENGINE_LIMIT) as capture:
            answer = ask(capture)
            if not isinstance(answer, Query):
                return len(answer)
            return sum(batch.num_rows for batch in answer.reader())

    return case


CASES = {name: counted(ask) for name, ask in QUESTIONS.items()}


def answer(case: str, path: Path) -> "pd.DataFrame":
    """Return the whole answer of a case."""
    with rt.open(path, memory_limit=ENGINE_LIMIT) as capture:
        found = QUESTIONS[case](capture)
        return found.to_pandas() if isinstance(found, Query) else found
