"""Raw real-time delivery against pywintrace's default decoding, in one run, through the double of the service.

    python benchmarks/realtime.py [--events 20000] [--rounds 3]

The same records of the same simulated trace go through ProcessTrace to (a) tracer.session.Consumer, which copies
them, (b) pywintrace's ETW, unmodified, which decodes each with TDH into a dictionary, and (c) a callback that
does nothing, whose time is the double's own. Runs on Linux, and under Wine with a Windows Python; the double's TDH
is much cheaper than Windows', so (b) is flattered. Best of the rounds.
"""

import argparse
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks_common import describe_machine, simulated

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parents[1])]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-benchmark"


def timed(path: Path, count: int, start: Callable) -> float:
    """Seconds from the moment the consumer may begin until it has had the last record."""
    import pytest
    from etw_double import install

    from tracer.live.options import LogMode, Provider, SessionOptions
    from tracer.session import Session

    with pytest.MonkeyPatch.context() as patch:
        service = install(patch)
        service.header_event = False
        with Session(SessionOptions(NAME, LogMode.REAL_TIME, largest_count=4000)) as session:
            session.enable(Provider(REGISTRY))
            service.play(path, wait=False)  # all is in the session before anybody consumes
            begun = time.perf_counter()
            stop = start()
            service.wait_for_consumer()
            service.drain(600)
            seconds = time.perf_counter() - begun
            stop()
            assert service.running(NAME)[0].delivered == count, "records are missing"
        assert not service.errors, service.errors
    return seconds


def ours() -> Callable:
    from tracer.session import Consumer

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
    import tracer.live.raw_queue

    patched = tracer.live.raw_queue.RawQueue
    copying = patched.on_record

    def do_nothing(self: tracer.live.raw_queue.RawQueue, at: int) -> None:  # noqa: ARG001
        if not self.sign.is_set():  # start() waits for it
            self.sign.set()

    patched.on_record = do_nothing  # type: ignore[method-assign]
    try:
        return ours()
    finally:
        patched.on_record = copying  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.getLogger("etw").setLevel(logging.CRITICAL)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        path = simulated(Path(folder), arguments.events, foreign=0)
        small = simulated(Path(folder), max(arguments.events // 10, 1), foreign=0)
        ways = {"raw copies": (path, ours), "nothing": (path, nothing), "pywintrace": (small, theirs)}
        best: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for name, (file, way) in ways.items():
                count = arguments.events if file is path else max(arguments.events // 10, 1)
                best[name] = min(best.get(name, 1e9), timed(file, count, way) / count)
    for name, seconds in best.items():
        print(f"{name:12} {seconds * 1e6:8.1f} us a record {1 / seconds:10,.0f} records/s")
    alone = best["raw copies"] - best["nothing"]
    print(
        f"raw copies {best['pywintrace'] / best['raw copies']:.0f} times as fast, with the double's own time in both"
    )
    decoding = best["pywintrace"] - best["nothing"]
    print(
        f"without the double's own time: {alone * 1e6:.1f} us against {decoding * 1e6:.1f} us, {decoding / alone:.0f} times"
    )


if __name__ == "__main__":
    main()
