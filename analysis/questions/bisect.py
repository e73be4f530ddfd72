"""Which differing value parts two runs: what the failing run read differently before it diverged, ranked, as a .reg to try."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.causes.behind import read_behind, with_owners, with_writers
from analysis.causes.candidates import Candidate, Content, Parting, rank_candidates
from analysis.causes.event_log import EventLog
from analysis.causes.trial import Trial, make_trial, parse_take
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import to_frame
from analysis.engine.relation import arrow_schema
from analysis.filters import Filters
from analysis.questions import divergence
from analysis.questions.caveats import find_caveats, with_caveats
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, check_limit
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_SUCCESS, TOO_SHORT
from tracer.registry.text import fold_name, plural
from tracer.registry.value_columns import with_texts

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

    from analysis.answers.divergence import Divergence

__all__ = ["BISECT", "LIMITS", "BisectQuery", "Bisection", "query"]

_SIDE = {
    "key": "string",
    "state": "string",
    "type": "uint32",
    "size": "uint32",
    "data": "binary",
    "sequence": "int64",
}
BISECT = {
    "rank": "int64", "weight": "int64", "reasons": "string", "kind": "string", "differs": "string", "steps_back": "int64",
    "times": "int64", "value_name": "string",
    **{f"{letter}_{name}": kind for name, kind in _SIDE.items() for letter in "ab"},
    "behind": "int64", "writer": "string", "writer_pid": "uint32", "reg": "string",
}  # fmt: skip
LIMITS = "the cause may also lie outside of the registry (files, network, time), or in a value that was read before the capture began"
_AROUND = 6  # operations of each run behind the divergence whose names count as what it goes on with
_OF_VALUES = ("QueryValueKey", "EnumerateValueKey")
_VALUE_WORDS = ("data", "type", "size", "missing")
_Time = str | datetime | None


@dataclass(frozen=True)
class Bisection:
    """What was found.

    Attributes:
        divergence: where the runs part; queries that miss a value count as the same step as those that find it.
        candidates: the candidates, the most likely first.
        writers: image and pid of processes of the failing run, by process_id.
        unknown: reads of which nobody can tell whether they returned the same.
    """

    divergence: "Divergence"
    candidates: Sequence[Candidate]
    writers: Mapping[int, tuple[str | None, int | None]]
    unknown: int

    def trial(self, take: str = "1", *, about: Sequence[str] = ()) -> Trial:
        """Return the .reg files for some candidates.

        Args:
            take: which: "1", "1-4", "2,5", or "all".
            about: what stands at the top of both files.

        Raises:
            UsageError: there is no such candidate.
        """
        return make_trial(self.candidates, parse_take(take, len(self.candidates)), about=about)

    @cached_property
    def rows(self) -> pa.Table:
        """The candidates as rows; the columns BISECT, with the types and texts of values."""
        return with_texts(from_rows([self._row(*one) for one in enumerate(self.candidates)], _schema()))

    @property
    def notes(self) -> list[str]:
        """What was passed over, and the limits, as sentences."""
        said = list(self.divergence.notes)
        if not self.divergence.parted:
            said.append(
                "the runs do not part: every operation of one has its partner; what differs is listed all the same"
            )
        said.append(LIMITS)
        return said

    def _row(self, place: int, one: Candidate) -> dict[str, Any]:
        writer = (None, None) if one.writer is None else self.writers.get(one.writer, (None, None))
        row: dict[str, Any] = {
            "rank": place + 1, "weight": one.weight, "kind": one.kind, "differs": one.differs,
            "reasons": "; ".join(f"{name} ({weight})" for name, weight in one.reasons), "steps_back": one.steps,
            "times": one.times, "value_name": one.value_name,
            "behind": None if one.behind is None else one.behind + 1, "writer": writer[0], "writer_pid": writer[1],
            "reg": "; ".join(reason for _, file, reason in make_trial(self.candidates, [place + 1]).left_out if file == "apply")
            or None,
        }  # fmt: skip
        for letter, key, content, sequence in zip(
            "ab", one.keys, (one.works, one.fails), one.sequences, strict=True
        ):
            row |= {
                f"{letter}_key": key, f"{letter}_state": content.state, f"{letter}_type": content.data_type,
                f"{letter}_size": content.data_size, f"{letter}_data": content.data, f"{letter}_sequence": sequence,
            }  # fmt: skip
        return row


@dataclass(frozen=True, slots=True)
class BisectQuery(ArrowSource):
    """The question which differing value parts two runs.

    Attributes:
        aligned: the alignment of both; side a works, side b fails.
        limit: the first so many candidates; None for all.
    """

    aligned: divergence.DivergenceQuery
    limit: int | None = None

    def compare(self) -> Bisection:
        """Align the runs and rank what they read differently.

        Raises:
            UsageError: no process of one run has a partner in the other.
        """
        found = self.aligned.compare()
        (works, _), (fails, _) = self.aligned.sides
        with engine_errors():
            logs = [
                EventLog(
                    one.engine, one.relation("stored_events"), one.relation("keys"), one.relation("handles")
                )
                for one in (works, fails)
            ]
            rows = found.rows.to_pylist()
            candidates = [one for row in rows if (one := _candidate(row)) is not None]
            candidates, behind = with_writers(with_owners(candidates, logs), logs[1])
            candidates += read_behind(behind, candidates, logs, self.aligned.folds)
            ranked = rank_candidates(candidates, _parting(rows), fold_name)
        processes = fails.relation("processes").select("process_id", "image", "pid")
        writers = {
            row["process_id"]: (row["image"], row["pid"]) for row in fails.engine.fetch(processes).to_pylist()
        }
        return Bisection(found, ranked, writers, found.unknown)

    def to_arrow(self) -> pa.Table:
        """Return the candidates, the most likely first; a is the run that works, b the one that fails.

        Columns:

        * rank, weight, reasons: its place, the sum of the weights of its reasons, and these (docs/causes.md);
        * kind: value; key, list, facts or rights are what no .reg file can make alike;
        * differs: data, type, size, missing (one run found no such value), name, facts, disposition or result;
        * steps_back: how many equal operations lie between the read and where the runs part; times: how many such reads;
        * value_name, and of each run a_ and b_: key, state (present, absent, unknown), type, size, data, sequence of the read;
        * behind: the rank of the value that another program wrote after it had read this one; NULL: the program read it;
        * writer, writer_pid: who wrote it in the failing run before it was read; NULL: nobody is known;
        * reg: why no .reg file can set it; NULL: one can.
        """
        return self.compare().rows.slice(0, self.limit)

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs` has `doubts`, `notes`, `empty`, and the texts `reg` and `undo` of the first candidate."""
        del depth
        found = self.compare()
        frame = to_frame(found.rows.slice(0, self.limit))
        frame = with_caveats(frame, find_caveats(*self.aligned.sides[0]))
        frame.attrs["doubts"] = [
            f"{side}: {sentence}"
            for side, one in zip("ab", self.aligned.sides, strict=True)
            for sentence in find_caveats(*one).sentences
        ]
        frame.attrs["notes"] = found.notes
        if sentence := self.why_empty(found):
            frame.attrs["empty"] = sentence
        trial = found.trial() if found.candidates else None
        frame.attrs["reg"], frame.attrs["undo"] = (None, None) if trial is None else (trial.apply, trial.undo)
        return frame

    def why_empty(self, found: Bisection) -> str | None:
        """Return the sentence on why there is no candidate, and what to do; None where there is one."""
        if found.candidates:
            return None
        nothing = "nothing that both runs read before they part is known to differ"
        asked = [filters for _, filters in self.aligned.sides]
        if not found.divergence.parted:
            return f"{nothing}: every operation of one run has its partner in the other; {LIMITS}"
        if any(one.process is None and one.pid is None and one.process_tree is None for one in asked):
            many = plural(found.divergence.matched, "equal operation")
            return (
                f"{nothing}; all programs were aligned, and the first of them to differ does so after {many}: name the one "
                "that fails (process='app.exe', --process app.exe)"
            )
        return f"{nothing}; {LIMITS}"

    def to_ibis(self) -> "Table":
        """Raise UsageError: an alignment runs on two engines, and has no lazy form."""
        raise UsageError("a comparison has no lazy form; use to_arrow() or to_pandas()")


