"""Computers that the records of a log are of: a capture is of one.

Logs spell a computer as `HOST` or as `host.domain.example`. Two names are of one computer where they are equal, or
where one has no domain and is the first label of the other; two domains are two computers. A name without a domain that
fits two names is of neither for sure: it is a computer of its own.
"""

from collections import Counter
from collections.abc import Set as AbstractSet

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.errors import UsageError
from tracer.registry.text import fold_name

__all__ = ["Hosts"]

_SHOWN = 8


class Hosts:
    """Counts the records of each computer, and chooses those of one."""

    def __init__(self, wanted: str | None, apart: AbstractSet[str] = frozenset()) -> None:
        """Take the computer that the user asked for.

        Args:
            wanted: its name; None: the records are of one computer.
            apart: names without a domain that fit several computers of the log, where these are known already.
        """
        self._apart = {fold_name(name) for name in apart}
        self._wanted = None if wanted is None else fold_name(wanted)
        self._asked = wanted
        self._counts: Counter[str] = Counter()
        self._spellings: dict[str, str] = {}

    def choose(self, hosts: pa.Array) -> NDArray[np.bool_] | None:
        """Count the computers of some records, and return which records are wanted; None: all."""
        encoded = hosts.dictionary_encode()
        names: list[str] = encoded.dictionary.to_pylist()
        for counted in encoded.indices.value_counts().to_pylist():
            if counted["values"] is not None:
                self.count(names[counted["values"]], counted["counts"])
        if self._wanted is None:
            return None
        fits = pa.array([self.wants(name) for name in names], pa.bool_())
        chosen: NDArray[np.bool_] = fits.take(encoded.indices).fill_null(False).to_numpy(zero_copy_only=False)
        return chosen

    def count(self, name: str, records: int) -> None:
        """Count records of a computer."""
        self._counts[fold_name(name)] += records
        self._spellings.setdefault(fold_name(name), name)

    def wants(self, name: str | None) -> bool:
        """Tell whether records of a computer are wanted; None: they do not say of which they are."""
        return self._wanted is None or (name is not None and self._fits(fold_name(name), self._wanted))

    def _fits(self, name: str, wanted: str) -> bool:
        return name == wanted or (not self._apart & {name, wanted} and _is_same(name, wanted))

    @property
    def names(self) -> list[str]:
        """The computers, the one with the most records first; a short name of one of them is left out."""
        counts = Counter(self._counts)
        for name in list(counts):
            longer = [other for other in counts if other != name and _is_same(name, other)]
            if "." not in name and name not in self._apart and len(longer) == 1:
                counts[longer[0]] += counts.pop(name)
        return [self._spellings[name] for name, _ in counts.most_common()]

    @property
    def apart(self) -> frozenset[str]:
        """Those of `names` that have no domain and fit several of the others."""
        names = self.names
        return frozenset(
            name
            for name in names
            if "." not in name
            and any(_is_same(fold_name(name), fold_name(one)) for one in names if one != name)
        )

    def check(self) -> str | None:
        """Return the computer that the capture is of; None where no record says.

        Raises:
            UsageError: the records are of several computers, or of none that was asked for.
        """
        names = self.names
        if self._wanted is not None:
            names = [name for name in names if self._fits(fold_name(name), self._wanted)]
            if not names and self._counts:
                raise UsageError(
                    f"no record is of a computer {self._asked!r}; there are records of {_some(self.names)}"
                )
        if len(names) > 1 and self._wanted is not None:
            raise UsageError(
                f"{self._asked!r} fits several names of computers: {_some(names)}; records of a name without a domain may be "
                "of any of them: make a capture of each with --each-host"
            )
        if len(names) > 1:
            raise UsageError(
                f"the records are of {len(names)} computers, and a capture is of one: {_some(names)}; choose one with "
                "--host NAME, or make a capture of each with --each-host"
            )
        return names[0] if names else None


def _is_same(one: str, other: str) -> bool:
    return one == other or (
        ("." in one) != ("." in other) and one.partition(".")[0] == other.partition(".")[0]
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN + 1 else ""
    return ", ".join(names[: _SHOWN if more else None]) + more
