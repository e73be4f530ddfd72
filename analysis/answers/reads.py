"""What reads are and how many tell of polling, without any import of Ibis."""

__all__ = ["LEAST_INTERVALS", "MISSES", "READS"]

READS = ("QueryKey", "QuerySecurityKey", "EnumerateKey", "EnumerateValueKey", "QueryValueKey")
MISSES = (0xC0000034, 0x8000001A)  # OBJECT_NAME_NOT_FOUND, NO_MORE_ENTRIES
LEAST_INTERVALS = 5  # between reads of one question: with fewer nobody can tell polling from chance
