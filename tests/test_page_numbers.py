"""Numbers in the pages are those of the code: each sentence is filled in from the constant, and has to stand in its page."""

from pathlib import Path

import pytest

from analysis.answers.redundant import LEAST_PERIOD_NS
from cli.output import answer_columns, destination
from cli.tables import diff, history, timeline
from tracer.checks import doctor
from tracer.decode.payload import CAPTURE_LIMIT
from tracer.etl.reader import CHUNK_BYTES
from tracer.ingest import absence, kernels
from tracer.live import monitor, watch
from tracer.recording.autologger import BootOptions, boot_writes
from tracer.resolve.object_ops import GRACE_NS
from tracer.rows import ambiguous_names, double_reports
from tracer.sources import machines, unpack

ROOT = Path(__file__).resolve().parents[1]
MILLISECOND, SECOND = 1_000_000, 1_000_000_000
WORDS = {1: "one", 2: "two", 3: "three", 10: "ten", 11: "eleven", 100: "a hundred"}
LIMIT, CHUNK = f"{CAPTURE_LIMIT:,}", f"{CHUNK_BYTES >> 20} MiB"
GIB, MIB = 30, 20
BOOT_KEYS = [write.key for write in boot_writes(BootOptions())]
BOOT_VALUES, BOOT_PROVIDERS = BOOT_KEYS.count(min(BOOT_KEYS, key=len)), len(set(BOOT_KEYS)) - 1

SENTENCES = [
    ("docs/names.md", f"for **{WORDS[GRACE_NS // SECOND]} second** after its close"),
    ("docs/names.md", f"At most {ambiguous_names._MOST_RUNS} objects in a chunk of {CHUNK} are looked at so"),
    ("docs/names.md", f"({LIMIT} bytes at most)"),
    ("docs/names.md", f"the provider copies at most {LIMIT}"),
    ("docs/cli.md", f"below {answer_columns._NARROW} columns times end with milliseconds"),
    ("docs/cli.md", f"below {timeline._NARROW} columns times end with milliseconds"),
    ("docs/cli.md", f"below {history._NARROW} columns times end with milliseconds"),
    ("docs/cli.md", f"Beyond {destination._TABLE_ROWS:,} rows the headings are repeated"),
    (
        "docs/cli.md",
        f"never shows more than {timeline.DATA_WIDTH} letters, or {timeline._BYTES} bytes in hex",
    ),
    ("docs/cli.md", f"(`diff`: {diff._BYTES})"),
    (
        "docs/formats.md",
        f"in pieces of {unpack._PIECE >> MIB} MiB and may become {unpack._MOST_RATIO} times its size",
    ),
    (
        "docs/formats.md",
        f"or {unpack._ALWAYS >> GIB} GiB if that is more; {unpack._SPARE >> MIB} MiB of the disk",
    ),
    ("docs/formats.md", f"at most {unpack._MOST_MEMBERS:,} members"),
    ("docs/formats.md", f"boot times more than {machines.BOOT_TOLERANCE_NS // SECOND} s apart"),
    ("docs/formats.md", f"a boot time more than {machines.BOOT_NOISE_NS // SECOND} s after the end"),
    (
        "docs/formats.md",
        f"no earlier than {double_reports.SLACK_NS / MILLISECOND:g} ms before the call began",
    ),
    ("docs/formats.md", f"followed by the other within {double_reports.AFTERWARDS_NS // MILLISECOND} ms"),
    ("docs/formats.md", f"on both sides of a chunk of {CHUNK}"),
    ("docs/formats.md", f"| {WORDS[absence.MANY_OPENS]} opens or more, and no close |"),
    ("docs/callbacks.md", f"is still delivered, for {WORDS[int(monitor._PATIENCE)]} seconds at most"),
    ("docs/callbacks.md", f"ETW records at most {CAPTURE_LIMIT} bytes"),
    ("docs/capture.md", f"up to {LIMIT} bytes each"),
    ("docs/doctor.md", f"the provider copies {LIMIT} at most"),
    ("docs/doctor.md", f"`EtwMaxLoggers`, {doctor._DEFAULT_LIMIT} where it is not set"),
    ("docs/doctor.md", f"{doctor._GOOD_FREE >> GIB} GiB is fine, below {doctor._LEAST_FREE >> MIB} MiB"),
    (
        "docs/capture.md",
        f"rows that wait are shown for {'a' if watch._PATIENCE == 1 else watch._PATIENCE} second",
    ),
    ("docs/capture.md", f"The files of {WORDS[BootOptions().boots]} boots are kept"),
    ("docs/capture.md", f"`enable` writes {WORDS[BOOT_VALUES]} values and {WORDS[BOOT_PROVIDERS]} providers"),
    ("docs/questions.md", f"at equal intervals of {LEAST_PERIOD_NS // MILLISECOND} ms or more"),
    ("README.md", f"A trace of {kernels.COMPILE_BYTES >> MIB} MiB or more compiles them once"),
    ("README.md", f"They are used from {kernels.LOAD_BYTES >> MIB} MiB on"),
]


@pytest.mark.parametrize(
    ("page", "sentence"), SENTENCES, ids=[f"{Path(p).stem}-{s[:40]}" for p, s in SENTENCES]
)
def test_a_number_of_a_page_is_the_codes(page: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / page).read_text(encoding="utf-8").split())
