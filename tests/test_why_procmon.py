"""Why ten values of a real Procmon log were written: checked by hand, and link by link against the log as Procmon's CSV has it."""

from collections import defaultdict

import pytest
from procmon_oracle import csv_rows, csv_time_ns

import regtrace as rt

LOG = "pml/pp-LogfileTests64bitUTC"
EXPLORER = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer"
RECENT = (
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\Search\RecentApps\{DFCE65C7-EC26-40D7-9D19-09E06531D69A}"
)
USER_ASSIST = rf"{EXPLORER}\UserAssist\{{CEBFF5CD-ACE2-4F4F-9178-9926F41749EA}}\Count"
MUI = r"Software\Classes\Local Settings\MuiCache\8\52C64B7E"
EDGE = (
    r"HKCU\Software\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppContainer\Storage"
    r"\microsoft.microsoftedge_8wekyb3d8bbwe\MicrosoftEdge\ServiceUI"
)
BAM = r"HKLM\SYSTEM\CurrentControlSet\Services\bam\UserSettings\S-1-5-21-*-1001"
NOTEPAD = r"\Device\HarddiskVolume4\Windows\System32\notepad.exe"
# key, value -> pid and thread that wrote it last; then the first cause: the value that was read, its rules, the thread that had
# written that last (None: no write of it before is in the log)
BY_HAND = {
    (RECENT, "LaunchCount"): (3596, 6744, "AppId", "recent read", None),
    (RECENT, "AppPath"): (3596, 6744, "AppId", "recent read", None),
    (rf"{EXPLORER}\RecentDocs\.txt", "MRUListEx"): (3596, 5364, "MRUListEx", "recent read, same value", 5364),
    (rf"{EXPLORER}\RecentDocs\Folder", "MRUListEx"): (3596, 5364, "MRUListEx", "recent read, same value, same data", 5364),
    (rf"{EXPLORER}\RecentDocs", "MRUListEx"): (3596, 5364, "MRUListEx", "same value", 5364),
    (USER_ASSIST, "HRZR_PGYFRFFVBA"): (3596, 4988, "Zvpebfbsg.Jvaqbjf.Rkcybere", "recent read", 4988),
    (rf"HKCU\{MUI}", "LanguageList"): (3596, 1028, "StringCacheGeneration", "recent read", None),
    (rf"HKU\.DEFAULT\{MUI}", "LanguageList"): (6908, 6488, "StringCacheGeneration", "recent read", None),
    (EDGE, "IsSignedIn"): (4876, 6952, "IsSignedIn", "same value, same short data", None),
    (BAM, NOTEPAD): (2632, 4116, NOTEPAD, "recent read, same value", 684),
}  # fmt: skip
OPERATIONS = {
    "RegQueryValue": "QueryValueKey",
    "RegEnumValue": "EnumerateValueKey",
    "RegSetValue": "SetValueKey",
    "RegDeleteValue": "DeleteValueKey",
    "RegDeleteKey": "DeleteKey",
}


@pytest.mark.slow
def test_ten_values_of_a_real_log_have_the_causes_that_were_found_by_hand(corpus, procmon_capture):
    told = defaultdict(list)  # several rows of one thread may have one microsecond
    for row in csv_rows(corpus / f"{LOG}.csv.gz"):
        if row["Operation"] in OPERATIONS:
            moment = csv_time_ns(row) // 1000
            told[moment, int(row["PID"]), int(row["TID"]), OPERATIONS[row["Operation"]]].append(row)
    links = 0
    with rt.open(procmon_capture) as capture:
        for (key, value), (pid, thread, first, rules, before) in BY_HAND.items():
            found = capture.why(key, value, depth=2)
            assert (found.pid[0], found.thread_id[0]) == (pid, thread), key
            causes = found[found.direction == "cause"]
            top = causes.iloc[0]
            assert (top.value_name, top.rules) == (first, rules), key
            above = found[found.of == top.link]
            assert ([] if before is None else [before]) == above.thread_id.tolist(), key
            for row in found[found.direction != "who"].itertuples():
                moment = int(row.time.value // 1000)
                name = "(Default)" if row.value_name == "" else row.value_name
                ends = "" if row.operation in ("EnumerateValueKey", "DeleteKey") else f"\\{name}".upper()
                lines = [
                    line
                    for line in told[moment, row.pid, row.thread_id, row.operation]
                    if line["Path"].upper().endswith(ends)
                    and line["Result"] == ("NAME NOT FOUND" if row.what == "missing" else "SUCCESS")
                ]
                assert lines, (key, row.display_key, row.value_name, row.time)
                links += 1
            writes = [
                one
                for (*_, operation), listed in told.items()
                for one in listed
                if operation in ("SetValueKey", "DeleteValueKey")
                and one["Path"].upper() == rf"{key}\{value}".upper()
                and one["Result"] == "SUCCESS"
            ]
            if "*" not in key:
                assert max(map(csv_time_ns, writes)) // 1000 == int(found.time[0].value // 1000), key
    assert links > 60
