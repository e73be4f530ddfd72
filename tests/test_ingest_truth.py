"""Captures of simulated traces against the truth: what happened, row by row, whatever the file is like.

No name may be wrong unless its row says that it may be (flags across_loss and name_ambiguous), and every name
that can be known is known.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dissect.util.compression.lzxpress import decompress
from plain_returned import listed_name, plain_parts
from schema_rules import broken_rules

from tracer.ingest.pipeline import ingest
from tracer.registry.operations import BY_NAME
from tracer.registry.text import fold_name
from tracer.schema import FLAGS
from tracer.simulate import SimulationOptions, simulate
from tracer.simulate.run import Summary
from tracer.store.manifest import Manifest

HOSTILE = {"nul_names": 0.05, "surrogate_names": 0.05, "hostile_names": 0.1}
OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "narrow": {"pointer_size": 4},
    "filled": {"option_word": 7},
    "filled_late": {"option_word": 7, "option_from": 0.5, "fill_share": 0.5},
    "bare": {"option_word": 0},
    "classic": {"classic": True},
    "classic_narrow": {"classic": True, "pointer_size": 4, "rundown_begin": True},
    "extended": {"extended": 0.3},
    "newer": {"newer_version": 0.2},
    "preopened": {"preopened": 500, "option_word": 0},
    "seeded": {"preopened": 500, "option_word": 0, "seed_table": True},
    "late_close": {"late_close": 0.3},
    "lost_close": {"lost_close": 0.2},
    "links": {"links": 0.3},
    "hostile": HOSTILE,
    "hostile_filled": {**HOSTILE, "option_word": 7},
    "hostile_mixed": {**HOSTILE, "option_word": 7, "fill_share": 0.5},
    "compressed": {"compressed": True},
    "zeros": {"zeros_mib": 1},
    "circular": {"circular_mib": 1, "events": 12_000},
    "unfinalised_cut": {"unfinalised": True, "cut": True},
    "lost_buffers": {"lost_buffers": 0.1, "preopened": 200},
    "lost_events": {"lost_events": 0.05},
    "system_clock": {"clock": 2},
    "cycles": {"clock": 3},
    "disorder": {"disorder": 50, "flush_ms": 50},
    "foreign": {"foreign": 0.5},
}
LOSSY = {"circular", "unfinalised_cut", "lost_buffers", "lost_events"}
DOUBT = FLAGS["across_loss"] | FLAGS["name_ambiguous"]
UNNAMED = ("none", "partial")
CAPTURE_LIMIT = 2048


@dataclass(frozen=True)
class Pair:
    """A record in the truth and its row in the capture; `key` is the row of `keys` it points to."""

    truth: dict
    row: dict
    key: dict
    process: dict

    @property
    def source(self) -> str | None:
        return self.row["name_source"] or self.key["name_source"]

    @property
    def is_right(self) -> bool:
        """Whether the name is the key's own path, or that as the requests spelled it."""
        got = fold_name(self.key["path"])
        return got in (fold_name(self.truth["path"]), fold_name(self.truth["spelled_path"]))


@dataclass(frozen=True)
class Job:
    """A simulated trace, its capture, and the two laid side by side."""

    summary: Summary
    target: Path
    manifest: Manifest
    pairs: list[Pair]

    def table(self, name: str) -> list[dict]:
        return pq.read_table(self.target / f"{name}.parquet").to_pylist()


def rows_of(target: Path, manifest: Manifest) -> list[dict]:
    """Return all event rows by sequence."""
    rows = [row for part in manifest.parts for row in pq.read_table(target / part["file"]).to_pylist()]
    return sorted(rows, key=lambda row: row["sequence"])


def run(folder: Path, options: SimulationOptions, name: str = "a") -> Job:
    summary = simulate(folder / f"{name}.etl", options)
    target = folder / f"{name}.regtrace"
    manifest = ingest([summary.path], target, seed=summary.seed)
    truth = [row for row in pq.read_table(summary.truth).to_pylist() if not row["lost"]]
    truth.sort(key=lambda row: row["ticks"])  # no two records of the simulator have the same
    rows = rows_of(target, manifest)
    assert len(rows) == len(truth)
    keys = {row["key_id"]: row for row in pq.read_table(target / "keys.parquet").to_pylist()}
    processes = {row["process_id"]: row for row in pq.read_table(target / "processes.parquet").to_pylist()}
    pairs = [
        Pair(a, b, keys[b["key_id"]], processes[b["process_id"]]) for a, b in zip(truth, rows, strict=True)
    ]
    return Job(summary, target, manifest, pairs)


@pytest.fixture(scope="module", params=OPTIONS)
def job(request, tmp_path_factory) -> tuple[str, SimulationOptions, Job]:
    name = request.param
    options = SimulationOptions(**{"events": 2000, "seed": 3, **OPTIONS[name]})  # type: ignore[arg-type]
    return name, options, run(tmp_path_factory.mktemp(name), options)


