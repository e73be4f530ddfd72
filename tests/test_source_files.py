"""What a user's words stand for: wrapped traces are read as the plain ones are, everything else gets its sentence."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import stat
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
import raw_etl as raw
from pml_writer import opened, write_log
from typer.testing import CliRunner

import tracer.sources.unpack
from cli.app import app
from tracer.errors import RegtraceError, UsageError
from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate
from tracer.sources.description import sha256
from tracer.sources.inputs import bare_name, holds_traces, open_sources
from tracer.sources.kinds import file_kind


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    """A small trace."""
    path = tmp_path_factory.mktemp("trace") / "boot.etl"
    simulate(path, SimulationOptions(events=300, keys=60), truth=False)
    return path


def zstd(content: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def sentence(*words: Path) -> str:
    """Return with what sentence the words are refused; nothing may be left in their folder."""
    folder = words[0].parent
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    with pytest.raises(RegtraceError) as caught, open_sources(words, folder=folder):
        pass
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before
    text = str(caught.value)
    assert "\n" not in text
    return text


def bytes_of(*words: Path) -> list[bytes]:
    """Return the bytes of the traces that the words stand for."""
    with open_sources(words) as found:
        contents = [file.path.read_bytes() for file in found.files]
        paths = [file.path for file in found.files if file.wrapper]
    assert not any(path.exists() for path in paths)
    return contents


# --- wrapped traces -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", PACKERS)
def test_a_compressed_trace_is_the_trace(tmp_path, trace, word):
    packed = tmp_path / f"boot.etl.{word}"
    content = trace.read_bytes()
    packed.write_bytes(PACKERS[word](content))
    assert bytes_of(packed) == [content]
    renamed = packed.rename(tmp_path / "no-name")  # told by content
    assert bytes_of(renamed) == [content]
    halves = content[: len(content) // 3], content[len(content) // 3 :]
    renamed.write_bytes(b"".join(map(PACKERS[word], halves)))  # as `cat a.gz b.gz` makes it
    assert bytes_of(renamed) == [content]


@pytest.mark.parametrize("word", PACKERS)
def test_a_compressed_trace_that_is_cut_short_is_refused(tmp_path, trace, word):
    packed = tmp_path / f"boot.etl.{word}"
    content = PACKERS[word](trace.read_bytes())
    for length in (len(content) // 2, len(content) - 1):
        packed.write_bytes(content[:length])
        text = sentence(packed)
        assert text.startswith(f"{packed}: the .{word} data cannot be unpacked")
        assert "copy it again" in text


def test_a_zip_gives_its_traces_and_says_what_it_leaves_out(tmp_path, trace):
    content = trace.read_bytes()
    path = zipped(
        tmp_path / "a.zip",
        {"b/x.etl": content, "log.bin": content, "notes.txt": b"hello", "x.pdb": b"\1\2\3"},
    )
    with open_sources([path]) as found:
        assert [file.name for file in found.files] == ["a.zip/b/x.etl", "a.zip/log.bin"]
        assert [file.wrapper["member"] for file in found.files] == ["b/x.etl", "log.bin"]
        assert {file.wrapper["sha256"] for file in found.files} == {sha256(path)}
        assert found.left_out == [f"{path}: left out 2 files that are no traces: notes.txt, x.pdb"]
    assert bytes_of(path / "b" / "x.etl") == [content]  # one of them
    assert "has no member 'y.etl', but" in sentence(path / "y.etl").replace(str(tmp_path), "")


def test_names_in_a_zip_are_never_paths(tmp_path, trace):
    content = trace.read_bytes()
    names = ["../../up.etl", "/abs.etl", "C:\\w.etl", "a\x1b[2Jb.etl", "x" * 3000 + ".etl", "..", "con.etl"]
    place = tmp_path / "inner"
    place.mkdir()
    path = zipped(place / "a.zip", dict.fromkeys(names, content))
    with open_sources([path], folder=place) as found:
        assert len(found.files) == len(names)
        assert {file.path.parent.parent for file in found.files} == {place}
        assert all(file.path.name.isdigit() for file in found.files)
    assert list(place.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == [place]


def test_a_name_in_a_zip_never_makes_a_second_line(tmp_path, trace):
    for name, content in (("a\nb.txt", b"text"), ("a\x1b[2J\nb.etl", b"text")):
        said = sentence(zipped(tmp_path / "a.zip", {name: content}))
        assert "\n" not in said
        assert "\x1b" not in said
        assert "\\u{A}b." in said


def test_a_link_in_a_zip_is_not_followed(tmp_path):
    link = zipfile.ZipInfo("boot.etl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "holds no trace" in sentence(path)


def patched(path: Path, at: dict[bytes, list[tuple[int, bytes]]]) -> Path:
    """Change bytes behind the signatures of a .zip's headers (APPNOTE 4.3.7 and 4.3.12)."""
    content = bytearray(path.read_bytes())
    for signature, changes in at.items():
        start = content.index(signature)
        for offset, new in changes:
            content[start + offset : start + offset + len(new)] = new
    path.write_bytes(content)
    return path


