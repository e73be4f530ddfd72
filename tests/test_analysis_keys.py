"""The summary of keys, compared with plain pandas over the same rows."""

from collections.abc import Iterator

import pandas as pd
import pytest
from plain_counts import COUNTS as COUNTED
from plain_counts import is_noise, plain_counts
from small_capture import KEY_PATHS, joined_rows, write_capture

from analysis.answers.words import KEY_SORTS
from analysis.capture import Capture
from analysis.open import open_capture
from tracer.errors import UsageError

COUNTS = [*COUNTED, "processes", "values"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    directory = write_capture(tmp_path_factory.mktemp("captures") / "small.regtrace")
    with open_capture(directory, memory_limit="512MB", threads=2) as opened:
        yield opened


def plain_summary(rows: pd.DataFrame) -> pd.DataFrame:
    noise = [is_noise(row) for row in rows.to_dict("records")]
    rows = rows[rows["key_id"].notna() & ~pd.Series(noise, index=rows.index, dtype=bool)]
    answers = []
    for same_as, group in rows.groupby("same_as"):
        operations = list(group["operation"])
        statuses = [None if pd.isna(status) else int(status) for status in group["status"]]
        sizes = [
            size
            for size, operation, status in zip(group["data_size"], operations, statuses, strict=True)
            if operation == "SetValueKey" and status is not None and status < 2**31 and not pd.isna(size)
        ]
        answers.append(
            {
                "key_id": int(same_as),
                "key": KEY_PATHS[int(same_as)][0],
                **plain_counts(group.to_dict("records")),
                "processes": group["process_id"].nunique(),
                "values": len({str(name).upper() for name in group["value_name"] if name is not None}),
                "bytes_written": int(sum(sizes)) if sizes else None,
                "first_time": group["time"].min(),
                "last_time": group["time"].max(),
            }
        )
    return pd.DataFrame(answers).set_index("key_id").sort_index()


ROWS = pd.DataFrame(joined_rows(), dtype=object)


def plain(column: pd.Series) -> list[object]:
    return [None if pd.isna(each) else each for each in column]


def compare(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    found = found.set_index("key_id").sort_index()
    assert list(found.index) == list(wanted.index)
    for name in [*COUNTS, "key"]:
        assert plain(found[name]) == plain(wanted[name]), name
    for name in ("first_time", "last_time"):
        assert [stamp.value for stamp in found[name]] == [stamp.value for stamp in wanted[name]]
    sizes = [None if pd.isna(size) else int(size) for size in found["bytes_written"]]
    assert sizes == [None if pd.isna(size) else int(size) for size in wanted["bytes_written"]]


def test_every_key_is_summed_up_once_with_all_its_spellings(capture: Capture) -> None:
    compare(capture.keys(), plain_summary(ROWS))


def test_a_summary_below_a_key_counts_it_and_what_is_below(capture: Capture) -> None:
    below = ROWS["display_key"].map(
        lambda key: str(key).upper().startswith(("HKLM\\SYSTEM\\", "HKLM\\SYSTEM\0"))
    )
    compare(capture.keys(under="HKLM\\System"), plain_summary(ROWS[below]))


def test_a_summary_counts_the_rows_that_fit(capture: Capture) -> None:
    chosen = ROWS[
        (ROWS["process"] == "setup.exe") & (ROWS["tid"].map(lambda tid: tid is not None and tid < 60))
    ]
    compare(capture.keys(process="setup.exe", where="tid < 60"), plain_summary(chosen))


@pytest.mark.slow
@pytest.mark.parametrize("sort", KEY_SORTS)
def test_every_order_is_total(capture: Capture, sort: str) -> None:
    frame = capture.keys(sort=sort)
    column, largest_first = KEY_SORTS[sort]
    keys = [
        (value is pd.NA, value, shown)
        for value, shown in zip(frame[column], frame["display_key"], strict=True)
    ]
    known = [key for key in keys if not key[0]]
    wanted = sorted(known, key=lambda key: key[2])
    wanted = sorted(wanted, key=lambda key: key[1], reverse=largest_first)
    assert known == wanted
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)  # what is unknown comes last
    assert list(capture.keys(sort=sort, limit=3)["key_id"]) == list(frame["key_id"])[:3]


def test_counts_are_integers_and_unknown_sizes_stay_unknown(capture: Capture) -> None:
    frame = capture.keys()
    assert all(str(frame.dtypes[name]) == "int64[pyarrow]" for name in [*COUNTS, "bytes_written"])
    assert frame["bytes_written"].isna().any()


def test_an_order_that_does_not_exist_is_refused(capture: Capture) -> None:
    with pytest.raises(UsageError, match="failures"):
        capture.keys(sort="colour")
    with pytest.raises(UsageError, match="one of them"):
        capture.keys("HKU", under="HKLM")
