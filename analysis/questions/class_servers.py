r"""The libraries and programs of COM classes, as captures or their hives tell them: where a CLSID leads.

The default value of ``CLSID\\{...}\\InprocServer32`` is a library, of ``LocalServer32`` a program (Microsoft Learn, "COM
Registry Keys"). A user's class stands before the machine's. Names of classes are in `analysis.questions.class_names`.
"""

from collections.abc import Collection

from analysis.engine.connection import engine_errors
from analysis.engine.relation import Relation, quoted
from analysis.questions.context import QueryContext
from tracer.registry.text import decode_name

__all__ = ["find_class_servers"]

_MOST = 2_048  # bytes of data that can be a server
_KEYS = r"\\CLSID\\(\{[0-9A-F-]+\})\\(INPROCSERVER32|LOCALSERVER32)$"  # of folded paths
_SERVERS = """
    WITH places AS (
        SELECT key_id, folded_path, regexp_extract(folded_path, '{pattern}', 1) AS clsid,
            starts_with(folded_path, 'HKU') AS is_user
        FROM {keys} WHERE regexp_matches(folded_path, '{pattern}')
    )
    SELECT clsid, is_user, folded_path, data, key_id FROM places JOIN {events} AS events USING (key_id)
    WHERE clsid IN ({clsids}) AND status IS NOT DISTINCT FROM 0 AND data IS NOT NULL AND value_name = ''
        AND coalesce(data_type, 1) IN (1, 2) AND octet_length(data) BETWEEN coalesce(data_size, 0) AND {most}
        AND operation IN ('SetValueKey', 'QueryValueKey', 'EnumerateValueKey')
    ORDER BY clsid, is_user DESC, contains(folded_path, 'INPROC') DESC, sequence DESC
"""


def find_class_servers(context: QueryContext, clsids: Collection[str]) -> dict[tuple[int, str], str]:
    """Return the servers of some classes, by capture and CLSID in upper case.

    It is what was last written or read, a user's before the machine's. Captures are told by their place in `stores`.

    Args:
        context: the context of a question; with a baseline, what hives hold counts too.
        clsids: CLSIDs in upper case, in braces.
    """
    if not clsids:
        return {}
    columns = (
        ("clsid", "string"),
        ("is_user", "bool"),
        ("folded_path", "string"),
        ("data", "binary"),
        ("key_id", "int64"),
    )
    sql = _SERVERS.format(
        pattern=_KEYS,
        keys=context.relation("keys").source,
        events=context.relation("stored_events").source,
        clsids=", ".join(map(quoted, sorted(clsids))),
        most=_MOST,
    )
    with engine_errors():
        rows = context.engine.fetch(Relation(sql, columns)).to_pylist()
    found: dict[tuple[int, str], str] = {}
    places = context.places([row["key_id"] for row in rows], "key_id")
    for place, row in zip(places, rows, strict=True):
        text = decode_name(row["data"]).partition("<U+0000>")[0]
        if text:
            found.setdefault((place, row["clsid"]), text)
    return found
