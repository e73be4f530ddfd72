"""The drives of this machine, and the volume that each is: the kernel names images by their volume."""

import ctypes
import string
import sys
from ctypes import c_uint32, c_wchar_p

from tracer.windows.system_calls import bind

__all__ = ["read_drives"]

_IS_WINDOWS = sys.platform == "win32"
_MOST_LETTERS = 1024  # a device's name is shorter


def read_drives() -> dict[str, str] | None:
    r"""Return the drive of each device, such as ``{"\\Device\\HarddiskVolume3": "C:"}``; None on other systems.

    Of several drives on one device, as `subst` makes none but mount tools do, the first counts. Source: Microsoft Learn,
    QueryDosDeviceW.
    """
    if not _IS_WINDOWS:
        return None
    query = bind("kernel32", QueryDosDeviceW=(c_uint32, c_wchar_p, c_wchar_p, c_uint32)).QueryDosDeviceW
    found: dict[str, str] = {}
    for letter in string.ascii_uppercase:
        device = ctypes.create_unicode_buffer(_MOST_LETTERS)
        if query(f"{letter}:", device, _MOST_LETTERS) and device.value.startswith("\\Device\\"):
            found.setdefault(device.value, f"{letter}:")
    return found
