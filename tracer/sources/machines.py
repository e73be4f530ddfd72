"""Machines: which machine and boot a source describes, and whether several sources describe the same.

Addresses of key objects mean something only between the start and the end of one run of Windows, so sources of
two machines or two boots must never name each other's keys. What a log file header says of its machine is no
proof of sameness (two machines may agree in all of it), but what differs proves that there are two:

* the computer's name (Procmon logs only), the Windows build, the number of processors, the rate of the
  performance counter, and for Procmon logs the width of Windows (a 32-bit program may record on 64-bit Windows,
  and its .etl then has the 32-bit form, so that width says nothing of the machine);
* boot times more than BOOT_TOLERANCE_NS apart. Windows moves the boot time with its clock, so sessions of one
  boot may disagree by what the clock was adjusted between them (a public trace is seconds off);
* a boot time after the end of an earlier source, by more than BOOT_NOISE_NS.

What a header does not say differs from nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tracer.errors import UsageError
from tracer.etl.logfile import LogfileHeader
from tracer.registry.text import fold_name

__all__ = ["BOOT_NOISE_NS", "BOOT_TOLERANCE_NS", "Machine", "check_one_machine", "differences", "etl_machine"]

BOOT_TOLERANCE_NS = 60 * 1_000_000_000
BOOT_NOISE_NS = 5 * 1_000_000_000
_KEPT_OF_NAME = 15  # characters of a NetBIOS name
_ADVICE = (
    "What one says about a key object says nothing about the other's; ingest each into a capture of its own, in one "
    "folder, and ask the folder: regtrace takes it as one dataset"
)
_FACTS = (
    ("computer", "computers {} and {}"),
    ("build", "Windows builds {} and {}"),
    ("processors", "{} and {} processors"),
    ("counter_hz", "performance counters of {:,} and {:,} Hz"),
    ("bits", "{} and {} bits"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as one source describes it; None is unknown. Times are UTC nanoseconds.

    Attributes:
        source: how the source is called in a sentence.
        computer: name of the computer.
        build: of Windows.
        processors: how many.
        counter_hz: rate of the performance counter.
        bits: 32 or 64, of Windows itself.
        boot_ns: when Windows started: as stated, else when the performance counter was 0.
        end_ns: a time until which the source surely recorded.
    """

    source: str
    computer: str | None = None
    build: int | None = None
    processors: int | None = None
    counter_hz: int | None = None
    bits: int | None = None
    boot_ns: int | None = None
    end_ns: int | None = None


def etl_machine(source: str, header: LogfileHeader) -> Machine:
    """Return the machine that a log file header describes."""
    boot_ns = header.boot_ns
    if boot_ns is None and header.clock == "qpc" and not header.clock_is_odd:
        boot_ns = header.one_to_ns(0)
    return Machine(
        source,
        build=header.build or None,
        processors=header.cpus or None,
        counter_hz=header.counter_hz,
        boot_ns=boot_ns,
        end_ns=header.end_ns,
    )


def differences(one: Machine, other: Machine) -> list[str]:
    """Return what proves that two sources are of different machines or boots; empty if nothing does."""
    texts = []
    for field, text in _FACTS:
        value, other_value = getattr(one, field), getattr(other, field)
        if value is None or other_value is None or value == other_value:
            continue
        if field == "computer" and _is_one_computer(fold_name(value), fold_name(other_value)):
            continue
        texts.append(text.format(value, other_value))
    if one.boot_ns is not None and other.boot_ns is not None:
        apart = abs(one.boot_ns - other.boot_ns)
        first, second = sorted((one, other), key=lambda machine: machine.boot_ns or 0)
        after_end = first.end_ns is not None and (second.boot_ns or 0) > first.end_ns
        if apart > BOOT_TOLERANCE_NS or (after_end and apart > BOOT_NOISE_NS):
            texts.append(f"Windows started {apart / 1e9:,.1f} s apart")
    return texts


def _is_one_computer(one: str, other: str) -> bool:
    """Whether two folded names may be of one computer: a log may add the domain, Procmon keeps 15 characters."""
    if "." in one and "." in other:
        return one == other
    short, long = sorted((one.partition(".")[0], other.partition(".")[0]), key=len)
    return short == long or (len(short) == _KEPT_OF_NAME and long.startswith(short))


def check_one_machine(machines: Sequence[Machine]) -> None:
    """Raise if two sources are proved to be of different machines or boots.

    Raises:
        UsageError: something does; the sentence names both sources and what differs.
    """
    for one, other in combinations(machines, 2):
        lines = differences(one, other)
        if lines:
            only_boot = len(lines) == 1 and lines[0].startswith("Windows started")
            what = "two boots (or the clock was set between)" if only_boot else "two machines"
            raise UsageError(f"{one.source} and {other.source} are of {what}: {', '.join(lines)}. {_ADVICE}")
