"""Names that Windows keeps for devices: no file and no folder can have them."""

import re

__all__ = ["is_device_name"]

# Naming Files, Paths, and Namespaces (Microsoft): with any ending, any case
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9]|LPT[0-9])(?=[ .]|\Z)", re.IGNORECASE)


def is_device_name(name: str) -> bool:
    """Return whether Windows takes a file of this name for a device.

    >>> is_device_name("con.txt"), is_device_name("console")
    (True, False)
    """
    return _DEVICE.match(name) is not None
