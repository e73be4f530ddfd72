"""Every question that captures are asked, for tests that compare one capture with many, and engines with each other."""

from collections.abc import Callable

import pandas as pd

from analysis.capture import Capture
from analysis.filters import Filters

__all__ = ["NOT_ASKED", "QUESTIONS"]

SOFTWARE = r"HKLM\SOFTWARE"

# "method" or "method, how" -> asks it
QUESTIONS: dict[str, Callable[[Capture], pd.DataFrame]] = {
    "timeline": lambda capture: capture.timeline(),
    "timeline of a subtree": lambda capture: capture.timeline(SOFTWARE, subtree=True),
    "timeline of a process": lambda capture: capture.timeline(process="s*", operation="write"),
    "timeline by a condition": lambda capture: capture.timeline(where="tid % 2 = 0", status="error"),
    "keys": lambda capture: capture.keys(),
    "who": lambda capture: capture.who(SOFTWARE),
    "who, each": lambda capture: capture.who(SOFTWARE, subtree=True, each=True),
    "history": lambda capture: capture.history(SOFTWARE, subtree=True),
    "state under": lambda capture: capture.state(under=SOFTWARE, process="*e*"),
    "changes under": lambda capture: capture.changes(SOFTWARE),
    "hot by key": lambda capture: capture.hot(),
    "hot by process": lambda capture: capture.hot("process", sort="failures"),
    "hot by second": lambda capture: capture.hot("second", every_s=0.001),
    "hot by operation": lambda capture: capture.hot("operation", key=SOFTWARE, subtree=True),
    "hot by storm": lambda capture: capture.hot("storm", least=3),
    "tree": lambda capture: capture.tree(),
    "tree under": lambda capture: capture.tree(SOFTWARE, depth=1, sort="events"),
    "handles": lambda capture: capture.handles(process="s*"),
    "handles by key": lambda capture: capture.handles("key", least=2),
    "redundant": lambda capture: capture.redundant(),
    "errors": lambda capture: capture.errors(),
    "errors under": lambda capture: capture.errors(SOFTWARE, subtree=True, fold=False),
    "keys under": lambda capture: capture.keys(SOFTWARE, filters=Filters(operation="write")),
}

# Methods whose answer over many captures is not that of each put together, and why.
NOT_ASKED = {
    "diff": "compares two captures",
    "diff_rows": "likewise",
    "sides": "of a diff",
    "net_changes": "is what changes and reg_files are made of",
    "reg_files": "a .reg file is for one registry",
    "reg_files_of": "likewise",
    "sql_reader": "the query says what it groups by; the tables have the host",
    "sql_tables": "names of tables",
}
