"""Whether captures that are to be merged are of one machine and one boot, as far as their sources say."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from tracer.etl.logfile import LogfileHeader
from tracer.sources.machines import Machine, check_one_machine, etl_machine
from tracer.store.manifest import Manifest

__all__ = ["check_members"]


def check_members(manifests: Sequence[Manifest]) -> None:
    """Raise if two captures are proved to be of different machines or boots.

    Raises:
        UsageError: something does; the sentence names both sources and what differs.
    """
    check_one_machine([machine for manifest in manifests for machine in _machines(manifest)])


def _machines(manifest: Manifest) -> Iterator[Machine]:
    """Yield the machine as each source describes it."""
    for source in manifest.sources:
        facts: dict[str, Any] = source["facts"]
        if source["kind"] == "etl":
            wanted = {item.name for item in fields(LogfileHeader)} - {"version"}
            major, _, minor = facts["version"].partition(".")
            header = LogfileHeader(version=(int(major), int(minor)), **{name: facts[name] for name in wanted})
            yield etl_machine(source["name"], header)
        elif source["kind"] == "pml":
            yield Machine(
                source["name"],
                computer=facts["computer_name"] or None,
                build=facts["windows_build"] or None,
                processors=facts["processors"] or None,
                bits=facts["bits"],
            )
        else:
            yield Machine(source["name"], computer=manifest.settings.get("host"))
