"""Whether the forms in benchmarks/analyses_pandas.py give our answers: values, and order of rows.

    python benchmarks/analyses_agree.py [--events 100000] [--only "hot by second"] [--folder DIR] [--capture NAME.regtrace]

Values are compared row by row and exactly, but for the last digits of quotients. It says how many of our columns the
pandas form gives, and which it does not. The exit code is 1 where one differs.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import pandas as pd
from analyses_pandas import FORMS
from analyses_regtrace import answer
from large_capture import large_capture

CLOSE = 1e-12  # relative: sums and divisions in another order


def plain(column: pd.Series) -> list[object]:
    """Return the values of a column with None for NULL; whole numbers stay whole, and are compared exactly."""
    return [None if value is None or value is pd.NA or value is pd.NaT or value != value else value
            for value in column.tolist()]  # fmt: skip


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float) and not ours.is_integer():
        return math.isclose(ours, theirs, rel_tol=CLOSE)
    return ours == theirs


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> str | None:
    """Return the first difference, in the words of whoever looks for it; None where there is none."""
    strange = [name for name in theirs.columns if name not in ours.columns]
    if strange:
        return f"columns that are not ours: {', '.join(strange)}"
    if len(ours) != len(theirs):
        return f"{len(ours):,} rows of ours, {len(theirs):,} of pandas"
    for name in theirs.columns:
        pairs = zip(plain(ours[name]), plain(theirs[name]), strict=True)
        wrong = [row for row, (one, other) in enumerate(pairs) if not same(one, other)]
        if wrong:
            row = wrong[0]
            shown = {"ours": ours.iloc[row].to_dict(), "pandas": theirs.iloc[row].to_dict()}
            return (
                f"{name} in {len(wrong):,} of {len(ours):,} rows, first in row {row}: "
                f"{ours[name].iloc[row]!r} is ours, {theirs[name].iloc[row]!r} is of pandas\n    {shown}"
            )
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--only", default="", help="cases, separated by commas")
    parser.add_argument("--folder", type=Path, help="where the capture is kept; None: a temporary folder")
    parser.add_argument("--capture", type=Path, help="a capture to compare on; None: one that is made")
    arguments = parser.parse_args()
    differ = False
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        path = arguments.capture or large_capture(folder, arguments.events, max(1, arguments.events // 2))
        for case in arguments.only.split(",") if arguments.only else FORMS:
            ours, theirs = answer(case, path), FORMS[case](path)
            found = difference(ours, theirs)
            differ |= found is not None
            given = f"{len(theirs.columns)} of {len(ours.columns)} columns"
            print(f"{case:22} " + (f"equal, {len(ours):,} rows, {given}" if found is None else found))
            missing = [name for name in ours.columns if name not in theirs.columns]
            if missing:
                print(f"{'':22} without {', '.join(missing)}")
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