def test_every_record_of_the_file_is_a_row_with_its_own_facts(job):
    _, options, found = job
    for pair in found.pairs:
        truth, row = pair.truth, pair.row
        closes = truth["operation"] == "CloseKey" and not options.classic
        assert (row["operation"], row["time_ns"], row["cpu"], row["thread_id"]) == (
            truth["operation"], truth["time_ns"], truth["cpu"], truth["tid"])  # fmt: skip
        assert row["status"] == (None if closes else truth["status"])
        assert row["notify_class"] == BY_NAME[truth["operation"]].notify_class
        assert pair.process["pid"] == truth["pid"]
    assert found.manifest.totals["events"] == len(found.pairs)
    assert sum(found.manifest.totals["names"].values()) == len(found.pairs)


def test_every_column_means_what_the_page_on_the_schema_says(job):
    _, _, found = job
    assert list(broken_rules(found.target)) == []


def test_names_that_callers_gave_are_the_rows_names(job):
    _, _, found = job
    for pair in found.pairs:
        if not pair.row["flags"] & FLAGS["name_ambiguous"]:
            assert pair.row["value_name"] == listed_name(pair.truth, pair.row)
            assert pair.row["requested_name"] == pair.truth["requested_name"]


def test_data_is_what_was_captured_of_it(job):
    name, options, found = job
    seen = previously = 0
    for pair in found.pairs:
        truth, row = pair.truth, pair.row
        if row["flags"] & FLAGS["name_ambiguous"] or options.classic:
            continue
        word = truth["option_word"]
        captured = truth["data"] if word & 2 and truth["status"] < 0x8000_0000 else None
        captured_first = (captured or b"")[:CAPTURE_LIMIT]
        kind, size, data = row["data_type"], row["data_size"], captured_first
        if truth["operation"] in ("QueryValueKey", "EnumerateValueKey"):
            kind, size, data, _ = plain_parts(row["information_class"], captured_first)
            assert captured is None or (kind, size) == (row["data_type"], row["data_size"])
        elif truth["operation"] != "SetValueKey":
            kind = size = data = None
        assert row["data"] == (data or None)
        assert captured is None or (row["data_type"], row["data_size"]) == (kind, size)
        assert bool(row["flags"] & FLAGS["data_truncated"]) == (len(captured or b"") > CAPTURE_LIMIT)
        before = truth["previous_data"] if word & 4 else None
        assert row["previous_data"] == ((before or b"")[:CAPTURE_LIMIT] or None)
        # A value of type NONE without data cannot be told from none.
        assert row["previous_size"] in (
            None if not before else len(before),
            None if before is None else len(before),
        )
        if truth["operation"] == "SetValueKey":
            assert row["data_size"] == len(truth["data"])
        seen += row["data"] is not None
        previously += row["previous_data"] is not None
    captures = not options.classic and options.option_word
    assert (seen > 100, previously > 10) == (bool(captures), bool(captures)), name


def test_no_name_is_wrong_unless_its_row_says_that_it_may_be(job):
    name, _, found = job
    named = [pair for pair in found.pairs if pair.source not in UNNAMED]
    wrong = [pair for pair in named if not pair.is_right]
    assert [pair.truth for pair in wrong if not pair.row["flags"] & DOUBT] == []
    assert not wrong or name in LOSSY or name.startswith("hostile")
    assert len(named) > len(found.pairs) // 3


def doubtful_lives(pairs: list[Pair]) -> set[int]:
    """Return the objects that a record with more than one reading names, and what was opened below them.

    Such a record does not name earlier rows: they could not say that there is a doubt.
    """
    lives: set[int] = set()
    for pair in pairs:
        truth, doubt = pair.truth, pair.row["flags"] & FLAGS["name_ambiguous"]
        lives |= {life for life in (truth["life"], truth["base_life"]) if doubt and life is not None}
    for pair in pairs:  # in time order, so what was opened below what was opened below is found too
        if pair.truth["base_life"] in lives and pair.truth["life"] is not None:
            lives.add(pair.truth["life"])
    return lives


def test_every_name_that_can_be_known_is_known(job):
    name, options, found = job
    knowable = "knowable_with_seed" if options.seed_table else "knowable"
    doubtful = doubtful_lives(found.pairs)
    missed = [pair.truth for pair in found.pairs if pair.truth[knowable] and pair.source in UNNAMED]
    assert [truth for truth in missed if not {truth["life"], truth["base_life"]} & doubtful] == []
    assert len(missed) < len(found.pairs) // 100
    if name not in LOSSY:
        # Two objects opened by one name below one unnamed object are one key: what names one names the other,
        # which the truth, following each object by itself, does not count on.
        # A row that says its doubt may be wrong, as the test before allows.
        named = [pair for pair in found.pairs if pair.source not in UNNAMED and not pair.row["flags"] & DOUBT]
        guessed = [pair for pair in named if not pair.truth[knowable]]
        assert all(pair.is_right and pair.source == "later" for pair in guessed)
        assert len(guessed) < len(found.pairs) // 100


