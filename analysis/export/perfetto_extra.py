"""Perfetto's messages, which the extra `perfetto` brings; where it is missing, one sentence says what to install."""

from tracer.errors import UsageError

try:
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
except ImportError as missing:
    raise UsageError(
        "the format perfetto needs Perfetto's messages: pip install 'regtrace[perfetto]'"
    ) from missing

__all__ = ["protos"]
