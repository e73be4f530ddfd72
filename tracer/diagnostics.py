"""Diagnostics: named counters of everything unusual in a source, with severity and a sentence for users."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["COUNTERS", "Counter", "Diagnostics"]


@dataclass(frozen=True, slots=True)
class Counter:
    """The meaning of a counter; its severity is info, warning (a doubt) or loss (something is missing)."""

    severity: str
    meaning: str


COUNTERS = {
    "unfinalised_file": Counter("warning", "The trace was never stopped: its header has no end time."),
    "source_changed": Counter(
        "loss",
        "The file changed while it was read: it grew, was cut, or was written to. What it held when reading began was read, "
        "as far as it was still there, and its size and SHA-256 are of that; ingest it again when no program writes to it.",
    ),
    "cut_buffer": Counter(
        "loss", "The file ends inside a buffer; the records of that buffer that are whole were kept."
    ),
    "bad_buffer": Counter(
        "loss", "A buffer header makes no sense; reading stopped there or went on at the next sound one."
    ),
    "missing_buffers": Counter(
        "loss", "The log file header counts buffers that the file does not hold: it was cut."
    ),
    "odd_clock": Counter(
        "warning",
        "The log file header states an impossible clock or start time; times are not to be trusted.",
    ),
    "bad_compression": Counter(
        "loss", "A compressed buffer does not inflate to its stated size; it was left out."
    ),
    "bad_record": Counter(
        "loss", "A record's size or marker makes no sense; the rest of its buffer was left out."
    ),
    "zero_tail": Counter("info", "Preallocated space at the end of the file was never used."),
    "buffer_lost_flag": Counter("loss", "A buffer says that buffers before it were lost."),
    "events_lost_flag": Counter("loss", "A buffer says that events were lost while it was filled."),
    "header_events_lost": Counter(
        "loss", "The log file header counts events that were lost somewhere in the trace."
    ),
    "header_buffers_lost": Counter(
        "loss", "The log file header counts buffers that were lost somewhere in the trace."
    ),
    "time_backwards": Counter("warning", "Time goes backwards inside a buffer."),
    "clock_set_back": Counter(
        "warning",
        "The system clock that stamps the trace was set back: rows keep the order in which each processor logged "
        "them; between processors the order is approximate, and times come twice.",
    ),
    "late_record": Counter(
        "warning",
        "A record is older than records that were already released; it is sorted as late as it came.",
    ),
    "merged_header": Counter(
        "info", "A further log file header (merged files): only the first one sets the clock."
    ),
    "joined_trace": Counter(
        "info",
        "The file contains another trace after the first one; it is read as a source with its own clock.",
    ),
    "copied_source": Counter(
        "info", "A file that was given holds the same bytes as another one, or is the same; it was read once."
    ),
    "repeated_buffers": Counter(
        "info", "Buffers that another source holds too (parts of one recording that overlap); read once."
    ),
    "double_reports": Counter(
        "info", "Operations that both registry providers reported; each is one row, with what both say of it."
    ),
    "single_reports": Counter(
        "warning",
        "Operations that only one of the two registry providers in the trace reported, or whose two reports "
        "were not recognised as one: these are two rows.",
    ),
    "no_registry_events": Counter(
        "warning",
        "No registry operation is in the trace: nothing was done, or the session that wrote it had not enabled "
        "Microsoft-Windows-Kernel-Registry with the keywords of operations, or it is the file of another session "
        "(process events alone are no registry trace); `regtrace capture` records them.",
    ),
    "no_opens": Counter(
        "warning",
        "Operations on key objects in a trace without one open or create: the keywords 0x3000 of the registry "
        "provider were not enabled, so nothing names the objects; `regtrace capture` enables them.",
    ),
    "no_closes": Counter(
        "warning",
        "Opens in a trace without one close: the keyword 0x1 of the registry provider was not enabled, so objects "
        "seem to live until their address is used again; `regtrace capture` enables it.",
    ),
    "odd_extended_items": Counter(
        "warning", "The extended items of a record do not fit its size; its payload was left out."
    ),
    "unknown_registry_event": Counter(
        "warning", "A registry event with an unknown id or opcode; kept out of the rows."
    ),
    "unknown_event_version": Counter(
        "warning", "A newer version of a known event, read as far as the known layout goes."
    ),
    "short_payload": Counter(
        "loss", "A payload is shorter than its layout; the record was left out of the rows."
    ),
    "odd_payload": Counter(
        "loss", "A payload's names or sizes do not fit its length; the fields that do were kept."
    ),
    "name_ambiguous": Counter(
        "warning",
        "Embedded NULs allow more than one reading of a record; the likeliest was taken and flagged.",
    ),
    "rundown_records": Counter(
        "info", "Rundown records of key control blocks; they name rows and are not rows."
    ),
    "open_over_open": Counter("info", "A key object's address was opened again without a recorded close."),
    "close_of_closed": Counter("info", "A close of an object whose close was already recorded."),
    "unnamed_objects": Counter("warning", "Key objects that nothing in the trace names."),
    "late_named_objects": Counter("info", "Key objects that were named by evidence after their first use."),
    "key_too_long": Counter(
        "warning", "Keys whose path would pass the registry's limits; all below them is shown as one key."
    ),
    "seed_conflict": Counter(
        "warning", "The seed and the trace disagree about an object; the trace was taken."
    ),
    "rows_across_loss": Counter(
        "warning", "Rows whose name rests on evidence from before a loss (flag across_loss)."
    ),
    "evtx_odd_header": Counter(
        "warning",
        "The header of the event log fails its checksum or states impossible sizes; the chunks were read without it.",
    ),
    "evtx_dirty": Counter(
        "info",
        "The event log was copied while Windows had it open: its newest records may not be in the copy; "
        "`wevtutil export-log` copies a log whole.",
    ),
    "evtx_chunk_damaged": Counter(
        "warning",
        "A chunk of the event log fails its checksum or does not begin as one (the last one of a log that was open "
        "does so too); its records were kept as far as they could be decoded.",
    ),
    "evtx_chunk_hangs": Counter(
        "loss",
        "A chunk of the event log on which the decoder hung, crashed or ran out of memory; it was left out, and "
        "reading went on with the next one.",
    ),
    "evtx_chunk_broken_off": Counter(
        "loss",
        "A chunk of the event log on which the decoder failed half-way, or of which it made more than 16 MiB of text; "
        "the records before that were kept.",
    ),
    "evtx_record_damaged": Counter(
        "loss",
        "A record of the event log, or a stretch of a chunk where records should be, cannot be decoded; it was left out.",
    ),
    "evtx_chunks_beyond_header": Counter(
        "info",
        "Chunks that the header of the event log does not count (it was open, or damaged); they were read.",
    ),
    "evtx_records_beyond_header": Counter(
        "info",
        "Records after the end that the header of their chunk states (the log was open); they were read.",
    ),
    "evtx_cut": Counter(
        "loss", "The event log ends before its last chunk does; the records up to there were kept."
    ),
    "pml_bad_event": Counter("loss", "An event of the Procmon file cannot be read."),
    "pml_bad_detail": Counter(
        "warning", "The detail of a Procmon event cannot be read; the row was kept without it."
    ),
    "pml_other_events": Counter("info", "Events of the Procmon file that are not registry operations."),
    "pml_no_registry_events": Counter(
        "warning",
        "None of the log's events is a registry operation: Procmon's filter dropped them, or only events that were "
        "shown were saved; record with Show Registry Activity on and save All events.",
    ),
    "pml_repeated_events": Counter(
        "info", "Operations that another log holds too (saves of one recording that overlap); read once."
    ),
    "pml_cut": Counter(
        "loss", "Events the Procmon file promises but does not hold: it was cut, or never closed."
    ),
    "pml_bad_table": Counter(
        "loss", "An entry of the Procmon file's process or string table cannot be read."
    ),
    "pml_unknown_process": Counter(
        "warning", "Processes that events name and the Procmon file does not describe."
    ),
    "pml_unknown_operation": Counter(
        "loss", "Registry operations of a kind unknown to this version; left out of the rows."
    ),
    "pml_ambiguous_value": Counter(
        "warning",
        "Procmon paths that do not show where the key ends and the value name begins; the likeliest was taken and flagged.",
    ),
    "pml_user_unknown": Counter(
        "info", "Keys kept as HKCU: nothing in the Procmon file says whose they are."
    ),
    "hive_dirty": Counter(
        "warning",
        "The hive was not written as a whole, and no transaction log that belongs to it lies beside it: what it holds may "
        "be older than its time; copy NAME.LOG1 and NAME.LOG2 with it.",
    ),
    "hive_log_stale": Counter("info", "A transaction log holds nothing that the hive does not hold already."),
    "hive_log_dropped": Counter(
        "warning",
        "A transaction log was left out: it does not follow the one before, or the hive cannot be read after it.",
    ),
    "hive_odd_header": Counter("warning", "The checksum of the hive's base block does not fit."),
    "hive_cut": Counter("warning", "The hive states more bytes than the file holds: it was cut."),
    "hive_bad_list": Counter(
        "warning", "A key of the hive states more subkeys or values than can be read: the others are unknown."
    ),
    "hive_bad_key": Counter("warning", "A key of the hive cannot be read; what is below it is unknown."),
    "hive_lost_keys": Counter(
        "info", "Keys of a damaged hive that no list holds, and that name their parent: they were read."
    ),
    "hive_bad_value": Counter(
        "warning", "A value of the hive cannot be read; its key has more than is shown."
    ),
    "hive_bad_data": Counter("warning", "Data of a value of the hive cannot be read; it is unknown."),
    "hive_bad_class": Counter(
        "warning", "The class name of a key of the hive cannot be read; it is unknown."
    ),
    "log_bad_text": Counter(
        "warning",
        "Pieces of a text file that hold bytes which are no UTF-8 or UTF-16: read as code page 1252, or replaced by U+FFFD.",
    ),
    "log_bad_record": Counter(
        "loss",
        "Records of a log that cannot be read: cut, damaged, too long, or not in the form of the others.",
    ),
    "log_other_records": Counter(
        "info",
        "Records of a log that are no registry operations, or of a program whose records are not known.",
    ),
    "log_other_hosts": Counter(
        "info", "Records of other computers than the one that was asked for; left out."
    ),
    "log_no_time": Counter(
        "loss", "Records of a log without a readable time; left out, because they have no place in the order."
    ),
    "log_time_of_collector": Counter(
        "warning",
        "Records without the time of their operation: the time at which the event was written or collected was taken.",
    ),
    "log_no_target": Counter("warning", "Records of a log that name no key; rows without a key."),
    "log_no_registry_events": Counter(
        "warning",
        "No record of the log is a registry operation: the program that wrote it was not set up to log them, the export was "
        "filtered, or its form is not known; `--fields` names where its fields are.",
    ),
    "log_unclear_value": Counter(
        "warning",
        "Paths of values of which nothing proves where the key ends and the value's name begins; the likeliest was taken and flagged.",
    ),
    "log_no_zone": Counter(
        "warning",
        "The log has local times and does not say of which time zone: they were read as UTC; `--tz ZONE` says it (Europe/Berlin, "
        "+02:00).",
    ),
    "log_day_of_file": Counter(
        "warning",
        "The log has times without dates: the day on which it begins was taken from the time at which the file was last written; "
        "`--date YYYY-MM-DD` says it.",
    ),
    "log_unclear_date": Counter(
        "warning",
        "The dates of the log do not show whether the day or the month comes first: the month where its times have AM and PM, else "
        "the day; `--date YYYY-MM-DD`, the day on which it begins, decides it.",
    ),
    "defender_previous_type": Counter(
        "info",
        "Rows of Defender with data before a write, which has no type of its own: it was read as of the type of the new data, "
        "which its text fits.",
    ),
    "procmon_unclear_detail": Counter(
        "warning",
        "Rows of a Procmon export with a detail, data or a result of no known form; its text was kept in `detail`.",
    ),
    "procmon_joined_strings": Counter(
        "info",
        "Rows of a Procmon export with a REG_MULTI_SZ whose strings Procmon wrote as one text: where one ends is not known, so the "
        "data is unknown; its text was kept in `detail`.",
    ),
    "procmon_encoded_twice": Counter(
        "info",
        "Texts of a Procmon XML that were encoded as UTF-8 twice, as exports of some versions are; they were decoded once more.",
    ),
    "sysmon_no_event_type": Counter(
        "warning",
        "Records of Sysmon's event 12 without its EventType (collectors overwrite it): a key was created or deleted, or a value "
        "deleted; which, the record does not say.",
    ),
    "linked_reports": Counter(
        "info", "Reports of operations that another kind of source reported too: each is a part of that row."
    ),
    "unlinked_reports": Counter(
        "info",
        "Rows of operations that another source reports as well, and that it did not report, or whose reports were not "
        "recognised as one.",
    ),
    "raw_missing_field": Counter(
        "warning",
        "Decoded records that lack a field, or give a number that is none: what the provider logged behind it is unknown.",
    ),
    "raw_odd_data": Counter(
        "warning",
        "Captured bytes in decoded records that are left out, or in a form that does not fit their count; they are unknown.",
    ),
    "raw_odd_list": Counter(
        "warning", "Decoded records whose list of values cannot be read; their fields are unknown."
    ),
    "log_unknown_handles": Counter(
        "info",
        "Records that close a handle, or delete its object, where no record says that the handle is a key's (it may be a file's); "
        "left out.",
    ),
    "security_unclear_operation": Counter(
        "loss",
        "Records of event 4657 that do not say whether a value was set or deleted; left out.",
    ),
    "security_no_value_name": Counter(
        "warning",
        "Records of event 4657 without a name of the value, which collectors leave out where it is empty: taken as the default "
        "value.",
    ),
    "security_unread_data": Counter(
        "warning",
        "Data of values that the Security log writes in a form of which no document tells the bytes (REG_BINARY and others): the "
        "text is in `detail`, and data are unknown.",
    ),
    "security_no_result": Counter(
        "warning",
        "Requests for a handle that do not say whether they succeeded; their status is unknown.",
    ),
    "foreign_records": Counter("info", "Records of providers that are neither registry nor process."),
}


class Diagnostics:
    """Counts of one source; `first_offset` is the lowest offset at which each was counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, int | None] = {}

    def count(self, name: str, times: int = 1, *, offset: int | None = None) -> None:
        """Add `times` to the counter `name`; `offset` is the place in the source."""
        if name not in COUNTERS:
            raise KeyError(name)
        if times <= 0:
            return
        self._counts[name] = self._counts.get(name, 0) + times
        first = self._first.get(name)
        self._first[name] = offset if first is None or (offset is not None and offset < first) else first

    def withdraw(self, name: str) -> None:
        """Subtract one from the counter `name`; its first offset stays while the count is not 0."""
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name], self._first[name]

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def __iter__(self) -> Iterator[tuple[str, int, int | None]]:
        """Yield (name, count, first_offset), in the order of COUNTERS."""
        for name in COUNTERS:
            if name in self._counts:
                yield name, self._counts[name], self._first[name]

    def rows(self, source_id: int | None) -> list[dict[str, object]]:
        """Return the counters as rows of the table `diagnostics`."""
        return [
            {
                "source_id": source_id,
                "name": name,
                "severity": COUNTERS[name].severity,
                "count": count,
                "first_offset": first,
                "meaning": COUNTERS[name].meaning,
            }
            for name, count, first in self
        ]
