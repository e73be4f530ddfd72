"""Addresses in object storage, where a path is expected: `s3://bucket/fleet/host.regtrace`."""

from pathlib import PurePath

__all__ = ["SCHEME", "address_of", "is_address"]

SCHEME = "s3:"


def is_address(path: PurePath | str) -> bool:
    """Tell whether this is an address in object storage and no path; `Path` writes its two slashes as one.

    >>> is_address("s3://bucket/a.regtrace"), is_address(PurePath("s3://bucket/a")), is_address("s3/a")
    (True, True, False)
    """
    return PurePath(path).parts[:1] == (SCHEME,)


def address_of(path: PurePath | str) -> str:
    """Return an address as people write it.

    >>> address_of(PurePath("s3://bucket/fleet/"))
    's3://bucket/fleet'
    """
    return f"{SCHEME}//{'/'.join(PurePath(path).parts[1:])}"