def test_what_is_missing_is_said(job):
    name, _, found = job
    losses = found.table("losses")
    assert found.manifest.complete == (name not in LOSSY) == (not losses)
    if name == "lost_events":
        assert [loss["count"] for loss in losses if loss["count"]] == [found.summary.events_lost]
    if name == "lost_buffers":
        assert [loss["count"] for loss in losses if loss["count"]] == [found.summary.buffers_lost]


def laid_out(content: bytes) -> bytes:
    """Return the file as it would be if no buffer were compressed, inflated by foreign code."""
    out, at = b"", 0
    while at + 72 <= len(content):
        size, filled = (
            struct.unpack_from("<I", content, at)[0],
            struct.unpack_from("<I", content, at + 0x30)[0],
        )
        if not size:  # unused space
            break
        whole = content[at : at + size]
        if struct.unpack_from("<H", content, at + 0x34)[0] & 0x40:
            whole = whole[:72] + decompress(whole[72:])[: filled - 72]
        out, at = out + whole, at + size
    return out


def test_a_rows_offset_is_where_its_record_starts(job):
    _, options, found = job
    content = laid_out(found.summary.path.read_bytes())
    for pair in found.pairs:
        tid, pid, ticks = struct.unpack_from("<IIq", content, pair.row["record_offset"] + 8)
        assert (tid, pid, ticks) == (pair.truth["tid"], pair.truth["pid"], pair.truth["ticks"])
        if not options.compressed:
            assert pair.row["record_offset"] == pair.truth["record_offset"]


def test_processes_have_the_names_their_records_gave(job):
    name, _, found = job
    images = [pair.process["image"] for pair in found.pairs if pair.truth["pid"] > 4]
    known = [image for image in images if image]
    assert len(known) == len(images) or name in LOSSY
    assert all(image.lower().endswith(".exe") for image in known)


# --- several files, and the seed ---------------------------------------------------------------------------


def test_several_sources_are_one_history(tmp_path):
    paths = []
    for number, options in enumerate(({"seed": 1}, {"seed": 2, "clock": 2}, {"seed": 3, "compressed": True})):
        paths.append(simulate(tmp_path / f"{number}.etl", SimulationOptions(events=3000, **options)).path)
    manifest = ingest(paths, tmp_path / "all.regtrace")
    rows = rows_of(tmp_path / "all.regtrace", manifest)
    order = [(row["time_ns"], row["source_id"], row["record_offset"]) for row in rows]
    assert order == sorted(order)
    assert [source["name"] for source in manifest.sources] == ["0.etl", "1.etl", "2.etl"]
    for number in range(3):
        truth = pq.read_table(tmp_path / f"{number}.truth.parquet").to_pylist()
        mine = [row for row in rows if row["source_id"] == number]
        expected = sorted(truth, key=lambda row: row["ticks"])
        assert [(row["time_ns"], row["operation"], row["value_name"]) for row in mine] == [
            (truth["time_ns"], truth["operation"], listed_name(truth, row))
            for truth, row in zip(expected, mine, strict=True)
        ]
        source = manifest.sources[number]
        assert (source["first_ns"] <= mine[0]["time_ns"], mine[-1]["time_ns"] <= source["last_ns"]) == (
            True,
            True,
        )


def test_one_trace_cut_in_two_files_resolves_as_one(tmp_path):
    """Buffers of one session in two files (as NEWFILE mode writes them): objects live across the border."""
    summary = simulate(
        tmp_path / "whole.etl", SimulationOptions(events=6000, disorder=0, cpus=1, process_events=False)
    )
    content = summary.path.read_bytes()
    half = len(content) // 65536 // 2 * 65536
    (tmp_path / "1.etl").write_bytes(content[:half])
    (tmp_path / "2.etl").write_bytes(content[:65536] + content[half:])
    whole = ingest([summary.path], tmp_path / "whole.regtrace")
    parts = ingest([tmp_path / "1.etl", tmp_path / "2.etl"], tmp_path / "parts.regtrace")
    told = []
    for target, manifest in ((tmp_path / "whole.regtrace", whole), (tmp_path / "parts.regtrace", parts)):
        keys = pq.read_table(target / "keys.parquet")["path"].to_pylist()
        rows = rows_of(target, manifest)
        told.append(
            [(row["time_ns"], keys[row["key_id"]], row["handle_id"], row["name_source"]) for row in rows]
        )
    assert told[0] == told[1]


def test_a_seed_written_as_csv_names_what_the_parquet_seed_names(tmp_path):
    summary = simulate(
        tmp_path / "a.etl", SimulationOptions(events=3000, preopened=300, option_word=0, seed_table=True)
    )
    seed = pq.read_table(summary.seed).to_pylist()
    lines = ["address,path", *(f"0x{row['address'] & (1 << 64) - 1:x},{row['path']}" for row in seed)]
    (tmp_path / "seed.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = [
        ingest([summary.path], tmp_path / f"{number}.regtrace", seed=path).totals["names"]
        for number, path in enumerate((summary.seed, tmp_path / "seed.csv"))
    ]
    assert names[0] == names[1]
    assert names[0]["seed"] > 100
