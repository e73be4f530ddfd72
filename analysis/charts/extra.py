"""Altair and vl-convert, which the extra `plots` brings; where they are missing, one sentence says what to install."""

import sys

from tracer.errors import RegtraceError, UsageError

try:
    import altair as alt
    import vl_convert
except ImportError as missing:
    raise UsageError("pictures need Altair and vl-convert: pip install 'regtrace[plots]'") from missing

__all__ = ["alt", "vl_convert"]

# vl-convert draws with V8, which reserves so many addresses, without using them, and ends the process where it may not have
# them. Tried with vl-convert 1.9 on Linux: it ends with 64 GiB and draws with 80.
_ADDRESSES = 80 << 30

if sys.platform != "win32":  # which has no such limit
    import resource

    _limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if _limit != resource.RLIM_INFINITY and _limit < _ADDRESSES:
        raise RegtraceError(
            f"pictures need {_ADDRESSES >> 30} GiB of addresses, which the program that draws them reserves, and this process may "
            f"have {_limit >> 30} GiB: raise the limit (ulimit -v), or ask for rows"
        )
