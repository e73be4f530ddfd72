"""Noise: records of other providers between the registry's."""

from random import Random

from tracer.simulate.container import EtlWriter

__all__ = ["ForeignRecords"]

_KINDS = ("event", "perfinfo", "system", "compact", "full")
_PROVIDERS = ("edd08927-9cc4-4e65-b970-c2560fb5c289", "1c95126e-7eea-49a9-a3fe-a378b03ddb4d")
_CLASS = "b3e675d7-2554-4f18-830b-2762732560de"
_GROUPS = (0x05, 0x0F, 0x02, 0x04)  # thread, perfinfo, memory, file


class ForeignRecords:
    """Writes such records, in every header kind that was seen in real files, and COMPACT."""

    def __init__(self, writer: EtlWriter, seed: int) -> None:
        self._writer = writer
        self._random = Random(f"foreign {seed}")
        self._cpus = writer.cpus

    def write(self, ticks: int) -> None:
        """Write one record."""
        random = self._random
        draw = random.random()
        kind = _KINDS[int(draw * 5)]
        payload = random.randbytes(4 + int(random.random() * 60))
        hook = kind in ("perfinfo", "system", "compact")
        provider: str | int = _GROUPS[int(draw * 1e5) % 4] if hook else _CLASS
        if kind == "event":
            provider = _PROVIDERS[int(draw * 1e5) % 2]
        self._writer.add_record(
            kind, cpu=int(random.random() * self._cpus), ticks=ticks, provider=provider,
            id_=int(draw * 1e4) % 40 if kind == "event" else 0, version=int(draw * 1e3) % 3,
            opcode=32 + int(draw * 1e4) % 40, pid=700 + 4 * int(draw * 100), tid=900 + 4 * int(draw * 100),
            payload=payload, level=4 if not hook else 0, keyword=0x10 if kind == "event" else 0,
        )  # fmt: skip
