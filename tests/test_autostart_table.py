"""The table of autostart points: each row has an example that it fits and one that it nearly fits; the corpora know its places."""

import csv
import re
from functools import cache
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.rules.autostarts import (
    KINDS,
    Autostart,
    attack_version,
    autostart_table,
    autostarts,
    categories,
    find_categories,
    techniques,
)
from tracer.errors import UsageError
from tracer.registry.text import fold_name

ROWS = {row.id: row for row in autostarts()}
with (Path(__file__).parent / "support" / "autostart_examples.csv").open(
    encoding="utf-8", newline=""
) as lines:
    EXAMPLES = {row["id"]: row for row in csv.DictReader(lines)}
CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
SID = "S-1-5-21-1-2-3-1001"
DATA = {
    "command", "commands", "commands list", "dll", "dlls", "driver", "clsid", "key clsid", "value clsid", "value path",
    "key progid", "path", "folder", "url", "task", "task actions", "flag", "list", "text", "binary",
}  # fmt: skip


@cache
def regex_of(row: Autostart) -> re.Pattern[str]:
    """The row's key pattern as one regular expression: another way to say the same."""
    said = ""
    for component in fold_name(row.key).split("\\"):
        some = "".join(r"[^\\]*" if letter == "*" else re.escape(letter) for letter in component)
        said += r"(?:\\[^\\]+)*" if component == "**" else r"\\" + some
    return re.compile(said)


def below_root(path: str) -> tuple[str, bool, str] | None:
    """Return scope, whether it is the twin for 32-bit programs, and the path below the root."""
    root, _, rest = fold_name(path).partition("\\")
    if root == "HKU":
        hive, _, rest = rest.partition("\\")
        rest = "SOFTWARE\\CLASSES\\" + rest if hive.endswith("_CLASSES") else rest
    elif root != "HKLM":
        return None
    rest = re.sub(r"^SYSTEM\\CONTROLSET[0-9]{3}(?=\\)", r"SYSTEM\\CURRENTCONTROLSET", rest)
    twin = re.match(r"(SOFTWARE\\(?:CLASSES\\)?)WOW6432NODE\\", rest)
    return (
        ("user" if root == "HKU" else "machine"),
        bool(twin),
        "\\" + (twin[1] + rest[twin.end() :] if twin else rest),
    )


def fits(row: Autostart, path: str, value: str | None) -> bool:
    """Tell by the regular expression whether a row fits a value, or the key itself (None)."""
    placed = below_root(path)
    if placed is None or row.scope not in (placed[0], "both") or (placed[1] and not row.wow64):
        return False
    if not regex_of(row).fullmatch(placed[2]):
        return False
    for word in row.value.split("|") if row.value else ["*"]:
        if word == "(Key)" or value is None:
            if word == "(Key)" and value is None:
                return True
            continue
        name = fold_name("" if word == "(Default)" else word)
        if re.fullmatch(
            "".join(".*" if one == "*" else re.escape(one) for one in name), fold_name(value), re.DOTALL
        ):
            return True
    return False


def found(path: str, value: str) -> Autostart | None:
    table = autostart_table()
    (place,) = table.match_keys([fold_name(path)])
    if value == "(Key)":
        return table.of_key(place, itself=True)
    return table.of_value(place, "" if value == "(Default)" else value)


def test_the_table_has_some_hundred_distinct_rows_of_known_words():
    rows = autostarts()
    assert len(rows) >= 300
    assert len(ROWS) == len(rows)
    assert len({(row.key.lower(), row.value.lower(), row.scope) for row in rows}) == len(rows)
    for row in rows:
        assert row.kind in KINDS, row
        assert row.scope in ("machine", "user", "both"), row
        assert row.data in DATA, row
        assert re.fullmatch(r"[a-z0-9-]+", row.id), row
        assert row.source, row
        assert row.note, row
        assert row.key == row.key.strip("\\"), row


def test_every_technique_is_in_the_pinned_list_and_the_list_holds_no_other():
    assert {row.technique for row in autostarts()} == set(techniques())
    assert all(re.fullmatch(r"T1[0-9]{3}(\.0[0-9]{2})?", one) for one in techniques())
    assert re.fullmatch(r"[0-9]+\.[0-9]+", attack_version())


def test_every_row_has_an_example():
    assert set(EXAMPLES) == set(ROWS)


@pytest.mark.parametrize("category", categories())
def test_each_row_fits_its_example_and_not_what_is_nearly_so(category: str):
    for name in (row.id for row in autostarts() if row.category == category):
        example = EXAMPLES[name]
        best = found(example["key"], example["value"])
        assert best is not None, name
        assert best.id == name
        near = found(example["near_key"], example["near_value"])
        assert near is None or near.id != name, name


def test_the_matcher_says_what_regular_expressions_say():
    """Each fourth example and near example against every row."""
    table = autostart_table()
    for example in list(EXAMPLES.values())[::4]:
        for prefix in ("", "near_"):
            path, value = example[prefix + "key"], example[prefix + "value"]
            name = None if value == "(Key)" else "" if value == "(Default)" else value
            expected = {row.id for row in autostarts() if fits(row, path, name)}
            best = found(path, value)
            assert (best.id if best else None) in (expected or {None}), (path, value)
            (place,) = table.match_keys([fold_name(path)])
            some = any(
                regex_of(row).fullmatch((below_root(path) or ("", False, ""))[2]) for row in autostarts()
            )
            assert some or place == 0


