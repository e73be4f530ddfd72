"""The cases of benchmarks/analyses.py in pandas, as one would write them; each docstring says what it leaves out.

There is a form for the questions of which pandas can answer 50 million events within 8 GiB, and one that shows the
memory which the others would take. Each form returns the answer, with our columns and in our order;
benchmarks/analyses_agree.py compares both. What our DataFrames have in `attrs`, doubts and notes, is left out of all.
Columns that are used up are let go, for 50 million rows of many columns do not fit into memory.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from analyses_pandas_usage import hot_by_second, hot_by_storm, load_events, timeline_of_a_key
from analyses_pandas_values import history_of_a_subtree

FORMS = {
    "timeline of a key": timeline_of_a_key,
    "every event": load_events,
    "hot by second": hot_by_second,
    "hot by storm": hot_by_storm,
    "history of a subtree": history_of_a_subtree,
}


def counted(form: Callable[[Path], pd.DataFrame]) -> Callable[[Path], int]:
    """Return a case that makes the whole answer and says how many rows it had."""
    return lambda path: len(form(path))


CASES = {name: counted(form) for name, form in FORMS.items()}
