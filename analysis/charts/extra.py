"""Altair and vl-convert, which the extra `plots` brings; where they are missing, one sentence says what to install."""

from tracer.errors import UsageError

try:
    import altair as alt
    import vl_convert
except ImportError as missing:
    raise UsageError("pictures need Altair and vl-convert: pip install 'regtrace[plots]'") from missing

__all__ = ["alt", "vl_convert"]
