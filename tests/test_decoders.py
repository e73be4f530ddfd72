"""What well-known data says, against values made from the published formats, and against a real log."""

import codecs
import struct
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regtrace as rt
from tracer.registry.decoders import DECODERS, data_meaning

USER = r"HKU\S-1-5-21-1-2-3-1001\Software\Microsoft\Windows\CurrentVersion"
USER_ASSIST = rf"{USER}\Explorer\UserAssist\{{CEBFF5CD-ACE2-4F4F-9178-9926F41749EA}}\Count"
BAM = r"HKLM\SYSTEM\CurrentControlSet\Services\bam\State\UserSettings\S-1-5-21-1-2-3-1001"
MOMENT = datetime(2024, 5, 1, 12, 30, 45, 123456, UTC)


def filetime(moment: datetime) -> bytes:
    return ((moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10).to_bytes(
        8, "little"
    )


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


def entry(runs: int, focuses: int, focus_ms: int, last: datetime) -> bytes:
    return struct.pack("<IIII", 0, runs, focuses, focus_ms) + bytes(44) + filetime(last) + bytes(4)


NOTEPAD = codecs.encode(r"{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\notepad.exe", "rot13")
SYSTEM_TIME = struct.pack("<8H", 2024, 5, 3, 1, 12, 30, 45, 123)  # a Wednesday


@pytest.mark.parametrize(
    ("key", "value", "kind", "data", "meaning"),
    [
        (r"HKLM\SYSTEM\ControlSet001\Control\Windows", "ShutdownTime", 3, filetime(MOMENT), "2024-05-01T12:30:45.123456Z (FILETIME)"),
        (rf"{USER}\Search\RecentApps\x", "LastAccessedTime", 11, filetime(MOMENT), "2024-05-01T12:30:45.123456Z (FILETIME)"),
        (rf"{USER}\Search\JumplistData", "a.exe", 11, filetime(MOMENT), "2024-05-01T12:30:45.123456Z (FILETIME)"),
        (r"HKLM\A", "LastAccessedTime", 11, bytes(8), None),
        (r"HKLM\A", "LastAccessedTime", 11, filetime(MOMENT)[:7], None),
        (r"HKLM\A", "Other", 11, filetime(MOMENT), None),
        (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "InstallDate", 4, (1_714_566_645).to_bytes(4, "little"), "2024-05-01T12:30:45Z (Unix time)"),
        (r"HKLM\SOFTWARE\Vendor", "InstallDate", 4, (1_714_566_645).to_bytes(4, "little"), None),
        (r"HKLM\A\Profiles\{x}", "DateCreated", 3, SYSTEM_TIME, "2024-05-01T12:30:45.123 of no stated zone (SYSTEMTIME)"),
        (r"HKLM\A\Profiles\{x}", "DateCreated", 3, struct.pack("<8H", 2024, 5, 4, 1, 12, 30, 45, 123), None),  # no Thursday
        (r"HKLM\A", "MachineGuid", 3, uuid.UUID("{00021401-0000-0000-C000-000000000046}").bytes_le, "{00021401-0000-0000-C000-000000000046} (GUID)"),
        (r"HKLM\A\ProfileList\x", "Sid", 3, bytes.fromhex("010500000000000515000000010000000200000003000000e9030000"), "S-1-5-21-1-2-3-1001 (SID)"),
        (r"HKLM\A\ProfileList\x", "Sid", 3, bytes.fromhex("0105000000000005150000000100"), None),
        (USER_ASSIST, NOTEPAD, 3, entry(23, 7, 98_000, MOMENT), r"23 runs, 7 times in front for 98 s, last run 2024-05-01T12:30:45.123456Z, System32\notepad.exe (UserAssist)"),
        (USER_ASSIST, NOTEPAD, 3, entry(1, 7, 98_000, MOMENT)[:16], r"1 run, 7 times in front for 98 s, System32\notepad.exe (UserAssist)"),
        (USER_ASSIST, codecs.encode("UEME_CTLSESSION", "rot13"), 3, bytes(1612), "sums of a session, UEME_CTLSESSION (UserAssist)"),
        (BAM, r"\Device\HarddiskVolume4\Windows\notepad.exe", 3, filetime(MOMENT) + bytes(16), "last run 2024-05-01T12:30:45.123456Z (BAM)"),
        (BAM, "SequenceNumber", 4, bytes(4), None),
        (rf"{USER}\Explorer\RecentDocs\.txt", "MRUListEx", 3, struct.pack("<4I", 2, 0, 1, 2**32 - 1), "2, 0, 1, newest first (MRUListEx)"),
        (rf"{USER}\Explorer\RecentDocs\.txt", "MRUListEx", 3, struct.pack("<2I", 2, 0), "2, 0, ..., newest first (MRUListEx)"),
        (rf"{USER}\Explorer\RecentDocs", "MRUListEx", 3, struct.pack("<I", 2**32 - 1), "empty (MRUListEx)"),
        (rf"{USER}\Explorer\RunMRU", "MRUList", 1, wide("ba\0"), "b, a, newest first (MRUList)"),
        (rf"{USER}\Explorer\RunMRU", "a", 1, wide("cmd\\1\0"), "cmd (RunMRU)"),
        (rf"{USER}\Explorer\RecentDocs", "4", 3, wide("Größe.txt\0") + b"\x14\0\x1f", "Größe.txt (RecentDocs)"),
        (rf"{USER}\Explorer\RecentDocs", "4", 3, wide("Größe.t"), "Größe.t... (RecentDocs)"),
        (None, "MRUList", 1, wide("ba\0"), None),
        (r"HKLM\A", None, 1, wide("ba\0"), None),
        (r"HKLM\A", "MRUList", None, wide("ba\0"), None),
        (r"HKLM\A", "MRUList", 1, None, None),
    ],
)  # fmt: skip
def test_data_of_a_published_format_says_what_it_holds(key, value, kind, data, meaning) -> None:
    assert data_meaning(key, value, kind, data) == meaning


_keys = st.sampled_from([USER_ASSIST, BAM, rf"{USER}\Explorer\RecentDocs", rf"{USER}\Explorer\RunMRU", r"HKLM\Microsoft\Windows NT\CurrentVersion"])  # fmt: skip
_values = st.sampled_from(["MRUListEx", "MRUList", "a", "4", "xTime", "DateCreated", "Sid", "ClassId", "InstallDate"])  # fmt: skip


@settings(deadline=None)
@given(
    st.one_of(_keys, st.text()), st.one_of(_values, st.text()), st.integers(0, 12),
    st.one_of(st.binary(max_size=80), st.binary(min_size=16, max_size=16), st.text(max_size=9).map(lambda t: t.encode("utf-16-le", "surrogatepass"))),
)  # fmt: skip
def test_no_data_breaks_a_decoder(key: str, value: str, kind: int, data: bytes) -> None:
    meaning = data_meaning(key, value, kind, data)
    if meaning is not None:
        meaning.encode()
        assert meaning.endswith(tuple(f" ({decoder.name})" for decoder in DECODERS))


def test_every_decoder_has_a_source() -> None:
    assert all(decoder.source.startswith("https://") for decoder in DECODERS)


@pytest.mark.slow
def test_a_real_log_tells_when_programs_ran(procmon_capture: Path) -> None:
    """BAM writes the time at which it writes; UserAssist counts up: 21 runs of Notepad became 23."""
    with rt.open(procmon_capture) as capture:
        rows = capture.timeline(columns=["time", "operation", "data_meaning"])
        said = rows[rows["data_meaning"].notna()]
        writes = said[(said["operation"] == "SetValueKey") & said["data_meaning"].str.endswith("(BAM)")]
        assert len(writes) == 4
        for time, meaning in zip(writes["time"], writes["data_meaning"], strict=True):
            written = datetime.fromisoformat(meaning.removeprefix("last run ").removesuffix(" (BAM)"))
            assert abs(time - written) < timedelta(seconds=4)
        (change,) = capture.changes(value="ABGRCNQ.RKR").to_dict("records")
    assert change["before_meaning"].startswith("21 runs, ")
    assert change["after_meaning"].startswith("23 runs, ")
    assert change["after_meaning"].endswith(r"System32\NOTEPAD.EXE (UserAssist)")
