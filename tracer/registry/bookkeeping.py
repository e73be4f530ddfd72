r"""Bookkeeping: keys in which Windows and Explorer note what a user did; their changes say little of a program.

They are evidence of use, so nothing leaves them out by itself: `--fold noise` of `changes` and `diff` does.
"""

from functools import cache
from typing import NamedTuple

from tracer.registry.paths import KeyPattern, compile_pattern

__all__ = ["BOOKKEEPING", "Bookkeeping", "is_bookkeeping"]


class Bookkeeping(NamedTuple):
    """A key, and everything below it.

    Attributes:
        reason: what is noted there.
        pattern: of the display path (`tracer.registry.paths.compile_pattern`).
        source: where that is described.
    """

    reason: str
    pattern: str
    source: str


_EXPLORER = r"Software\Microsoft\Windows\CurrentVersion\Explorer"
_KB = "libyal/winreg-kb, page"
BOOKKEEPING = (
    Bookkeeping("names of programs shown once", r"HKU\*\Local Settings\MuiCache", f"{_KB} MUICache"),
    Bookkeeping("names of programs shown once", r"HKU\*\Software\Microsoft\Windows\ShellNoRoam\MUICache", f"{_KB} MUICache"),
    Bookkeeping("programs started, and how often", rf"HKU\*\{_EXPLORER}\UserAssist", f"{_KB} User Assist"),
    Bookkeeping("when programs last ran", r"HKLM\SYSTEM\*\Services\bam", f"{_KB} Background Activity Moderator"),
    Bookkeeping("when programs last ran", r"HKLM\SYSTEM\*\Services\dam", f"{_KB} Background Activity Moderator"),
    Bookkeeping("documents opened", rf"HKU\*\{_EXPLORER}\RecentDocs", f"{_KB} Most Recently Used"),
    Bookkeeping("files chosen in dialogs", rf"HKU\*\{_EXPLORER}\ComDlg32", f"{_KB} Most Recently Used"),
    Bookkeeping("commands typed", rf"HKU\*\{_EXPLORER}\RunMRU", f"{_KB} Most Recently Used"),
    Bookkeeping("paths typed", rf"HKU\*\{_EXPLORER}\TypedPaths", f"{_KB} Most Recently Used"),
    Bookkeeping("searches typed", rf"HKU\*\{_EXPLORER}\WordWheelQuery", f"{_KB} Most Recently Used"),
    Bookkeeping("folders opened, and how they looked", r"HKU\*\**\Microsoft\Windows\Shell\BagMRU", f"{_KB} Shell Bags"),
    Bookkeeping("folders opened, and how they looked", r"HKU\*\**\Microsoft\Windows\Shell\Bags", f"{_KB} Shell Bags"),
    Bookkeeping("folders opened, and how they looked", r"HKU\*\Software\Microsoft\Windows\ShellNoRoam\Bag*", f"{_KB} Shell Bags"),
)  # fmt: skip


def is_bookkeeping(display_key: str) -> bool:
    r"""Tell whether a key is one of BOOKKEEPING, or below one; ``HKCU\...`` counts as any user's.

    >>> is_bookkeeping(r"HKU\S-1-5-21-1-2-3-1001\Software\Microsoft\Windows\CurrentVersion\Explorer\RunMRU")
    True
    """
    root, _, rest = display_key.partition("\\")
    path = f"HKU\\S-1-5-21-0-0-0-1000\\{rest}" if root == "HKCU" else display_key
    return any(pattern.matches(path) for pattern in _patterns())


@cache
def _patterns() -> tuple[KeyPattern, ...]:
    return tuple(compile_pattern(one.pattern, subtree=True) for one in BOOKKEEPING)
