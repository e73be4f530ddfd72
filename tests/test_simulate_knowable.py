"""What the truth calls knowable is exactly what a plain reading of the file, by foreign code, can name.

The resolver here is deliberately slow and obvious, and reads the file through dissect.etl.
"""

import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from foreign_readers import KERNEL_REGISTRY, ForeignRecord, dissect_records, dissect_registry_fields

from tracer.registry.text import escape_name, fold_name
from tracer.simulate import SimulationOptions, simulate, truth_path

CLASSIC_REGISTRY = "ae53722e-c863-11d2-8659-00c04fa321a1"


class Life:
    """One life of an object: its name if something said it, else what it was opened from and how."""

    def __init__(self, name: str | None = None, base: "Life | None" = None, relative: str = "") -> None:
        self.name, self.base, self.relative = name, base, relative

    def path(self) -> str | None:
        if self.name is not None or self.base is None:
            return self.name
        above = self.base.path()
        return above if above is None or not self.relative else f"{above}\\{self.relative}"


def normal(path: str) -> str:
    return "\\" + "\\".join(part for part in path.split("\\") if part)


def named_rows(records: list[ForeignRecord]) -> dict[int, Life]:
    """Return what stands for the name of each operation, by time stamp."""
    objects: dict[int, Life] = {}
    rows = {}
    for record in records:
        if record.provider == KERNEL_REGISTRY:
            fields = dissect_registry_fields(record)
            address = fields["KeyObject"]
            if record.id in (1, 2):
                request = fields["RelativeName"]
                if request.startswith("\\"):
                    life = Life(request)
                else:
                    life = Life(None, objects.setdefault(fields["BaseObject"], Life()), request)
                if fields["BaseName"]:
                    objects.setdefault(fields["BaseObject"], Life()).name = fields["BaseName"]
                if fields["Status"] == 0:
                    objects[address] = life
            else:
                life = objects.setdefault(address, Life())
                if fields["KeyName"]:
                    life.name = fields["KeyName"]
        elif record.provider == CLASSIC_REGISTRY:
            _, _, _, block = struct.unpack_from(
                "<qIIQ" if record.header_type == 2 else "<qIII", record.payload
            )
            start = 24 if record.header_type == 2 else 20
            name = record.payload[start:-2].decode("utf-16-le")
            if record.opcode == 22:
                objects[block] = Life(name)
            elif record.opcode in (24, 25):
                objects.setdefault(block, Life()).name = name
            if record.opcode in (22, 23, 24, 25):
                continue
            if record.opcode in (10, 11):
                whole = block == 0 or name.startswith("\\")
                life = Life(name) if whole else Life(None, objects.setdefault(block, Life()), name)
            else:
                life = objects.setdefault(block, Life())
        else:
            continue
        rows[record.ticks] = life
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        SimulationOptions(events=6000),
        SimulationOptions(events=6000, option_word=7, option_from=0.4, fill_share=0.3),
        SimulationOptions(events=6000, option_word=1, fill_share=0.02, preopened=100, links=0.0),
        SimulationOptions(
            events=6000, option_word=3, pointer_size=4, fill_share=0.05, links=0.2, slashes=0.1
        ),
        SimulationOptions(events=6000, classic=True),
        SimulationOptions(events=6000, classic=True, rundown_end=False, preopened=100),
        SimulationOptions(events=6000, classic=True, rundown_begin=True, rundown_end=False, pointer_size=4),
    ],
)
def test_the_truth_knows_what_the_file_tells(tmp_path: Path, options: SimulationOptions) -> None:
    path = tmp_path / "a.etl"
    simulate(path, options)
    records = sorted(dissect_records(path), key=lambda record: record.ticks)
    rows = named_rows(records)
    known = 0
    for row in pq.read_table(truth_path(path)).to_pylist():
        name = rows[row["ticks"]].path()
        assert (name is not None) == row["knowable"], row
        if name is not None:
            known += 1
            both = (fold_name(row["path"]), fold_name(row["spelled_path"]))
            assert fold_name(escape_name(normal(name))) in both
    assert known
