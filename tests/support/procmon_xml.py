"""Procmon's XML written by hand: a list of processes, and the events of a CSV's rows."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from procmon_csv import FULL, PLAIN

PROCESS = {
    "ProcessIndex": "1", "ProcessId": "932", "ParentProcessId": "572", "ParentProcessIndex": "0",
    "AuthenticationId": "00000000:0000fde3", "CreateTime": "132389902831234567", "FinishTime": "0", "IsVirtualized": "0",
    "Is64bit": "1", "Integrity": "Medium", "Owner": r"PC\alice", "ProcessName": "app.exe", "ImagePath": r"C:\bin\app.exe",
    "CommandLine": '"C:\\bin\\app.exe" /y', "CompanyName": "Vendor", "Version": "1.0", "Description": "An app",
}  # fmt: skip
MODULES = "<modulelist><module><Timestamp>0</Timestamp><BaseAddress>0x1</BaseAddress><Path>C:\\x.dll</Path></module></modulelist>"
STACK = "<stack><frame><depth>0</depth><address>0x1</address><path>C:\\x.dll</path></frame></stack>"


def tag(title: str) -> str:
    """Return the name of the element that a column becomes."""
    return "".join(letter if letter.isalnum() else "_" for letter in title)


def xml_text(
    rows: Sequence[dict[str, str]],
    columns: Sequence[str] = FULL,
    processes: Sequence[dict[str, str]] = (PROCESS,),
) -> str:
    """Return a file with these events; columns that a row does not name are those of PLAIN."""
    listed = "".join(f"<process>\r\n{_children(process)}{MODULES}</process>\r\n" for process in processes)
    events = "".join(
        f"<event>\r\n<ProcessIndex>{row.get('ProcessIndex', '1')}</ProcessIndex>\r\n"
        + _children({tag(name): {**PLAIN, **row}[name] for name in columns})
        + f"{STACK}</event>\r\n"
        for row in rows
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<procmon><processlist>'
        f"{listed}</processlist><eventlist>{events}</eventlist></procmon>\r\n"
    )


def _children(fields: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(text)}</{name}>\r\n" for name, text in fields.items())