def query(
    context: QueryContext,
    filters: Filters,
    fails: QueryContext,
    *,
    fold: str | Collection[str] | None = None,
    a_process: str | int | None = None,
    b_process: str | int | None = None,
    a: tuple[_Time, _Time] = (None, None),
    b: tuple[_Time, _Time] = (None, None),
    limit: int | None = None,
) -> BisectQuery:
    """Return the query; the arguments are those of `analysis.questions.divergence.query`.

    Args:
        context: the run that works.
        filters: which rows are aligned on both sides.
        fails: the run that fails.
        fold: what differs between machines and means nothing.
        a_process: the process of the run that works.
        b_process: that of the run that fails.
        a: first and last time of the run that works.
        b: first and last time of the run that fails.
        limit: the first so many candidates; None for all.

    Raises:
        UsageError: as of `analysis.questions.divergence.query`.
    """
    aligned = divergence.query(
        context,
        filters,
        fails,
        fold=fold,
        a_process=a_process,
        b_process=b_process,
        a=a,
        b=b,
        context_rows=_AROUND,
    )
    return BisectQuery(replace(aligned, by_result=False), check_limit(limit))


def _schema() -> pa.Schema:
    return arrow_schema(tuple(BISECT.items()))


def _candidate(row: Mapping[str, Any]) -> Candidate | None:
    """Return the candidate of a row of a divergence; None of what is none."""
    if row["what"] == "read":
        of_value = row["a_operation"] in _OF_VALUES and row["differs"] in _VALUE_WORDS
        kind = (
            "value"
            if of_value
            else "facts"
            if row["differs"] == "facts"
            else "key"
            if row["differs"] == "disposition"
            else "list"
        )
        steps = -row["place"] - 1
    elif row["what"] == "divergence" and row["differs"] == "result":
        missed = [row[f"{letter}_status"] == NAME_NOT_FOUND for letter in "ab"]
        kind = "rights" if missed[0] == missed[1] else "key"
        steps = 0
    else:
        return None
    contents = [
        _content(row, letter) if kind in ("value", "list") else Content(_state(row, letter))
        for letter in "ab"
    ]
    return Candidate(
        kind, row["differs"], steps, row["times"] or 1, (row["a_key"], row["b_key"]),
        row["b_value_name"] if kind != "key" and kind != "facts" else None, contents[0], contents[1],
        (row["a_sequence"], row["b_sequence"]),
    )  # fmt: skip


def _state(row: Mapping[str, Any], letter: str) -> str:
    status = row[f"{letter}_status"]
    return "unknown" if status is None else "absent" if status == NAME_NOT_FOUND else "present"


def _content(row: Mapping[str, Any], letter: str) -> Content:
    status = row[f"{letter}_status"]
    if status == NAME_NOT_FOUND:
        return Content("absent")
    if status is None or (status >= NOT_SUCCESS and status not in TOO_SHORT):
        return Content("unknown")
    return Content("present", *(row[f"{letter}_{name}"] for name in ("type", "size", "data")))


def _parting(rows: Sequence[Mapping[str, Any]]) -> Parting:
    """Return the names that each run goes on with, folded."""
    names = [
        [
            fold_name(row[f"{letter}_{name}"])
            for row in rows
            if row["what"] in ("divergence", "after")
            for name in ("key", "value_name")
            if row[f"{letter}_{name}"]
        ]
        for letter in "ab"
    ]
    return Parting((names[0], names[1]))
