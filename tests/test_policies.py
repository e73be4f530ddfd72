"""Policy files: registry.pol entries and templates, and which writes to policy values are the policy's."""

import struct
from pathlib import Path

import pytest
from hand_capture import event, write_events
from hypothesis import given
from hypothesis import strategies as st

from analysis.filters import Filters
from analysis.open import open_capture
from analysis.policy.folder import read_policies
from analysis.policy.registry_pol import read_registry_pol
from analysis.questions.policies import policy_writes
from tracer.errors import SourceError, UsageError

VENDOR = r"Software\Policies\Vendor"
ADMX = r"""<policyDefinitions xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"><policies>
<policy name="Mode" class="Machine" displayName="$(string.Mode)" key="Software\Policies\Vendor" valueName="Mode"/>
<policy name="Sites" class="Both" displayName="$(string.None)" key="Software\Policies\Vendor"><elements>
<list id="a" key="Software\Policies\Vendor\Sites"/><text id="b" valueName="Home"/></elements></policy>
</policies></policyDefinitions>"""
ADML = r"""<policyDefinitionResources><resources><stringTable>
<string id="Mode">Choose the mode</string></stringTable></resources></policyDefinitionResources>"""


def pol(*entries):
    """Return the bytes of a registry.pol; an entry is key, value, type, data."""
    parts = [b"PReg", struct.pack("<I", 1)]
    for key, value, kind, data in entries:
        key, value = (f"{text}\0".encode("utf-16-le", "surrogatepass") for text in (key, value))
        semicolon = ";".encode("utf-16-le")
        numbers = struct.pack("<I", kind) + semicolon + struct.pack("<I", len(data))
        parts.append(
            "[".encode("utf-16-le") + semicolon.join([key, value, numbers, data]) + "]".encode("utf-16-le")
        )
    return b"".join(parts)


def text(word):
    return f"{word}\0".encode("utf-16-le")


def write(folder: Path, *entries, side="Machine"):
    target = folder / "GroupPolicy" / side / "Registry.pol"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pol(*entries))
    return target


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(NAMES, NAMES.filter(lambda name: not name.startswith("**")), st.integers(0, 2**32 - 1), st.binary(max_size=20)), max_size=5))  # fmt: skip
def test_entries_come_back_as_they_were_written(entries):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.pol"
        path.write_bytes(pol(*entries))
        found, problems = read_registry_pol(path)
    assert [(one.key, one.value, one.type, one.data) for one in found] == entries
    assert problems == []


def test_what_stands_before_a_damage_is_read(tmp_path):
    path = tmp_path / "registry.pol"
    whole = pol((VENDOR, "Mode", 1, text("on")), (VENDOR, "Next", 4, b"\1\0\0\0"))
    for size in range(8, len(whole)):
        path.write_bytes(whole[:size])
        found, problems = read_registry_pol(path)
        assert len(found) == (size >= len(pol((VENDOR, "Mode", 1, text("on")))))
        assert bool(problems) == (size not in (8, len(pol((VENDOR, "Mode", 1, text("on"))))))
    assert "damaged at offset" in problems[0]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "registry.pol").write_bytes(b"regf" * 9)
    with pytest.raises(SourceError, match=r"is no registry\.pol: it does not begin with PReg"):
        read_registry_pol(tmp_path / "registry.pol")
    with pytest.raises(UsageError, match=r"holds no registry\.pol and no \.admx file"):
        read_policies(_made(tmp_path / "empty"))
    assert "is no registry.pol" in read_policies(tmp_path).problems[0]


def _made(folder):
    folder.mkdir()
    return folder


def test_templates_name_their_values(tmp_path):
    (tmp_path / "vendor.admx").write_text(ADMX)
    (_made(tmp_path / "en-US") / "vendor.adml").write_text(ADML)
    (tmp_path / "bomb.admx").write_text('<!DOCTYPE a [<!ENTITY b "b">]><a/>')
    (tmp_path / "odd.admx").write_text("<a")
    found = read_policies(tmp_path)
    assert {(one.name, one.side, one.key, one.value) for one in found.settings} == {
        ("Choose the mode", "machine", VENDOR, "Mode"),
        *(("Sites", side, VENDOR + "\\Sites", None) for side in ("machine", "user")),
        *(("Sites", side, VENDOR, "Home") for side in ("machine", "user")),
    }
    assert len(found.problems) == 2
    assert any("declares entities" in problem for problem in found.problems)
    assert any("no well-formed XML" in problem for problem in found.problems)


