"""Candidates: values that two runs read differently before they part, the most likely cause of that first.

The weights are an order to try, and no proof; docs/causes.md has them in words, and a test compares.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from analysis.causes.rules import Rule
from tracer.registry.bookkeeping import is_bookkeeping
from tracer.registry.values import decode_value

__all__ = ["NEAR", "REASONS", "Candidate", "Content", "Parting", "is_time_like", "rank_candidates"]

NEAR = 40  # weight of a read right before the runs part; one less for each two steps between
_STEPS = 2
REASONS = {
    "near": Rule(NEAR, f"of the read right before the runs part; one less for each {_STEPS} equal operations between, down to 0"),
    "used next": Rule(40, "what one run read, four letters or more, is in a name that it goes on with where they part"),
    "missing on one side": Rule(15, "one run found the value, the other did not"),
    "own state": Rule(-25, "the same program writes the value in one of the runs: mostly its own memory, seldom a cause"),
    "bookkeeping": Rule(-30, "Windows notes in this key what a user did"),
    "a time": Rule(-20, "both runs read a time or a date, which differs from day to day"),
    "behind": Rule(-5, "not read by the program: another one read it, and then wrote a value that the program read"),
}  # fmt: skip
_DATE = re.compile(r"(19|20)\d\d[-/.]?(0[1-9]|1[0-2])[-/.]?(0[1-9]|[12]\d|3[01])(\D.*)?", re.DOTALL)
_FIRST_FILETIME, _LAST_FILETIME = (
    125_911_584_000_000_000,
    157_469_184_000_000_000,
)  # 2000 and 2100, in 100 ns since 1601
_FIRST_SECOND, _LAST_SECOND = 946_684_800, 2_147_483_647  # 2000 and 2038, in seconds since 1970
_LEAST_LETTERS = 4
_BINARY, _QWORD = 3, 11


@dataclass(frozen=True, slots=True)
class Content:
    """What a run found of a value.

    Attributes:
        state: present, absent, or unknown.
        data_type, data_size, data: of a value that is present; None is unknown.
    """

    state: str
    data_type: int | None = None
    data_size: int | None = None
    data: bytes | None = None

    @property
    def is_whole(self) -> bool:
        """Whether type and all bytes are known, so that the value can be set to just this."""
        return (
            self.state == "present"
            and self.data_type is not None
            and self.data is not None
            and len(self.data) == (len(self.data) if self.data_size is None else self.data_size)
        )

    @property
    def text(self) -> str:
        """The data as text; "" where it is not known."""
        return "" if self.data is None else decode_value(self.data_type, self.data, self.data_size) or ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value, or something else, that the runs read differently.

    Attributes:
        kind: value; or key, list, facts or rights: what no .reg file can make alike.
        differs: in what the two reads differ (`analysis.answers.divergence.DIVERGENCE`).
        steps: how many equal operations lie between the read and where the runs part.
        times: how many reads of the same were as different.
        keys: display path of the key in each run.
        value_name: None of what is no value.
        works, fails: what each run found.
        sequences: of the read in each run; None where there is none.
        is_own: whether the program writes it.
        behind: the place among the candidates of the value that it stands behind; None of what the program read.
        writer: the process id, in the failing run, of who wrote it last before the read; None: nobody is known.
        reasons: reasons with their weights, the heaviest first.
    """

    kind: str
    differs: str
    steps: int
    times: int
    keys: tuple[str | None, str | None]
    value_name: str | None
    works: Content
    fails: Content
    sequences: tuple[int | None, int | None] = (None, None)
    is_own: bool = False
    behind: int | None = None
    writer: int | None = None
    reasons: tuple[tuple[str, int], ...] = field(default=())

    @property
    def weight(self) -> int:
        """The sum of the weights of the reasons."""
        return sum(weight for _, weight in self.reasons)


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the runs part.

    Attributes:
        names: the names (paths, values, requests) that each run goes on with, folded.
    """

    names: tuple[Sequence[str], Sequence[str]]


def rank_candidates(
    candidates: Sequence[Candidate], parting: Parting, fold: Callable[[str], str]
) -> list[Candidate]:
    """Return the candidates with their reasons, the most likely first; of equal ones the nearest.

    Args:
        candidates: the candidates; `behind` is a place in this list, and afterwards in the answer.
        parting: where the runs part.
        fold: how names are compared.
    """
    weighed = [replace(one, reasons=_reasons(one, parting, fold)) for one in candidates]
    for place, one in enumerate(weighed):
        if one.behind is not None:
            above = weighed[one.behind]
            own = tuple(reason for reason in one.reasons if reason[0] not in ("near", "used next"))
            weight = ("behind", above.weight + REASONS["behind"].weight)
            weighed[place] = replace(one, reasons=_sorted((weight, *own)))
    order = sorted(
        range(len(weighed)), key=lambda place: (-weighed[place].weight, weighed[place].steps, place)
    )
    places = {place: rank for rank, place in enumerate(order)}
    ranked = []
    for place in order:
        of = weighed[place].behind
        ranked.append(replace(weighed[place], behind=None if of is None else places[of]))
    return ranked


def is_time_like(content: Content) -> bool:
    """Tell whether data looks like a time: a FILETIME or a date as text, of this century mostly."""
    data = content.data
    if data is None:
        return False
    if content.data_type in (_BINARY, _QWORD):
        number = int.from_bytes(data, "little") if len(data) == 8 else 0
        return _FIRST_FILETIME <= number < _LAST_FILETIME or (
            content.data_type == _QWORD and _FIRST_SECOND <= number <= _LAST_SECOND
        )
    text = content.text.strip()
    return content.data_type in (1, 2) and bool(_DATE.fullmatch(text))


def _reasons(one: Candidate, parting: Parting, fold: Callable[[str], str]) -> tuple[tuple[str, int], ...]:
    said = {"near": max(NEAR - one.steps // _STEPS, 0)}
    for content, names in zip((one.works, one.fails), parting.names, strict=True):
        text = fold(content.text)
        if (
            content.data_type in (1, 2)
            and len(text) >= _LEAST_LETTERS
            and any(text in name for name in names)
        ):
            said["used next"] = REASONS["used next"].weight
    if {one.works.state, one.fails.state} == {"present", "absent"}:
        said["missing on one side"] = REASONS["missing on one side"].weight
    if one.is_own:
        said["own state"] = REASONS["own state"].weight
    if any(key is not None and is_bookkeeping(key) for key in one.keys):
        said["bookkeeping"] = REASONS["bookkeeping"].weight
    if is_time_like(one.works) and is_time_like(one.fails):
        said["a time"] = REASONS["a time"].weight
    return _sorted(said.items())


def _sorted(reasons: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(reasons, key=lambda reason: -reason[1]))