def test_a_member_whose_name_is_damaged_away_is_left_out(tmp_path, trace):
    path = zipped(tmp_path / "a.zip", {"boot.etl": trace.read_bytes(), "x.txt": b"text"})
    patched(path, {b"PK\1\2": [(46, b"\0")], b"PK\3\4": [(30, b"\0")]})
    assert "holds no trace, but x.txt" in sentence(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({b"PK\1\2": [(8, b"\1\0")], b"PK\3\4": [(6, b"\1\0")]}, "is encrypted"),
        ({b"PK\1\2": [(10, b"\x09\0")], b"PK\3\4": [(8, b"\x09\0")]}, "Deflate64"),
        ({b"PK\1\2": [(16, b"\1\2\3\4")]}, "cannot be unpacked"),  # another checksum
        # Another length of the name: the library quotes, as the name, 3,000 bytes of what follows.
        ({b"PK\3\4": [(26, (3000).to_bytes(2, "little"))]}, "cannot be unpacked"),
    ],
    ids=["encrypted", "deflate64", "damaged", "name"],
)
def test_a_member_that_cannot_be_unpacked_is_named(tmp_path, trace, changes, says):
    path = patched(zipped(tmp_path / "a.zip", {"boot.etl": trace.read_bytes()}), changes)
    text = sentence(path)
    assert says in text
    assert text.startswith(f"{path}/boot.etl: ")
    assert len(text) < 400 + len(str(path))


def test_what_is_packed_twice_is_refused_by_name(tmp_path, trace):
    inner = gzip.compress(trace.read_bytes())
    named = sentence(zipped(tmp_path / "a.zip", {"boot.etl.gz": inner}))
    assert "a.zip/boot.etl.gz: what is packed twice is not read: unpack it" in named
    unnamed = sentence(zipped(tmp_path / "b.zip", {"logs": inner}))
    assert "holds no trace, but logs; of the archives in it (logs): what is packed twice" in unnamed
    (tmp_path / "c.gz").write_bytes(gzip.compress(inner))
    assert "packed twice" in sentence(tmp_path / "c.gz")


@pytest.mark.parametrize("kind", ["gz", "xz", "zip"])
def test_a_bomb_is_stopped_at_the_limit(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tracer.sources.unpack, "_ALWAYS", 1 << 20)
    content = raw.buffer(raw.logfile_record()) + bytes(8 << 20)
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        zipped(path, {"a.etl": content})
    else:
        path.write_bytes(PACKERS[kind](content))
    written = []
    count = tracer.sources.unpack.Limit.take
    monkeypatch.setattr(
        tracer.sources.unpack.Limit, "take", lambda self, size: (written.append(size), count(self, size))
    )
    text = sentence(path)
    assert "unpacks to more than 200 times its size" in text
    assert max(written) <= 1 << 20
    assert sum(written) <= max(1 << 20, 200 * path.stat().st_size) + (1 << 20)


def test_members_of_one_zip_share_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tracer.sources.unpack, "_ALWAYS", 1 << 20)
    content = raw.buffer(raw.logfile_record()) + bytes(900_000)
    path = zipped(tmp_path / "a.zip", {"a.etl": content})
    with open_sources([path]) as found:
        assert len(found.files) == 1
    assert "more than 200 times" in sentence(zipped(tmp_path / "b.zip", {"a.etl": content, "b.etl": content}))


def test_a_full_disk_is_said_before_it_is_full(tmp_path, trace, monkeypatch):
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    usage = tracer.sources.unpack.shutil.disk_usage(tmp_path)._replace(
        free=tracer.sources.unpack._SPARE + 1000
    )
    monkeypatch.setattr(tracer.sources.unpack.shutil, "disk_usage", lambda _: usage)
    assert "there is no room to unpack it" in sentence(packed)


