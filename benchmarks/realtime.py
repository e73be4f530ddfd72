"""Raw real-time delivery against pywintrace's default decoding, side by side in one run, through the double of the service.

    python benchmarks/realtime.py [--events 100000] [--rounds 5]

Records of one simulated trace go through ProcessTrace, in turns within each round, to

    raw copies    tracer.session.consumer.Consumer, which copies them
    nothing       a callback that does nothing: its time is what the double needs to hand a record over
    pywintrace    pywintrace's ETW, unmodified, which decodes each with TDH into a dictionary (of a smaller trace:
                  a fortieth of the records, for it takes long)
    TDH           the same with each function of the double's TDH working twice: what that takes more

The double costs on both sides. Its delivery is in every figure ("nothing" says how much it is). Its TDH is in
pywintrace's: it is Python behind ctypes, which Windows' is not, and it looks nothing up in manifests, which
Windows' does. So three ratios are given: as delivered; without the delivery; and without the TDH's functions as well,
as if Windows decoded at no cost. Times are the process's processor time, for others may use the machine. Runs on
Linux, where pywintrace's ctypes structures pay for a stand-in of Windows' types, and under Wine with a Windows Python.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks_common import describe_machine, simulated

sys.path[:0] = [
    str(Path(__file__).resolve().parents[1] / "tests" / "support"),
    str(Path(__file__).resolve().parents[1]),
]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-benchmark"
INSUFFICIENT_BUFFER = 122


def timed(path: Path, count: int, start: Callable) -> float:
    """Processor seconds from the moment the consumer may begin until it has had the last record."""
    import pytest
    from etw_double import install

    from tracer.session.options import LogMode, Provider, SessionOptions
    from tracer.session.session import Session

    with pytest.MonkeyPatch.context() as patch:
        service = install(patch)
        service.header_event = False
        with Session(SessionOptions(NAME, LogMode.REAL_TIME, largest_count=4000)) as session:
            session.enable(Provider(REGISTRY))
            service.play(path, wait=False)  # all is in the session before anybody consumes
            begun = time.process_time()  # one thread works at a time, and others may use the machine
            stop = start()
            service.wait_for_consumer()
            service.drain(600)
            seconds = time.process_time() - begun
            stop()
            assert service.running(NAME)[0].delivered == count, "records are missing"
        assert not service.errors, service.errors
    return seconds


def ours() -> Callable:
    from tracer.session.consumer import Consumer

    consumer = Consumer(NAME, most_bytes=1 << 30)
    consumer.start()

    def stop() -> None:
        assert consumer.dropped == consumer.failures == 0
        consumer.stop()

    return stop


def theirs(callback_data_flag: int = 0) -> Callable:
    import etw.etw  # noqa: TID251

    decoded: list = []
    consumer = etw.etw.EventConsumer(NAME, decoded.append, callback_data_flag=callback_data_flag)
    consumer.start()

    def stop() -> None:
        assert decoded
        assert len(decoded[-1][1]) > 3, "nothing was decoded"
        consumer.stop()

    return stop


def nothing() -> Callable:
    import tracer.session.raw_queue

    patched = tracer.session.raw_queue.RawQueue
    copying = patched.on_record

    def do_nothing(self: tracer.session.raw_queue.RawQueue, at: int) -> None:  # noqa: ARG001
        if not self.sign.is_set():  # start() waits for it
            self.sign.set()

    patched.on_record = do_nothing  # type: ignore[method-assign]
    try:
        return ours()
    finally:
        patched.on_record = copying  # type: ignore[method-assign]


@contextmanager
def tdh_twice() -> Iterator[None]:
    """Let each function of the double's TDH do its work twice: what a run takes more is what they need.

    None but those that find a buffer too small act otherwise when they are called again; these are called once.
    """
    import etw_double_tdh

    before = dict(etw_double_tdh._FUNCTIONS)
    buffers = {
        "TdhGetEventInformation": 3,
        "TdhFormatProperty": 9,
    }  # the place of their output among the arguments

    def twice(function: Callable, buffer: int | None) -> Callable:
        def call(*arguments: object) -> int:
            code = function(*arguments)
            if code != INSUFFICIENT_BUFFER or (buffer is not None and not arguments[buffer]):
                code = function(*arguments)
            return code

        return call

    for name, (arguments, function) in before.items():
        etw_double_tdh._FUNCTIONS[name] = (arguments, twice(function, buffers.get(name)))
    try:
        yield
    finally:
        etw_double_tdh._FUNCTIONS.update(before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.getLogger("etw").setLevel(logging.CRITICAL)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        many, few = arguments.events, max(arguments.events // 40, 1)
        path, small = (simulated(Path(folder), count, foreign=0) for count in (many, few))
        ways = {
            "raw copies": (path, many, ours),
            "nothing": (path, many, nothing),
            "pywintrace": (small, few, theirs),
        }
        rounds: dict[str, list[float]] = {name: [] for name in (*ways, "TDH")}
        for _ in range(arguments.rounds):
            for name, (file, count, way) in ways.items():
                rounds[name].append(timed(file, count, way) / count)
            with tdh_twice():
                rounds["TDH"].append(timed(small, few, theirs) / few - rounds["pywintrace"][-1])
    for name, seconds in rounds.items():
        middle = statistics.median(seconds)
        print(
            f"{name:12} {middle * 1e6:8.2f} us a record (rounds {min(seconds) * 1e6:.2f} to {max(seconds) * 1e6:.2f})"
            f" {1 / middle:10,.0f} records/s"
        )
    turns = list(
        zip(rounds["raw copies"], rounds["nothing"], rounds["pywintrace"], rounds["TDH"], strict=True)
    )
    for words, ratios in (
        ("as delivered", [theirs / raw for raw, _, theirs, _ in turns]),
        ("without the double's delivery", [(theirs - idle) / (raw - idle) for raw, idle, theirs, _ in turns]),
        (
            "and without its TDH functions",
            [(theirs - idle - tdh) / (raw - idle) for raw, idle, theirs, tdh in turns],
        ),
    ):
        middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
        print(f"raw copies are {middle:.0f} times as fast {words} (rounds {least:.0f} to {most:.0f})")


if __name__ == "__main__":
    main()
