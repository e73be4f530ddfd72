"""Paths as people write them, as Windows shows them, and patterns over both."""

import re

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_capture import HOSTILE, SID

from tracer.errors import UsageError
from tracer.registry.paths import (
    KeyPattern,
    compile_pattern,
    display_path,
    display_paths,
    has_wildcard,
    native_path,
)
from tracer.registry.text import escape_name, fold_name

MACHINE = "\\REGISTRY\\MACHINE"
USER = "\\REGISTRY\\USER"

_letters = st.characters(exclude_characters="\\")
names = st.text(_letters, min_size=1, max_size=6).map(escape_name)
odd_names = st.one_of(names, st.sampled_from(HOSTILE), st.text("aA*?[]ßſK.", min_size=1, max_size=4))
roots = st.sampled_from(
    [MACHINE, USER, f"{USER}\\{SID}", f"{USER}\\{SID}_Classes", "\\REGISTRY\\A", "\\REGISTRY\\WC"]
)
natives = st.tuples(roots, st.lists(odd_names, max_size=4)).map(
    lambda parts: "\\".join([parts[0], *parts[1]])
)


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("HKLM", MACHINE),
        ("hklm\\Software\\Vendor", MACHINE + "\\Software\\Vendor"),
        ("HKEY_LOCAL_MACHINE\\SOFTWARE", MACHINE + "\\SOFTWARE"),
        ("HKLM:\\SOFTWARE", MACHINE + "\\SOFTWARE"),
        ("HKLM:", MACHINE),
        ("Computer\\HKEY_USERS\\S-1-5-18", USER + "\\S-1-5-18"),
        ("Registry::HKEY_LOCAL_MACHINE\\X", MACHINE + "\\X"),
        ("Microsoft.PowerShell.Core\\Registry::HKU\\X", USER + "\\X"),
        ("\\Registry\\Machine\\X", MACHINE + "\\X"),
        ("\\registry\\user", USER),
        ("\\REGISTRY", "\\REGISTRY"),
        ("\\REGISTRY\\a\\{guid}\\X", "\\REGISTRY\\A\\{guid}\\X"),
        ("\\REGISTRY\\WC\\Silo1", "\\REGISTRY\\WC\\Silo1"),
        ("HKCR\\.txt", MACHINE + "\\SOFTWARE\\Classes\\.txt"),
        ("HKCC\\Software", MACHINE + "\\SYSTEM\\CurrentControlSet\\Hardware Profiles\\Current\\Software"),
        ("HKLM\\\\A\\\\\\B\\\\", MACHINE + "\\A\\B"),
        ("HKLM\\a/b", MACHINE + "\\a/b"),
        ("HKLM\\ spaced ", MACHINE + "\\ spaced "),
        ("HKLM\\a\0b", MACHINE + "\\a<U+0000>b"),
        ("HKLM\\a<U+0000>b", MACHINE + "\\a<U+0000>b"),
        ("<object 0xFFFF>\\x\\", "<object 0xFFFF>\\x"),
    ],
)
def test_every_spelling_of_a_root_is_understood(text: str, native: str) -> None:
    assert native_path(text) == native


@pytest.mark.parametrize(
    "text", ["", "\\", "SOFTWARE\\X", "HKLM/SOFTWARE", "HKLMX\\a", "HKPD", "\\Device\\X", "K\u212aLM"]
)
def test_a_text_without_a_known_root_is_refused_with_the_roots(text: str) -> None:
    with pytest.raises(UsageError, match=r"HKLM, HKU"):
        native_path(text)


def test_a_long_s_is_no_s_of_registry() -> None:
    with pytest.raises(UsageError):
        native_path("\\REGI\u017fTRY\\MACHINE")
    assert display_path("\\REGI\u017fTRY\\MACHINE") == "\\REGI\u017fTRY\\MACHINE"


