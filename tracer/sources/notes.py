"""Notes: sentences about the sources that a user should see right after the ingest.

A note is a counter of `tracer.diagnostics` that changes what a capture is, not only how complete it is. The manifest
keeps them under `settings`, `notes`.
"""

from collections.abc import Sequence

from tracer.diagnostics import COUNTERS, Diagnostics

__all__ = ["NOTED", "notes"]

NOTED = (
    "source_changed", "copied_source", "joined_trace", "repeated_buffers", "double_reports", "clock_set_back", "no_registry_events", "no_opens", "no_closes",
    "pml_no_registry_events",
    "pml_repeated_events",
    "log_no_registry_events", "log_no_time", "log_time_of_collector", "log_unclear_value", "sysmon_no_event_type",
    "log_no_zone", "log_day_of_file", "log_unclear_date", "procmon_unclear_detail",
)  # fmt: skip


def notes(names: Sequence[str], diagnostics: Sequence[Diagnostics]) -> list[str]:
    """Return one sentence for each noted counter of each source; `names` are the sources'."""
    sentences = []
    for name, counters in zip(names, diagnostics, strict=True):
        for counter in NOTED:
            if count := counters[counter]:
                times = f" ({count:,} times)" if count > 1 else ""
                sentences.append(f"{name}: {COUNTERS[counter].meaning}{times}")
    return sentences
