"""How quickly `regtrace browse` opens, and answers each key of the keyboard, as seen through a terminal.

    python benchmarks/browse.py CAPTURE [--size 80x24] [--rounds 3] [--presses 120]

The program runs in a terminal of its own; this one presses keys and takes the time until it writes. Printed are, by
the clock and as processor time of the program:

* start: from its start to the first frame, to the first names of keys, and until it writes no more;
* each kind of press, one at a time: until the first bytes of the new frame and until the last ones, which are the values;
* a key held down, 60 presses a second: how long after the last press the last bytes come, in how many frames, and the
  longest time in which none came. A view that keeps up writes about as many frames as presses.

Make a capture with `regtrace simulate -o X.etl --events 1000000` and `regtrace ingest X.etl`.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks_common import describe_machine

ROOT = Path(__file__).resolve().parents[1]
QUIET_S = 0.6  # without a byte: the program has nothing more to write
TICKS = os.sysconf("SC_CLK_TCK")
KEYS = {
    "down": b"\x1b[B", "up": b"\x1b[A", "page down": b"\x1b[6~", "open or close a key": b"\r", "next change": b".",
    "first": b"\x1b[H", "last": b"\x1b[F", "previous change": b",", "next change of all": b"}", "previous change of all": b"{", "earlier": b"-", "later": b"+",
}  # fmt: skip


@dataclass(slots=True)
class Terminal:
    """The program in a terminal; times in seconds since it was started."""

    capture: str
    size: tuple[int, int]
    environment: dict[str, str]
    pid: int = 0
    file: int = -1
    begun: float = 0.0
    written: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.begun = time.perf_counter()
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.environ.update(self.environment)
            os.execv(sys.executable, [sys.executable, "-m", "cli.app", "browse", self.capture])
        columns, lines = self.size
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, wait_s: float) -> bytes:
        """Return what the program writes next; nothing when it writes nothing for so long."""
        if not select.select([self.file], [], [], wait_s)[0]:
            return b""
        try:
            some = os.read(self.file, 1 << 16)
        except OSError:  # the program has ended
            return b""
        self.written += some
        return some

    def until(self, text: bytes, most_s: float = 20) -> float:
        """Return when the program had written a text."""
        while text not in self.written:
            if not self.read(most_s):
                raise SystemExit(
                    f"the program did not write {text!r}; it wrote {bytes(self.written[-300:])!r}"
                )
        return time.perf_counter() - self.begun

    def settle(self, quiet_s: float = QUIET_S) -> tuple[float | None, float | None, int, float]:
        """Read until nothing comes for a while; return when the first and last bytes came, the frames, the longest gap."""
        times = []
        while self.read(quiet_s):
            times.append(time.perf_counter())
        if not times:
            return None, None, 0, 0.0
        gaps = [after - before for before, after in pairwise(times)]
        return times[0], times[-1], 1 + sum(gap > 0.004 for gap in gaps), max(gaps, default=0.0)

    def press(self, name: str) -> None:
        """Press a key."""
        os.write(self.file, KEYS[name])

    def cpu_s(self) -> float:
        """Return the processor time of the program with all its threads."""
        after = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after[11]) + int(after[12])) / TICKS

    def end(self) -> None:
        """Leave the program."""
        os.write(self.file, b"q")
        self.settle(0.3)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.file)


def told(seconds: list[float]) -> str:
    """Return median, 95th percentile and the largest in milliseconds."""
    some = sorted(seconds)
    parts = (some[len(some) // 2], some[min(len(some) - 1, len(some) * 95 // 100)], some[-1])
    return "p50 {:4.0f}  p95 {:4.0f}  max {:4.0f} ms".format(*(1000 * part for part in parts))


def one_by_one(terminal: Terminal, name: str, presses: int) -> None:
    """Press a key again and again, each time when the view has come to rest."""
    first, last, silent, cpu = [], [], 0, terminal.cpu_s()
    for _ in range(presses):
        begun = time.perf_counter()
        terminal.press(name)
        came, ended, _, _ = terminal.settle()
        if came is None or ended is None:
            silent += 1  # nothing to change: the first or last line, no later change
        else:
            first.append(came - begun)
            last.append(ended - begun)
    if not first:
        print(f"{name:24} nothing changed")
        return
    spent = 1000 * (terminal.cpu_s() - cpu) / presses
    quiet = f", {silent} without a change" if silent else ""
    print(f"{name:24} first {told(first)};  last {told(last)};  {spent:.0f} ms CPU a press{quiet}")


def held(terminal: Terminal, name: str, presses: int, rate: int = 60) -> None:
    """Press a key `rate` times a second, without waiting for the view."""
    times, cpu, begun = [], terminal.cpu_s(), time.perf_counter()
    for number in range(presses):
        while (left := begun + number / rate - time.perf_counter()) > 0:
            if terminal.read(left):
                times.append(time.perf_counter())
        terminal.press(name)
    pressed = time.perf_counter()
    while terminal.read(QUIET_S):
        times.append(time.perf_counter())
    gaps = [after - before for before, after in pairwise(times)]
    inside = [after - before for before, after in pairwise(times) if after < pressed]
    frames = 1 + sum(gap > 0.004 for gap in gaps)
    print(
        f"{name:24} held {presses} presses at {rate}/s: {frames} frames, longest gap {1000 * max(inside):.0f} ms, "
        f"last bytes {1000 * (times[-1] - pressed):.0f} ms after the last press, "
        f"{1000 * (terminal.cpu_s() - cpu) / presses:.0f} ms CPU a press"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("capture")
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--rounds", type=int, default=3, help="of the start")
    parser.add_argument(
        "--presses", type=int, default=120, help="of a key held down; a quarter of it one by one"
    )
    parser.add_argument("--term", default="xterm-256color")
    parser.add_argument("--only-start", action="store_true")
    parser.add_argument(
        "--only-held", action="store_true", help="of the presses only those of keys held down"
    )
    arguments = parser.parse_args()
    columns, _, lines = arguments.size.partition("x")
    capture, environment = str(Path(arguments.capture).resolve()), {"TERM": arguments.term}
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", arguments.size, arguments.term)
    for number in range(arguments.rounds):
        terminal = Terminal(capture, (int(columns), int(lines)), environment)
        frame = terminal.until(b"\x1b[?1049h")
        names, cpu = terminal.until(b"HKLM"), terminal.cpu_s()
        terminal.settle(1.5)
        rest = terminal.cpu_s()
        print(
            f"start: terminal taken after {frame:.2f} s, first keys {names:.2f} s ({cpu:.2f} s CPU), "
            f"at rest {rest:.2f} s CPU"
        )
        if number < arguments.rounds - 1 or arguments.only_start:
            terminal.end()
    if arguments.only_start:
        return
    one = max(5, arguments.presses // 4)
    if arguments.only_held:
        one = 0
    one_by_one(terminal, "open or close a key", 1)
    for name in ("down", "open or close a key"):
        one_by_one(terminal, name, 3)
    for name in ("down", "page down", "up", "previous change of all", "next change of all", "previous change",
                 "next change", "earlier", "later"):  # fmt: skip
        if one:
            one_by_one(terminal, name, one)
    for place, name in (("last", "up"), ("first", "down"), ("first", "previous change of all"),
                        ("first", "next change of all")):  # fmt: skip
        terminal.press(place)
        terminal.settle()
        held(terminal, name, arguments.presses)
    terminal.end()


if __name__ == "__main__":
    main()
