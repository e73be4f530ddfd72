"""Providers of events: the GUIDs that regtrace reads, and numbers for those that a trace names."""

__all__ = [
    "CLASSIC_PROCESS",
    "CLASSIC_REGISTRY",
    "KERNEL_PROCESS",
    "KERNEL_REGISTRY",
    "PROVIDER_NAMES",
    "ProviderTable",
    "guid_text",
]

KERNEL_REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
KERNEL_PROCESS = "22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716"
CLASSIC_REGISTRY = "ae53722e-c863-11d2-8659-00c04fa321a1"
CLASSIC_PROCESS = "3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c"

PROVIDER_NAMES = {
    KERNEL_REGISTRY: "Microsoft-Windows-Kernel-Registry",
    KERNEL_PROCESS: "Microsoft-Windows-Kernel-Process",
    CLASSIC_REGISTRY: "NT Kernel Logger: Registry",
    CLASSIC_PROCESS: "NT Kernel Logger: Process",
}


class ProviderTable:
    """Providers met so far, numbered: GUID text, or what stands for one where a header has none."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of `name`, given now if it is new."""
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]


def guid_text(low: int, high: int) -> str:
    """Return the GUID whose 16 bytes (mixed-endian, as on disk) are the two little-endian quadwords."""
    tail = high.to_bytes(8, "little").hex()
    return f"{low & 0xFFFFFFFF:08x}-{low >> 32 & 0xFFFF:04x}-{low >> 48:04x}-{tail[:4]}-{tail[4:]}"