def test_hkcu_needs_a_stated_user() -> None:
    with pytest.raises(UsageError, match=r"HKU\\<SID>\\Software.*HKU\\\*\\Software"):
        native_path("HKCU\\Software")
    with pytest.raises(UsageError, match="not a SID"):
        native_path("HKCU\\Software", user_sid="me\\you")
    assert native_path("HKCU\\Software", user_sid=SID) == f"{USER}\\{SID}\\Software"
    assert native_path("HKCU", user_sid=".DEFAULT") == f"{USER}\\.DEFAULT"
    assert native_path("HKCU\\SOFTWARE\\classes\\.txt", user_sid=SID) == f"{USER}\\{SID}_Classes\\.txt"


@pytest.mark.parametrize(
    ("native", "shown"),
    [
        (MACHINE, "HKLM"),
        ("\\Registry\\Machine\\x", "HKLM\\x"),
        (MACHINE + "X\\x", MACHINE + "X\\x"),
        (f"{USER}\\{SID}\\x", f"HKU\\{SID}\\x"),
        ("\\REGISTRY\\A\\{g}", "\\REGISTRY\\A\\{g}"),
        ("\\REGISTRY\\WC\\Silo", "\\REGISTRY\\WC\\Silo"),
        ("<object 0x1>\\REGISTRY\\MACHINE", "<object 0x1>\\REGISTRY\\MACHINE"),
        ("\\REGISTRY", "\\REGISTRY"),
    ],
)
def test_only_machine_and_user_have_a_win32_spelling(native: str, shown: str) -> None:
    assert display_path(native) == shown


def test_the_control_set_is_current_only_where_that_is_known() -> None:
    path = MACHINE + "\\System\\controlset001\\Services"
    assert display_path(path) == "HKLM\\System\\controlset001\\Services"
    assert display_path(path, control_set=1) == "HKLM\\System\\CurrentControlSet\\Services"
    assert display_path(path, control_set=2) == "HKLM\\System\\controlset001\\Services"
    other = MACHINE + "\\SOFTWARE\\SYSTEM\\ControlSet001"
    assert display_path(other, control_set=1) == "HKLM\\SOFTWARE\\SYSTEM\\ControlSet001"
    assert display_path(MACHINE + "\\SYSTEM\\ControlSet0011", control_set=1) == "HKLM\\SYSTEM\\ControlSet0011"


def test_hkcu_is_shown_for_the_stated_user_only() -> None:
    assert display_path(f"{USER}\\{SID.lower()}\\x", user_sid=SID) == "HKCU\\x"
    assert display_path(f"{USER}\\{SID}_Classes\\x", user_sid=SID) == "HKCU\\Software\\Classes\\x"
    assert display_path(f"{USER}\\{SID}0\\x", user_sid=SID) == f"HKU\\{SID}0\\x"
    assert display_path(f"{USER}\\{SID}_ClassesX", user_sid=SID) == f"HKU\\{SID}_ClassesX"


@settings(deadline=None)
@given(natives, st.sampled_from([None, SID]))
def test_what_is_shown_leads_back_to_the_key(native: str, sid: str | None) -> None:
    assert native_path(display_path(native, user_sid=sid), user_sid=sid) == native


def test_many_paths_are_shown_as_each_one_is() -> None:
    paths = [MACHINE, None, f"{USER}\\{SID}", MACHINE, "<object 0x1>"]
    expected = ["HKLM", None, "HKCU", "HKLM", "<object 0x1>"]
    assert display_paths(paths, user_sid=SID) == expected
    assert display_paths(pa.array(paths), user_sid=SID) == expected
    assert display_paths([]) == []


# Patterns. The oracle is a recursive matcher over the tokens of the pattern, one character at a time.


def tokens_of(pattern: str) -> list[str]:
    tokens, place = [], 0
    while place < len(pattern):
        if pattern[place : place + 3] in ("[*]", "[?]", "[[]"):
            tokens.append("=" + pattern[place + 1])
            place += 3
        elif pattern[place] == "*":
            run = len(pattern[place:]) - len(pattern[place:].lstrip("*"))
            after = pattern[place + run : place + run + 1]
            if run > 1 and tokens[-1:] == ["=\\"] and after in ("", "\\"):
                tokens[-1:] = ["components"]
            else:
                tokens.append("**" if run > 1 else "*")
            place += run
        else:
            tokens.append("?" if pattern[place] == "?" else "=" + pattern[place])
            place += 1
    return tokens


