"""The words that questions accept: groupings, orders and kinds."""

from collections.abc import Collection

from tracer.errors import UsageError
from tracer.registry.suggestions import advice

__all__ = [
    "HANDLES_BY",
    "HOT_BY",
    "HOT_SORTS",
    "KEY_SORTS",
    "KINDS",
    "MOST_LEVELS",
    "TREE_SORTS",
    "USUAL_KINDS",
    "check_width",
    "check_word",
    "parse_kinds",
]

# word -> (column, largest first)
KEY_SORTS = {
    "events": ("events", True),
    "reads": ("reads", True),
    "writes": ("writes", True),
    "opens": ("opens", True),
    "created": ("created", True),
    "deletes": ("deletes", True),
    "failures": ("failures", True),
    "errors": ("failures", True),
    "not_found": ("not_found", True),
    "processes": ("processes", True),
    "values": ("values", True),
    "bytes_written": ("bytes_written", True),
    "first_time": ("first_time", False),
    "last_time": ("last_time", True),
    "key": ("display_key", False),
}
# word -> the column that rows are grouped by
HOT_BY = {
    "key": "group_id",
    "process": "process_id",
    "second": "bucket_ns",
    "operation": "operation",
    "status": "status",
}
# largest first, but for times: earliest first
HOT_SORTS = (
    "events", "reads", "writes", "opens", "created", "deletes", "failures", "not_found", "time_spent_ns", "first_time",
)  # fmt: skip
# largest first, but for path: as a tree
TREE_SORTS = (
    "path", "events", "reads", "writes", "opens", "created", "deletes", "failures", "not_found", "keys", "time_spent_ns",
)  # fmt: skip
MOST_LEVELS = 30
HANDLES_BY = ("handle", "key")
KINDS = ("values", "keys", "operations", "processes")  # of things that can differ
USUAL_KINDS = ("values", "keys", "processes")  # operations are very many


def check_width(every_ns: int) -> None:
    """Raise UsageError where a width of time, in nanoseconds, is not some whole microseconds."""
    if not 0 < every_ns < 2**62 or every_ns % 1_000:
        raise UsageError(f"invalid width of time {every_ns} ns; use whole microseconds")


def check_word(word: str, words: Collection[str], what: str) -> None:
    """Raise UsageError where a word is not accepted; `what`: a noun for the message, such as "order"."""
    if word not in words:
        raise UsageError(f"unknown {what} {word!r}; {advice(word, words)}")


def parse_kinds(words: str | Collection[str] | None) -> tuple[str, ...]:
    """Return the kinds of things to compare, from a list or a text with commas; None: the usual ones.

    Raises:
        UsageError: there is no such kind.
    """
    if words is None:
        return USUAL_KINDS
    listed = words.split(",") if isinstance(words, str) else words
    kinds = {word.strip().lower() for word in listed if word.strip()}
    wrong = sorted(kinds - set(KINDS))
    if wrong or not kinds:
        if wrong:
            raise UsageError(f"unknown kind {wrong[0]!r}; {advice(wrong[0], KINDS)}")
        raise UsageError(f"no kind given; use some of: {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in kinds)
