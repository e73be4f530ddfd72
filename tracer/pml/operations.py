"""Procmon's registry operations, by number, under the provider's names."""

from tracer.registry.operations import PROCMON_NAMES

__all__ = ["OPERATIONS", "VALUE_OPERATIONS"]

# By the number in the event, which is their order: (Procmon's name, the name in tracer.registry.operations).
OPERATIONS = tuple(PROCMON_NAMES.items())

# RegSetValue, RegQueryValue, RegDeleteValue: their path ends with the value's name.
VALUE_OPERATIONS = frozenset({4, 5, 10})