PARTS = st.sampled_from(
    [
        "SOFTWARE", "Wow6432Node", "Classes", "Microsoft", "Windows", "CurrentVersion", "Run", "RunOnceEx", "Depend", "CLSID", "{1}",
        "InprocServer32", "SYSTEM", "ControlSet001", "CurrentControlSet", "Services", "Parameters", "x", "*", "ShellEx", "Windows NT",
        "ContextMenuHandlers", "Explorer", "shell", "open", "command", "Control", "Print", "Monitors", "Policies", "Office", "Addins",
    ]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["HKLM", f"HKU\\{SID}", f"HKU\\{SID}_Classes", "HKCC", "\\REGISTRY\\A"]),
    st.lists(PARTS, max_size=8),
)
def test_any_path_is_matched_as_regular_expressions_do(root: str, parts: list[str]):
    path = "\\".join([root, *parts])
    table = autostart_table()
    (place,) = table.match_keys([fold_name(path)])
    for value in ("", "x", "ServiceDll"):
        row = table.of_value(place, value)
        expected = {one.id for one in autostarts() if fits(one, path, value)}
        # A name between SOFTWARE and the twin is the twin's, and nothing that a pattern leaves open.
        assert (row.id in expected) if row else not expected


def test_a_service_is_the_same_in_each_control_set_and_values_compare_in_any_case():
    for control_set in ("CurrentControlSet", "ControlSet001", "ControlSet002"):
        row = found(f"HKLM\\SYSTEM\\{control_set}\\Services\\x", "IMAGEPATH")
        assert row is not None
        assert row.id == "service-image"
    assert found("HKLM\\SYSTEM\\ControlSet1\\Services\\x", "ImagePath") is None


def test_of_two_rows_that_fit_the_more_exact_one_is_told():
    assert (
        found("HKLM\\SYSTEM\\CurrentControlSet\\Services\\TermService\\Parameters", "ServiceDll").id
        == "terminal-termsrv"
    )
    assert (
        found("HKLM\\SYSTEM\\CurrentControlSet\\Services\\Other\\Parameters", "ServiceDll").id
        == "service-dll"
    )


def test_a_value_of_unknown_name_fits_only_rows_of_any_value():
    table = autostart_table()
    run, winlogon = table.match_keys(
        [
            f"HKU\\{SID}\\SOFTWARE\\MICROSOFT\\WINDOWS\\CURRENTVERSION\\RUN",
            "HKLM\\SOFTWARE\\MICROSOFT\\WINDOWS NT\\CURRENTVERSION\\WINLOGON",
        ]
    )
    assert table.of_value(run, None).id == "run"
    assert table.of_value(winlogon, None) is None
    assert table.of_key(winlogon, itself=True) is None
    assert table.of_key(winlogon, itself=False) is not None


def test_many_keys_are_matched_in_moments():
    deep = "\\".join(["HKLM\\SOFTWARE", *["A"] * 400])
    keys = [deep, *(f"HKLM\\SOFTWARE\\VENDOR {i % 500}\\PRODUCT {i % 7000}\\{i}" for i in range(100_000))]
    start = perf_counter()
    assert not any(autostart_table().match_keys(keys))
    assert perf_counter() - start < 5.0


def test_categories_are_words_that_a_user_may_mistype():
    assert find_categories(None) is None
    assert find_categories("Services, logon") == ("services", "logon")
    assert set(categories()) == {row.category for row in autostarts()}
    with pytest.raises(UsageError, match="did you mean services"):
        find_categories("servces")


def test_most_places_of_another_list_are_in_the_table():
    """RECmd's list also names values that only describe an autostart; those are no places from which something is started."""
    batch = CORPUS / "asep" / "RegistryASEPs.reb"
    if not batch.is_file():
        pytest.skip(f"no {batch}")
    roots = {
        "SOFTWARE": "HKLM\\SOFTWARE",
        "SYSTEM": "HKLM\\SYSTEM",
        "NTUSER": f"HKU\\{SID}",
        "USRCLASS": f"HKU\\{SID}_Classes",
    }
    places, facts = [], dict[str, str]()
    for line in batch.read_text(encoding="utf-8-sig").splitlines():
        said = re.match(r"\s*(?:-\s*)?(HiveType|KeyPath|ValueName):\s*(.*)", line)
        if said:
            facts[said[1]] = said[2].strip("'\" ")
        elif line.strip().startswith("-") and "KeyPath" in facts:
            places.append(facts)
            facts = {}
    assert len(places) > 400
    hits = 0
    for place in places:
        key = re.sub(r"ControlSet\*", "ControlSet001", place["KeyPath"].strip("\\").replace("'", ""))
        path = "\\".join(re.sub(r"^\*$", "{1}", one).replace("*", "1") for one in key.split("\\"))
        path = f"{roots[place['HiveType'].upper()]}\\{path}"
        value = place.get("ValueName", "")
        names = (
            ["x", "{1}", "(Default)", "(Key)"]
            if not value
            else ["(Default)" if value == "(default)" else value.replace("*", "1")]
        )
        # the batch file reads values of all keys below as well
        hits += any(
            found(below, name) for below in (path, path + "\\{1}", path + "\\a\\{1}") for name in names
        )
    assert hits > 0.75 * len(places), f"{hits} of {len(places)}"
