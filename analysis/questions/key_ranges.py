"""The keys of a large capture in ranges that fit into memory, for questions that follow each key by itself.

The rows of a part are sorted by key, so an engine finds those of a range of keys and skips the others.
"""

from dataclasses import dataclass

from analysis.engine.connection import answer, engine_errors
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext

__all__ = ["KeyRange", "is_long", "key_ranges"]

_MANY_ROWS = 400_000  # fewer are a question of a second, whichever way they are asked
# Of one range: what is made of a row takes some 200 bytes meanwhile.
_FEWEST_RANGE_ROWS, _MOST_RANGE_ROWS = 500_000, 4_000_000
# Each range is a query over all parts, so a longer capture has larger ranges before it has more.
_RANGES_OF_MANY = 12

# The spellings of a key belong together (`same_as`). Keys whose spellings lie in several ranges have ranges of their own.
_RANGES = """
    WITH counted AS (SELECT key_id, count(*) AS events FROM {events} GROUP BY key_id),
    placed AS (
        SELECT key_id, same_as, events, sum(events) OVER (ORDER BY key_id) // {rows} AS place
        FROM {keys} JOIN counted USING (key_id)
    ),
    groups AS (
        SELECT same_as, sum(events) AS events, min(place) AS place, min(place) <> max(place) AS is_wide
        FROM placed GROUP BY same_as
    ),
    ranges AS (
        SELECT same_as, is_wide,
            CASE WHEN is_wide THEN sum(events) OVER (PARTITION BY is_wide ORDER BY same_as) // {rows} ELSE place END AS place
        FROM groups
    )
    SELECT key_id AS grouped_id, same_as AS group_id, dense_rank() OVER (ORDER BY is_wide, ranges.place) AS range_number
    FROM placed JOIN ranges USING (same_as)
"""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Some keys of a capture, with all their spellings.

    Attributes:
        keys: grouped_id (a key) and group_id (the key that stands for all its spellings).
        first: the lowest id among them.
        last: the highest.
    """

    keys: Relation
    first: int
    last: int

    def of(self, rows: Relation) -> Relation:
        """Return the event rows of these keys and some others, which an engine sifts by reading few of the others."""
        between = f"key_id BETWEEN {self.first} AND {self.last}"
        return Relation(f"SELECT * FROM {rows.source} WHERE {between}", rows.columns)


def is_long(context: QueryContext, filters: Filters, events: Relation | None = None) -> bool:
    """Tell whether a question looks at so many rows that ranges of keys are worth it; `events`: the rows, if they were found."""
    if events is None or filters.key is None:
        return context.has_many_rows(filters, _MANY_ROWS)
    return context.has_many_rows(Filters(), _MANY_ROWS) and context.engine.count(events) >= _MANY_ROWS


def _usual_rows(context: QueryContext) -> int:
    """Return how many event rows a range has by default."""
    events = sum(manifest.totals["events"] for _, manifest in context.stores)
    return min(max(events // _RANGES_OF_MANY, _FEWEST_RANGE_ROWS), _MOST_RANGE_ROWS)


def key_ranges(context: QueryContext, rows: int | None = None) -> list[KeyRange]:
    """Return the keys that have events, in ranges of about so many event rows (a key is never split); None: the usual size."""
    events, keys = context.relation("stored_events"), context.relation("keys")
    kind = dict(keys.columns)["key_id"]
    columns = (("grouped_id", kind), ("group_id", kind))
    sql = _RANGES.format(events=events.source, keys=keys.source, rows=rows or _usual_rows(context))
    found = context.engine.keep("ranges", Relation(sql, (*columns, ("range_number", "int64"))))
    ends = f"SELECT range_number, min(grouped_id), max(grouped_id) FROM {found.source} GROUP BY ALL ORDER BY range_number"
    with engine_errors():
        rows_of_ends = zip(
            *(column.to_pylist() for column in answer(context.engine, ends).columns), strict=True
        )
    return [
        KeyRange(
            Relation(
                f"SELECT grouped_id, group_id FROM {found.source} WHERE range_number = {number}", columns
            ),
            first,
            last,
        )
        for number, first, last in rows_of_ends
    ]