def naive_match(tokens: list[str], name: str) -> bool:
    if not tokens:
        return not name
    head, rest = tokens[0], tokens[1:]
    if head == "components":  # none, or a backslash and anything
        return naive_match(rest, name) or (name[:1] == "\\" and naive_match(["**", *rest], name[1:]))
    if head in ("*", "**"):
        if naive_match(rest, name):
            return True
        return bool(name) and (head == "**" or name[0] != "\\") and naive_match(tokens, name[1:])
    if not name:
        return False
    fits = name[0] != "\\" if head == "?" else fold_name(head[1:]) == fold_name(name[0])
    return fits and naive_match(rest, name[1:])


def in_duckdb(pattern: KeyPattern, shown: str) -> bool:
    row = duckdb.execute(
        f"SELECT {pattern.sql('shown')} FROM (SELECT $1 AS shown)", [fold_name(shown)]
    ).fetchone()
    assert row is not None
    return bool(row[0])


_pieces = st.one_of(
    st.sampled_from(
        [
            "*",
            "**",
            "?",
            "[*]",
            "[?]",
            "[[]",
            "[a]",
            "\\",
            "a",
            "A",
            "ß",
            "ı",
            "é",
            "É",
            ".",
            "'",
            "\n",
            "$",
            "|",
        ]
    ),
    st.characters(exclude_categories=["Cs"], exclude_characters="\\\0"),
)
_patterns = st.lists(_pieces, max_size=8).map("".join)
_subject_letters = st.one_of(
    st.sampled_from("aAßé*?[].'\n$|\\"), st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
_subjects = st.text(_subject_letters, max_size=8)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(_patterns, _subjects, st.booleans())
def test_a_pattern_matches_what_a_naive_matcher_matches_in_python_and_in_duckdb(
    glob: str, subject: str, subtree: bool
) -> None:
    glob, subject = (
        re.sub(r"\\{2,}", r"\\", "HKLM\\SOFTWARE\\" + text).rstrip("\\") for text in (glob, subject)
    )
    pattern = compile_pattern(glob, subtree=subtree)
    tokens = tokens_of(glob)
    expected = naive_match(tokens, subject)
    if subtree:
        cuts = [place for place, letter in enumerate(subject) if letter == "\\"]
        expected = expected or any(naive_match(tokens, subject[:cut]) for cut in cuts)
    assert pattern.matches(subject) == expected
    assert pattern.matches(native_path(subject)) == expected
    assert in_duckdb(pattern, subject) == expected


@settings(deadline=None)
@given(natives)
def test_a_path_with_its_glob_characters_escaped_matches_itself_alone(native: str) -> None:
    pattern = compile_pattern(re.sub(r"([*?\[])", r"[\1]", native))
    assert pattern.exact is not None
    assert pattern.matches(native)
    assert not pattern.matches(native + "x")
    assert in_duckdb(pattern, display_path(native))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_found_by_exact_and_by_wild_patterns(name: str) -> None:
    path = f"{MACHINE}\\SOFTWARE\\{name}"
    escaped = re.sub(r"([*?\[])", r"[\1]", name)
    for text in (f"HKLM\\SOFTWARE\\{escaped}", f"HKLM\\*\\{escaped}", f"**\\{escaped}"):
        pattern = compile_pattern(text, control_set=1)
        assert pattern.matches(path)
        assert in_duckdb(pattern, display_path(path))
        assert not in_duckdb(pattern, display_path(path) + "!")


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("HKLM\\SOFTWARE\\*", "HKLM\\Software\\A", "HKLM\\Software\\A\\B"),
        ("HKLM\\SOFTWARE\\**", "HKLM\\Software\\A\\B", "HKLM\\SoftwareX"),
        ("HKLM\\SOFTWARE\\**", "HKLM\\Software", "HKLM"),
        ("HKLM\\**\\Run", "HKLM\\Run", "HKLM\\aRun"),
        ("HKLM\\**\\**\\Run", "HKLM\\Run", "Run"),
        ("**\\HKLM", "HKLM", "XHKLM"),
        ("**\\A\\**", "HKLM\\A", "HKLM\\AB"),
        ("\\REGISTRY\\**\\Run", "\\REGISTRY\\A\\Run", "\\REGISTRY\\A\\aRun"),
        ("HKLM\\SOFTWARE\\Vendor", "hklm\\software\\vendor", "HKLM\\SOFTWARE\\VendorX"),
        ("**\\Run", "HKU\\a\\b\\RUN", "HKU\\a\\b\\RunOnce"),
        ("\\REGISTRY\\*\\Run", "HKLM\\Run", "HKLM\\a\\Run"),
        ("HK*\\Run", "HKU\\Run", "\\REGISTRY\\A\\Run"),
        ("\\registry\\a\\*", "\\REGISTRY\\A\\{g}", "HKLM\\A"),
        ("<object 0x1>\\*", "<object 0x1>\\x", "<object 0x2>\\x"),
        ("<object *", "<object 0x2>", "HKLM\\<object 0x2>"),
        ("HKLM:\\A[*]", "HKLM\\a*", "HKLM\\ab"),
        ("\\Foo\\bar", "\\FOO\\BAR", "\\FOO"),
        ("HKLM\\[abc]", "HKLM\\[ABC]", "HKLM\\a"),
    ],
)
def test_patterns_say_what_they_mean(text: str, matching: str, other: str) -> None:
    pattern = compile_pattern(text)
    assert pattern.matches(matching)
    assert in_duckdb(pattern, matching)
    assert not pattern.matches(other)
    assert not in_duckdb(pattern, other)


