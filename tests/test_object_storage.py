"""Captures in object storage, tried against moto's server of the S3 protocol where it is installed, and without a network."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_capture import write_capture
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.errors import CaptureError, RegtraceError, UsageError
from tracer.store.object_storage import cache_folder, fetch_captures

VENDOR = r"HKLM\SOFTWARE\Vendor"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the endpoint of a server that stands for the service."""
    own = shutil.which("moto_server")
    if own is None and find_spec("moto") is None:
        pytest.skip("moto is not installed (pip install 'moto[server,s3]'): no server of the S3 protocol")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [own] if own else [sys.executable, "-m", "moto.server"]
    with subprocess.Popen(
        [*command, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        for _ in range(300):
            with socket.socket() as seen:
                if not seen.connect_ex(("127.0.0.1", port)):
                    break
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REGTRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(server, monkeypatch, request) -> str:
    """Return the name of a bucket of this test's own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    name = "bucket-" + str(abs(hash(request.node.name)))
    put(name, b"")
    return name


def put(place: str, content: bytes | None) -> None:
    """Put an object into the storage, or a bucket; None: delete it. It is done without the library that reads it."""
    method = "DELETE" if content is None else "PUT"
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{place}"
    signed = "AWS4-HMAC-SHA256 Credential=someone/20261201/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Content-Type": "application/octet-stream", "Authorization": signed}
    asked = urllib.request.Request(address, data=content, method=method, headers=headers)
    with urllib.request.urlopen(asked, timeout=30) as said:
        said.read()


def upload(bucket: str, capture: Path, place: str) -> str:
    for file in capture.rglob("*"):
        if file.is_file():
            put(f"{bucket}/{place}/{file.relative_to(capture).as_posix()}", file.read_bytes())
    return f"s3://{bucket}/{place}"


def run(*words: str) -> tuple[int, str, str]:
    shown = CliRunner().invoke(app, list(words), prog_name="regtrace")
    assert "Traceback" not in shown.stderr
    return shown.exit_code, shown.stdout, " ".join(shown.stderr.split())


def test_a_capture_is_asked_as_one_of_this_machine(bucket, tmp_path):
    here = write_capture(tmp_path / "host.regtrace")
    address = upload(bucket, here, "fleet/host.regtrace")
    with rt.open(address) as there, rt.open(here) as own:
        assert there.timeline().equals(own.timeline())
        assert there.path.name == "host.regtrace"
    code, out, _ = run("info", address)
    assert code == 0
    assert "host.regtrace" in out
    code, out, _ = run("timeline", address, "--key", VENDOR, "-f", "csv")
    assert code == 0
    assert out == run("timeline", str(here), "--key", VENDOR, "-f", "csv")[1]
    assert len(list(rt.replay(address))) == len(list(rt.replay(here)))


def test_captures_below_a_prefix_are_a_dataset(bucket, tmp_path):
    here = write_capture(tmp_path / "h.regtrace")
    for name in ("fleet/a.regtrace", "fleet/site/b.regtrace"):
        upload(bucket, here, name)
    put(f"{bucket}/fleet/other/note.txt", b"no capture")
    address = f"s3://{bucket}/fleet"
    with rt.open(address) as dataset, rt.open(here) as own:
        assert [member.capture for member in dataset.members] == ["a", "b"]
        assert len(dataset.timeline()) == 2 * len(own.timeline())
    with rt.open({"ONE": f"{address}/a.regtrace", "TWO": here}) as named:
        assert [member.host for member in named.members] == ["ONE", "TWO"]
    code, out, _ = run("keys", address, "-f", "csv")
    assert code == 0
    assert out.count("\n") > 2


def test_a_copy_is_fetched_anew_only_where_the_capture_changed(bucket, tmp_path):
    here = write_capture(tmp_path / "h.regtrace")
    address = upload(bucket, here, "h.regtrace")
    copy = fetch_captures(address)
    (copy / "keys.parquet").touch()
    before = (copy / "keys.parquet").stat().st_mtime_ns
    assert fetch_captures(address) == copy
    assert (copy / "keys.parquet").stat().st_mtime_ns == before
    values = json.loads((here / "capture.json").read_text())
    (here / "capture.json").write_text(json.dumps(values | {"windows_build": 12345}))
    upload(bucket, here, "h.regtrace")
    with rt.open(address) as capture:
        assert capture.manifest.windows_build == 12345


def test_what_a_manifest_names_elsewhere_is_not_fetched(bucket, tmp_path):
    upload(bucket, write_capture(tmp_path / "other.regtrace"), "other.regtrace")
    here = write_capture(tmp_path / "h.regtrace")
    values = json.loads((here / "capture.json").read_text())
    for name in ("../other.regtrace/keys.parquet", "/etc/passwd", "s3://bucket/x"):
        values["tables"]["keys"]["file"] = name
        (here / "capture.json").write_text(json.dumps(values))
        address = upload(bucket, here, "h.regtrace")
        with pytest.raises(CaptureError, match="invalid entry"):
            rt.open(address)
    assert not [file for file in cache_folder().rglob("*") if file.suffix == ".parquet"]


def test_sql_of_users_reads_no_address(bucket, tmp_path):
    here = write_capture(tmp_path / "h.regtrace")
    address = upload(bucket, here, "h.regtrace")
    other = upload(bucket, here, "other.regtrace")
    with rt.open(address) as capture:
        for query in (f"SELECT * FROM '{other}/keys.parquet'", f"SELECT * FROM read_parquet('{other}/keys.parquet')",
                      f"SELECT * FROM read_text('{address}/capture.json')"):  # fmt: skip
            with pytest.raises(UsageError):
                capture.sql(query)


def test_captures_that_do_not_fit_are_not_fetched(bucket, tmp_path, monkeypatch):
    address = upload(bucket, write_capture(tmp_path / "h.regtrace"), "h.regtrace")
    monkeypatch.setenv("REGTRACE_CACHE_GB", "0.000001")
    with pytest.raises(RegtraceError, match="do not fit"):
        rt.open(address)
    monkeypatch.setenv("REGTRACE_CACHE_GB", "many")
    with pytest.raises(UsageError, match="no number of gigabytes"):
        rt.open(address)


def test_copies_that_nobody_asked_for_make_room(bucket, tmp_path, monkeypatch):
    here = write_capture(tmp_path / "h.regtrace")
    first = fetch_captures(upload(bucket, here, "a.regtrace"))
    size = sum(file.stat().st_size for file in first.rglob("*") if file.is_file())
    monkeypatch.setenv("REGTRACE_CACHE_GB", str(size * 1.5 / 1e9))
    second = upload(bucket, here, "b.regtrace")
    with pytest.raises(RegtraceError, match="do not fit"):  # the first may be in use
        fetch_captures(second)
    os.utime(first.parent, (1, 1))
    assert fetch_captures(second).is_dir()
    assert not first.exists()


def test_what_is_missing_is_said(bucket, tmp_path):
    here = write_capture(tmp_path / "h.regtrace")
    address = upload(bucket, here, "h.regtrace")
    put(f"{bucket}/h.regtrace/keys.parquet", None)
    for asked, said in (
        (address, f"{address}/keys.parquet is missing"),
        (f"s3://{bucket}/nothing.regtrace", "has no capture.json"),
        (f"s3://{bucket}/nothing", "holds no capture"),
        ("s3://no-such-bucket-at-all/x.regtrace", "no-such-bucket-at-all"),
        ("s3://", "names no bucket"),
    ):
        code, _, told = run("info", asked)
        assert code in (1, 2), asked
        assert said in told, told


@pytest.mark.parametrize("verb", ["info", "keys"])
def test_a_service_that_cannot_be_reached_is_said(monkeypatch, verb):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        code, _, told = run(verb, "s3://bucket/host.regtrace")
    assert code == 1
    assert "s3://bucket/host.regtrace" in told
    assert "cannot be reached" in told
