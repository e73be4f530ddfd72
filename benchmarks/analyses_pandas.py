"""The cases of benchmarks/analyses.py in pandas, as one would write them; each docstring says what it leaves out.

Each form returns the answer, with our columns and in our order; benchmarks/analyses_agree.py compares both. What our
DataFrames have in `attrs`, doubts and notes, is left out of all. Columns that are used up are let go, for 50 million
rows of many columns do not fit into memory.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from analyses_pandas_changes import changes
from analyses_pandas_errors import errors
from analyses_pandas_handles import handles, handles_by_key
from analyses_pandas_reads import redundant
from analyses_pandas_usage import hot_by_key, hot_by_second, hot_by_storm, keys, timeline_of_a_key, tree, who
from analyses_pandas_values import history, history_of_a_subtree, state

FORMS = {
    "timeline of a key": timeline_of_a_key,
    "keys": keys,
    "who": who,
    "hot by key": hot_by_key,
    "hot by second": hot_by_second,
    "hot by storm": hot_by_storm,
    "tree": tree,
    "errors": errors,
    "handles": handles,
    "handles by key": handles_by_key,
    "redundant": redundant,
    "history": history,
    "history of a subtree": history_of_a_subtree,
    "state": state,
    "changes": changes,
}


def counted(form: Callable[[Path], pd.DataFrame]) -> Callable[[Path], int]:
    """Return a case that makes the whole answer and says how many rows it had."""
    return lambda path: len(form(path))


CASES = {name: counted(form) for name, form in FORMS.items()}
