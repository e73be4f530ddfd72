"""Procmon's CSV written by hand: each row of columns, in the form of any country."""

from collections.abc import Sequence

DEFAULT = ("Time of Day", "Process Name", "PID", "Operation", "Path", "Result", "Detail")
FULL = (
    *DEFAULT,
    "Date & Time",
    "Duration",
    "Image Path",
    "User",
    "Session",
    "Command Line",
    "TID",
    "Parent PID",
)
PLAIN = {
    "Time of Day": "1:18:10.7752429 PM",
    "Process Name": "app.exe",
    "PID": "932",
    "Operation": "RegQueryValue",
    "Path": r"HKLM\SOFTWARE\Vendor\Colour",
    "Result": "SUCCESS",
    "Detail": "",
    "Date & Time": "7/13/2020 1:18:10 PM",
    "Duration": "0.0000074",
    "Image Path": r"C:\bin\app.exe",
    "User": r"PC\alice",
    "Session": "1",
    "Command Line": '"C:\\bin\\app.exe" /y',
    "TID": "1568",
    "Parent PID": "572",
}


def csv_text(rows: Sequence[dict[str, str]], columns: Sequence[str] = FULL, delimiter: str = ",") -> str:
    """Return a file with these rows; columns that a row does not name are those of PLAIN."""
    lines = [delimiter.join(map(_quoted, columns))]
    lines += [delimiter.join(_quoted({**PLAIN, **row}[name]) for name in columns) for row in rows]
    return "\r\n".join(lines) + "\r\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