KEY = rf"HKLM\{VENDOR}"
USER = rf"HKU\S-1-5-21-1-2-3-1001\{VENDOR}"


def sets(key, value, word, process, **more):
    return (
        event(
            "SetValueKey",
            key,
            value,
            data=text(word),
            data_type=1,
            data_size=len(text(word)),
            process=process,
        )
        | more
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    write(
        folder,
        (VENDOR, "Mode", 1, text("on")),
        (VENDOR, "**del.Old", 1, text(" ")),
        (VENDOR, "Big", 1, text("xyz")),
    )
    write(folder, (VENDOR, "Mode", 1, text("off")), ("Software\\Else", "a", 1, text("1")), side="User")
    (folder / "vendor.admx").write_text(ADMX)
    events = [
        sets(KEY, "mode", "on", "gpsvc.exe"),
        sets(KEY, "Mode", "bad", "evil.exe"),
        sets(KEY, "Mode", "worse", "evil.exe"),
        sets(KEY, "Old", "x", "evil.exe"),
        event("DeleteValueKey", KEY, "Old", process="gpsvc.exe"),
        event("SetValueKey", KEY, "Big", data_type=1, data_size=len(text("xyz")), process="blind.exe"),
        event("SetValueKey", KEY, "Big", data_type=1, data_size=99, process="blind.exe"),
        sets(KEY, "Home", "h", "a.exe"),
        sets(KEY, "Nobody", "n", "a.exe"),
        sets(USER, "Mode", "on", "a.exe"),
        sets(r"HKU\S-1-5-21-1-2-3-1001\Software\Else", "a", "1", "gpsvc.exe"),
        sets(r"HKLM\SOFTWARE\Else", "a", "1", "a.exe"),
        sets(KEY, "Mode", "on", "gpsvc.exe"),
        sets(KEY, "Mode", "no", "late.exe", status=0xC0000022),
    ]
    with open_capture(write_events(folder / "hand.regtrace", events)) as capture:
        yield policy_writes(capture.context, Filters(), read_policies(folder)).to_pylist()


def test_each_write_has_its_verdict(judged):
    told = [
        (row["display_key"].partition("\\")[0], row["value_name"].lower(), row["process"], row["verdict"])
        for row in judged
    ]
    assert told == [
        ("HKLM", "mode", "gpsvc.exe", "as policy"),
        ("HKLM", "mode", "evil.exe", "against policy"),
        ("HKLM", "mode", "evil.exe", "against policy"),
        ("HKLM", "old", "evil.exe", "against policy"),
        ("HKLM", "old", "gpsvc.exe", "as policy"),
        ("HKLM", "big", "blind.exe", "cannot tell"),
        ("HKLM", "big", "blind.exe", "against policy"),
        ("HKLM", "home", "a.exe", "setting"),
        ("HKLM", "nobody", "a.exe", "no policy"),
        ("HKU", "mode", "a.exe", "against policy"),
        ("HKU", "a", "gpsvc.exe", "as policy"),
        ("HKLM", "mode", "gpsvc.exe", "as policy"),
        ("HKLM", "mode", "late.exe", "against policy"),
    ]


def test_who_overwrote_the_policy_is_told_once(judged):
    overwrote = [(row["process"], row["policy_process"]) for row in judged if row["overwrote"]]
    assert overwrote == [("evil.exe", "gpsvc.exe")]
    assert [row["overwrote"] for row in judged if row["process"] == "late.exe"] == [False]  # it failed


def test_a_row_says_what_the_policy_is_and_where_it_stands(judged):
    row = judged[1]
    assert (row["new_text"], row["policy_text"], row["policy_type"]) == ("bad", "on", "REG_SZ")
    assert Path(row["policy_file"]).parts[-3:] == ("GroupPolicy", "Machine", "Registry.pol")
