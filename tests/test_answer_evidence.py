"""Pieces of the evidence by themselves: losses between two times."""

import itertools

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_evidence import Known, is_lost

from analysis.answers.evidence import lost_between
from analysis.answers.facts import KEY_FACTS, VALUE_FACTS
from analysis.answers.value_verdict import known_value
from tracer.schema import LOSSES

TIMES = st.integers(0, 12)
BOUNDS = st.one_of(st.none(), TIMES)
LOST = st.lists(
    st.tuples(st.sampled_from(["events", "buffers", "damage", "blind"]), BOUNDS, BOUNDS), max_size=5
)
SPANS = st.lists(st.tuples(st.one_of(st.none(), TIMES), TIMES), min_size=1, max_size=30)


@pytest.mark.slow
@settings(max_examples=15)
@given(LOST, SPANS)
def test_a_loss_between_two_times_is_found_whatever_its_bounds(lost, spans):
    losses = [
        {"kind": kind, "from_ns": low, "to_ns": high}
        for kind, low, high in lost
        if low is None or high is None or low <= high
    ]
    filled = [dict.fromkeys(LOSSES.names) | loss for loss in losses]
    rows = [
        {"n": n, "after": after, "before": None if after is None else max(after, before)}
        for n, (after, before) in enumerate(spans)
    ]
    kinds = pa.schema([("n", pa.int64()), ("after", pa.int64()), ("before", pa.int64())])
    table = lost_between(
        ibis.memtable(pa.Table.from_pylist(rows, schema=kinds)),
        ibis.memtable(pa.Table.from_pylist(filled, schema=LOSSES.arrow())),
        after="after", before="before", name="lost",
    )  # fmt: skip
    found = ibis.duckdb.connect().to_pyarrow(table.order_by("n")).to_pylist()
    assert [row["lost"] for row in found] == [
        None if row["after"] is None else is_lost(losses, row["after"], row["before"]) for row in rows
    ]


FACTS = {  # what happened -> the column that counts it, and what the loop calls it
    "write": ("write", "write"), "read": ("read", "read"), "seen": ("seen", "seen"), "miss": ("missed", "absent"),
    "delete": ("deleted", "deleted"), "unclear": ("unclear", "unsure"), "key_missing": ("key_absent", "absent"),
    "key_deleted": ("key_deleted", "deleted"), "key_unknown": ("key_unknown", "unsure"), "hearsay": ("hearsay", "read"),
}  # fmt: skip


def test_any_order_of_four_facts_amounts_to_what_the_loop_makes_of_them():
    rows, wanted = [], []
    for number, order in enumerate(itertools.product((None, *FACTS), repeat=4)):
        last, known = dict.fromkeys([*VALUE_FACTS, *KEY_FACTS, "hearsay"]), Known()
        for place, fact in enumerate(order):
            if fact is not None:
                column, name = FACTS[fact]
                last[column] = place
                (known.hear if fact == "hearsay" else known.learn)(name, {"sequence": place})
        word, at = known.word()
        rows.append(last | {"n": number})
        wanted.append((word, None if at is None else at["sequence"]))
    schema = pa.schema([(name, pa.int64()) for name in rows[0]])
    table = ibis.memtable(pa.Table.from_pylist(rows, schema=schema))
    word, sequence = known_value(table)
    answer = ibis.duckdb.connect().to_pyarrow(table.select("n", word=word, at=sequence).order_by("n"))
    assert list(zip(*(answer.column(name).to_pylist() for name in ("word", "at")), strict=True)) == wanted