def test_a_damaged_archive_is_one_sentence_or_read(tmp_path, trace):
    chance, sentences = random.Random(3), []
    base = {word: pack(trace.read_bytes()) for word, pack in PACKERS.items()}
    base["zip"] = zipped(tmp_path / "a.zip", {"a.etl": trace.read_bytes(), "b.txt": b"b"}).read_bytes()
    for word, content in base.items():
        for _ in range(40):
            path = tmp_path / f"damaged.{word}"
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 4)):
                near_end = chance.random() < 0.5
                at = chance.randrange(max(len(damaged) - 200, 0) if near_end else 0, len(damaged))
                damaged[at] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                with open_sources([path]) as found:
                    assert found.files
            except RegtraceError as error:
                sentences.append(str(error))
    assert sentences
    assert not any("\n" in text for text in sentences)


# --- folders, pipes -----------------------------------------------------------------------------------------


def test_a_folder_stands_for_the_traces_in_it(tmp_path, trace):
    content = trace.read_bytes()
    folder = tmp_path / "logs"
    (folder / "below").mkdir(parents=True)
    (folder / "b.etl").write_bytes(content)
    (folder / "a").write_bytes(content)
    (folder / "c.etl.gz").write_bytes(gzip.compress(content))
    (folder / "other.gz").write_bytes(gzip.compress(b"text\n" * 100))
    (folder / "readme.txt").write_text("hello")
    with open_sources([folder]) as found:
        assert [file.name for file in found.files] == ["a", "b.etl", "c.etl.gz"]
        assert [sentence.split(": ", 1)[1] for sentence in found.left_out] == [
            "left out 1 file that is no trace: other.gz",
            "left out 1 file that is no trace: readme.txt",
        ]
    assert holds_traces(folder)
    (folder / "b.etl").write_bytes(b"")
    assert f"{folder / 'b.etl'}: this is an empty file" in sentence(folder)  # it claims to be one


