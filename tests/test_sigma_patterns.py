"""Sigma's patterns, against plain matching of every text that a partly known one may be."""

import ipaddress
import random
import re
from itertools import product

import pyarrow as pa
import pytest

from analysis.rules.sigma_patterns import AnyPattern, Pattern, Regex
from analysis.rules.sigma_tests import MAYBE, NO, YES, Comparison, IsNull, Network, Number, number_of

LETTERS = "AB"
OTHER = "Z"  # a letter that no pattern holds
FILLERS = ["".join(some) for length in range(1, 5) for some in product(LETTERS + OTHER, repeat=length)]


def plain(parts: list[str | None], text: str) -> bool:
    regex = "".join(".*" if part is None else "." if part == "" else re.escape(part) for part in parts)
    return re.fullmatch(regex, text, re.DOTALL) is not None


def some_patterns() -> list[list[str | None]]:
    draw = random.Random(7)
    found = [[draw.choice([None, "", "A", "B", "A"]) for _ in range(draw.randint(1, 4))] for _ in range(60)]
    return [*found, [None], ["A"], [None, "AB"], ["AB", None], [None, "AB", None]]


@pytest.mark.parametrize("known", ["A", "AB", "BAB"])
def test_a_verdict_on_a_part_of_a_text_is_that_on_every_whole_one(known: str):
    for parts in some_patterns():
        pattern = Pattern.of(parts)
        for is_end, verdict in ((True, pattern.of_end(known)), (False, pattern.of_beginning(known))):
            wholes = [filler + known if is_end else known + filler for filler in FILLERS]
            said = {plain(parts, whole) for whole in wholes}
            if verdict == YES:
                assert said == {True}, (parts, known, is_end)
            elif verdict == NO:
                assert said == {False}, (parts, known, is_end)
            else:  # what is not decided must be open, but for patterns that ask only how long a text is
                assert verdict == MAYBE
                assert len(said) == 2 or "" in parts, (parts, known, is_end)


def test_a_column_is_matched_as_each_of_its_texts():
    texts = ["", "A", "AB", "A\nB", "B*A", "A?", "(AB)", "ABA", "É\\É", "<U+0000>", "B\\A\\"]
    column = pa.array(texts)
    patterns = [Pattern.of(parts) for parts in some_patterns()]
    patterns += [
        Pattern.of([None, "(AB", None]),
        Pattern.of(["B*", None]),
        Pattern.of(["é", "", "É"]),
        Pattern.of(["\0"]),
    ]
    for pattern in patterns:
        assert pattern.matches_all(column).tolist() == [pattern.matches(text) for text in texts], pattern
    both = AnyPattern(tuple(patterns[:6]))
    assert both.matches_all(column).tolist() == [
        any(one.matches(text) for one in patterns[:6]) for text in texts
    ]


def test_no_pattern_is_too_long_too_many_or_too_wild():
    texts = pa.array(["A" * 20_000, "A" * 20_000 + "B", "C"])
    wild = Pattern.of([part for _ in range(300) for part in (None, "A")] + ["B"])
    assert [wild.matches(text) for text in texts.to_pylist()] == [False, True, False]
    assert wild.matches_all(texts).tolist() == [False, True, False]
    long = Pattern.of([None, "A" * 15_000 + "B", None])
    assert long.matches_all(texts).tolist() == [False, True, False]
    many = AnyPattern((*(Pattern.of([None, f"{number}x" * 90, None]) for number in range(900)), long))
    assert many.matches_all(texts).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="too large"):
        Regex.of("(a{500}){500}", "")


def test_letters_fold_as_the_registry_folds_them():
    assert Pattern.of(["straße\\é"]).matches("STRAßE\\É")
    assert not Pattern.of(["STRASSE"]).matches("STRAßE")
    assert Pattern.of(["aB"], is_cased=True).matches("aB")
    assert not Pattern.of(["aB"], is_cased=True).matches("AB")
    assert Pattern.of(["aB"], is_cased=True).folded.matches("AB")


def test_a_regular_expression_is_searched_for_with_its_flags():
    assert Regex.of("b$", "").matches("ab")
    assert not Regex.of("^b", "").matches("ab")
    assert Regex.of("^B", "i").matches("b")
    assert Regex.of("a.c", "s").matches("a\nc")
    assert Regex.of("^c$", "m").matches("a\nc")
    with pytest.raises(ValueError, match="looks around"):
        Regex.of("a(?=b)", "")


def test_tests_of_numbers_networks_and_null():
    assert [number_of(text) for text in ("7", "-1.5", "DWORD (0x0000000a)", "QWORD (0x00000001-0x00000000)", "x", "")] == [
        7.0, -1.5, 10, 1 << 32, None, None,
    ]  # fmt: skip
    assert Number(0).matches("0")
    assert not Number(0).matches("DWORD (0x00000000)")  # Sysmon's text is not the text 0
    assert Comparison("<=", 5).matches("DWORD (0x00000005)")
    assert not Comparison(">", 5).matches("word")
    network = Network(ipaddress.ip_network("10.0.0.0/8"))
    assert [network.matches(text) for text in ("10.1.2.3", "11.0.0.1", "x")] == [True, False, False]
    assert (IsNull(True).of_absent(), IsNull(True).of_unknown(), IsNull(True).of_end("x")) == (YES, MAYBE, NO)
    assert (IsNull(False).of_absent(), IsNull(False).matches(""), IsNull(False).of_beginning("x")) == (
        NO,
        True,
        YES,
    )