@pytest.mark.parametrize("asked", ["CurrentControlSet", "ControlSet001", "Control*001", "*ControlSet"])
def test_both_spellings_of_the_current_control_set_are_one_key(asked: str) -> None:
    pattern = compile_pattern(f"HKLM\\SYSTEM\\{asked}\\Services", control_set=1)
    stored = [MACHINE + f"\\SYSTEM\\{name}\\Services" for name in ("ControlSet001", "CurrentControlSet")]
    assert all(pattern.matches(path) for path in stored)
    assert all(in_duckdb(pattern, display_path(path, control_set=1)) for path in stored)
    assert not pattern.matches(MACHINE + "\\SYSTEM\\ControlSet002\\Services")
    below = compile_pattern(f"HKLM\\SYSTEM\\{asked}", control_set=1, subtree=True)
    assert all(in_duckdb(below, display_path(path, control_set=1)) for path in stored)


def test_nobody_guesses_which_control_set_is_current() -> None:
    pattern = compile_pattern("HKLM\\SYSTEM\\CurrentControlSet")
    assert not pattern.matches("HKLM\\SYSTEM\\ControlSet001")


def test_both_spellings_of_a_users_classes_are_one_key() -> None:
    spellings = [f"HKU\\{SID}_Classes\\.txt", f"HKU\\{SID}\\Software\\Classes\\.txt"]
    for asked in [*spellings, "HKCU\\Software\\Classes\\.txt", f"HKU\\{SID}*\\.t?t"]:
        pattern = compile_pattern(asked, user_sid=SID)
        assert pattern.matches(spellings[0])
        assert all(in_duckdb(pattern, path) for path in spellings if "*" not in asked or path == spellings[0])


@pytest.mark.parametrize("text", ["", "SOFTWARE\\*", "HKLM/SOFTWARE/*", "Run"])
def test_a_pattern_needs_a_root_or_a_wildcard_for_it(text: str) -> None:
    with pytest.raises(UsageError):
        compile_pattern(text)


def test_a_wildcard_in_brackets_is_none() -> None:
    assert has_wildcard("a*")
    assert has_wildcard("[*]?")
    assert not has_wildcard("[*][?][[]a]")