def test_folders_that_hold_no_traces_say_what_they_are(tmp_path, trace):
    ingest([trace], tmp_path / "boot.regtrace")
    capture = tmp_path / "boot.regtrace"
    assert "this is a capture, not a folder of traces; to see what it holds, run regtrace info" in sentence(
        capture
    )
    assert "it holds captures (boot.regtrace)" in sentence(tmp_path)
    assert "Parquet file, not a trace; if it belongs to a capture, name that folder" in sentence(
        capture / "keys.parquet"
    )
    assert not holds_traces(capture)
    assert not holds_traces(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_to_its_end(tmp_path, trace):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content in (trace.read_bytes(), gzip.compress(trace.read_bytes())):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        assert bytes_of(pipe) == [trace.read_bytes()]
        writer.join()


def test_standard_input_is_read_or_the_terminal_is_refused(tmp_path, trace, monkeypatch):
    class Input(io.TextIOWrapper):
        def isatty(self) -> bool:
            return self.terminal

    stdin = Input(io.BytesIO(trace.read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    stdin.terminal = True
    with pytest.raises(UsageError, match="standard input is a terminal"), open_sources([Path("-")]):
        pass
    stdin.terminal = False
    with open_sources([Path("-")]) as found:
        assert [file.name for file in found.files] == ["standard input"]
        assert found.files[0].path.read_bytes() == trace.read_bytes()


# --- what everything else is --------------------------------------------------------------------------------

UTF16 = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\X]\r\n"
KINDS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer", "git lfs pull"),
    "reg": (b"\xff\xfe" + UTF16.encode("utf-16-le"), "a .reg file", "record with"),
    "reg4": (b"REGEDIT4\r\n\r\n[HKEY_CURRENT_USER\\X]\r\n", "a .reg file", "record with"),
    "hive": (b"regf" + bytes(4092), "a registry hive", "--baseline HIVE"),
    "etlx": (b"\x14\0\0\0!FastSerialization.1" + bytes(99), ".etlx", "name the .etl file"),
    "otherxml": (b'<?xml version="1.0"?>\n<Events xmlns="http://x">', "XML text", "record with"),
    "wprp": (b'<?xml version="1.0"?>\n<WindowsPerformanceRecorder Version="1.0">', ".wprp", "wpr -start"),
    "evt": (b"\x30\0\0\0LfLe" + bytes(40), "old Windows event log", "wevtutil export-log"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7-Zip archive", "unpack it"),
    "cab": (b"MSCF" + bytes(40), "a cabinet", "expand"),
    "rar": (b"Rar!\x1a\x07\1\0", "a RAR archive", "unpack it"),
    "tar": (b"boot.etl".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), "a tar archive", "unpack it"),
    "parquet": (b"PAR1" + bytes(40), "a Parquet file", "name that folder"),
    "dump": (b"MDMP\x93\xa7" + bytes(40), "a minidump", "record with"),
    "kernel": (b"PAGEDU64" + bytes(40), "a dump of Windows", "!wmitrace.logsave"),
    "nettrace": (b"Nettrace\x14\0\0\0!FastSerialization.1", ".nettrace", "record with"),
    "html": (b"<!DOCTYPE html>\n<html><head>", "a web page", "fetch the trace again"),
    "json": (b'{"offset":72}\n{"offset":90}\n', "JSON text", "--fields FILE.toml"),
    "array": (b'[\n {"offset":72}]', "JSON text", "--fields FILE.toml"),
    "utf16": ("Zeit;Vorgang\r\n".encode("utf-16"), "text", "name the trace"),
    "text": ("Zeit;Größe\n".encode() * 900, "text", "name the trace"),
    "program": (b"MZ" + bytes(400), "a Windows program", "record with"),
    "zeros": (bytes(5000), "begins with zeros only", "fetch the trace again"),
    "empty": (b"", "an empty file", "record the trace again"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_trace_is_named_with_the_next_step(tmp_path, name):
    content, what, advice = KINDS[name]
    path = tmp_path / "boot.etl"
    path.write_bytes(content)
    text = sentence(path)
    assert text.startswith(f"{path}: this is ")
    assert what in text
    assert advice in text
    packed = zipped(tmp_path / "a.zip", {"boot.etl": content})  # the same sentence inside of an archive
    assert sentence(packed) == text.replace(str(path), f"{packed}/boot.etl")


def test_traces_are_known_by_their_content(trace):
    assert file_kind(trace.read_bytes()[:4096]).word == "etl"
    assert file_kind(write_log([opened("HKLM\\SOFTWARE\\Vendor")]).raw[:4096]).word == "pml"
    chance = random.Random(5)
    words = {file_kind(chance.randbytes(chance.randrange(1, 4096))).word for _ in range(2000)}
    assert words <= {"unknown", "foreign"}


def test_an_etl_whose_size_reads_like_gzip_is_an_etl():
    """Compressed buffers may have any size; 0x00088B1F begins as a gzip stream does."""
    head = bytearray(4096)
    head[:4] = (0x00088B1F).to_bytes(4, "little")
    head[48:54] = (65_536).to_bytes(4, "little") + b"\x40\0"
    head[72:4096] = random.Random(1).randbytes(4024)
    assert file_kind(bytes(head)).word == "etl"


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/boot.etl", "boot"), ("boot.etl.zip", "boot"), ("x.PML.gz", "x"), ("a.zip", "a"), ("logs", "logs"), ("-", "stdin"), (".gz", ".gz")],
)  # fmt: skip
def test_a_capture_is_named_after_its_trace(path, name):
    assert bare_name(Path(path)) == name


# --- the whole path -----------------------------------------------------------------------------------------


def test_verbs_read_wrapped_traces_and_errors_name_what_the_user_named(tmp_path, trace, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = trace.read_bytes()
    zipped(tmp_path / "boot.etl.zip", {"boot.etl": content, "a.txt": b"aa"})
    run = CliRunner().invoke
    made = run(app, ["ingest", "boot.etl.zip"])
    assert made.exit_code == 0, made.output
    assert "boot.etl.zip: left out 1 file that is no trace: a.txt" in made.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boot.etl.zip", "boot.regtrace"]
    told = run(app, ["info", "boot.regtrace", "--json"])
    source = json.loads(told.stdout)["sources"][0]
    assert source["name"] == "boot.etl.zip/boot.etl"
    assert source["sha256"] == sha256(trace)
    assert source["wrapper"]["sha256"] == sha256(tmp_path / "boot.etl.zip")
    shown = run(app, ["info", "boot.etl.zip"])
    assert "boot.etl.zip/boot.etl: Windows event trace" in shown.stdout
    plain, packed = run(app, ["dump", str(trace)]), run(app, ["dump", "boot.etl.zip"])
    assert plain.stdout
    assert packed.stdout == plain.stdout
    (tmp_path / "bad.etl.gz").write_bytes(gzip.compress(raw.buffer(raw.event(1, 5))))
    for verb in ("ingest", "info", "dump"):
        refused = run(app, [verb, "bad.etl.gz"])
        assert refused.exit_code == 1
        assert "regtrace: bad.etl.gz: no log file header" in refused.stderr


def test_a_wrapped_procmon_log_is_ingested(tmp_path):
    content = write_log([opened("HKLM\\SOFTWARE\\Vendor")]).raw
    manifest = ingest([zipped(tmp_path / "a.zip", {"Logfile.PML": content})], tmp_path / "a.regtrace")
    assert manifest.totals["events"] == 1
    assert manifest.sources[0]["name"] == "a.zip/Logfile.PML"
    assert manifest.sources[0]["size"] == len(content)
