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
    "keys": lambda capture: capture.keys(),
    "who": lambda capture: capture.who(SOFTWARE),
    "history": lambda capture: capture.history(SOFTWARE, subtree=True),
    "state under": lambda capture: capture.state(under=SOFTWARE, process="*e*"),
    "changes under": lambda capture: capture.changes(SOFTWARE),
    "hot by key": lambda capture: capture.hot(),
    "hot by second": lambda capture: capture.hot("second", every_s=0.001),
    "hot by storm": lambda capture: capture.hot("storm", least=3),
    "tree under": lambda capture: capture.tree(SOFTWARE, depth=1, sort="events"),
    "handles by key": lambda capture: capture.handles("key", least=2),
    "redundant": lambda capture: capture.redundant(),
    "errors": lambda capture: capture.errors(),
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
