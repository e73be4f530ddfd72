r"""Search chains: a lookup that misses in one place and then hits in another, as Windows programs do by design.

Programs look for one thing in several places: for the user and then for the machine, in the 32-bit and in
the 64-bit view, among policies and then among preferences, and COM for a class of the user's, then of the
machine's. The misses on the way are failures that mean nothing.

A lookup is an OpenKey or a CreateKey that made nothing, or a QueryValueKey. It misses where nothing was found
(NAME_NOT_FOUND, PATH_NOT_FOUND). Two keys are one thing in two places where they have one search name: the path
without hive, user, ``Wow6432Node`` and ``Policies``. What one thread does next with that thing answers the miss:

* the miss of a key, where it opens the key in another place, or uses a handle of that key that it has already;
* the miss of a value, where it reads the value of that name in another place;

and where that is no miss itself (then the search goes on), does not fail otherwise, is at most a tenth of a second later,
and the place that missed is not asked once more before: then the search had begun anew.
"""

import ibis
from ibis.expr.types import StringValue, Table

from analysis.expressions.folding import folded
from tracer.registry.ntstatus import NOT_SUCCESS, TOO_SHORT

__all__ = ["LONGEST_SEARCH_NS", "search_chains", "search_places"]

LONGEST_SEARCH_NS = 100_000_000
_MISSED = (0xC0000034, 0xC000003A)  # OBJECT_NAME_NOT_FOUND, OBJECT_PATH_NOT_FOUND
_NO_MORE = 0x8000001A
_NEITHER = (0x103, 0x104)  # PENDING, REPARSE

_USER = r"\AHKU\\[^\\]*"
_USER_CLASSES = r"\AHKU\\[^\\]*_CLASSES(\\|\z)"
_CLASSES = "\\SOFTWARE\\CLASSES"
_WOW64, _POLICIES = "\\WOW6432NODE\\", "\\POLICIES\\"
# what COM looks for below a class, in this order
_SERVER = r"\\(TREATAS|INPROCSERVER32|INPROCHANDLER32|LOCALSERVER32|LOCALSERVER|INPROCSERVER)\z"
_OF_CLASS = r"\A\\SOFTWARE\\CLASSES\\CLSID\\\{[^\\]*\}"
_SAME_THING = ("process_id", "thread_id", "search_id", "of_key", "folded_value")
_PLACE = ("of_user", "of_wow64", "of_policies", "server")


def search_places(keys: Table) -> Table:
    r"""Return the common name and the place of each key that can be searched in several places.

    Columns: key_id, group_id (`keys.same_as`), search_name (folded path without the hive, the user,
    ``Wow6432Node`` and, below ``SOFTWARE``, ``Policies``; a user's ``_Classes`` are ``\SOFTWARE\CLASSES``; the
    subkeys of a class that name its server are all ``\``), of_user, of_wow64, of_policies, of_classes
    (booleans), server (that subkey; "" where it is none). Keys elsewhere, such as application hives and
    objects without a name, are left out.
    """
    path = keys["folded_path"]
    of_user, user_classes = path.startswith("HKU\\"), path.re_search(_USER_CLASSES)
    below_user: StringValue = path.re_replace(_USER, "")
    rest = ibis.ifelse(
        user_classes,
        ibis.literal(_CLASSES).concat(path.re_replace(_USER + "_CLASSES", "")),
        ibis.ifelse(of_user, below_user, path.substr(len("HKLM"))),
    )
    places = keys.select(
        key_id="key_id",
        group_id="same_as",
        of_user=of_user,
        rest=ibis.ifelse(of_user | path.startswith("HKLM\\"), rest, ibis.null(str)),
    )
    places = places.filter(places["rest"].notnull() & (places["rest"] != ""))
    places = places.mutate(
        of_wow64=places["rest"].contains(_WOW64), rest=places["rest"].replace(_WOW64, "\\")
    )
    rest = places["rest"]
    of_policies = rest.startswith("\\SOFTWARE\\") & rest.contains(_POLICIES)
    places = places.mutate(
        of_policies=of_policies, rest=ibis.ifelse(of_policies, rest.replace(_POLICIES, "\\"), rest)
    )
    rest = places["rest"]
    short = rest.re_replace(_SERVER, "")
    is_server = rest.re_search(_OF_CLASS + _SERVER)
    return places.select(
        "key_id",
        "group_id",
        "of_user",
        "of_wow64",
        "of_policies",
        search_name=ibis.ifelse(is_server, short.concat("\\"), rest),
        of_classes=(rest == _CLASSES) | rest.startswith(_CLASSES + "\\"),
        server=ibis.ifelse(is_server, rest.substr(short.length()), ""),
    )


def search_chains(events: Table, keys: Table) -> Table:
    """Return one row for each miss that a later hit answered, in no order.

    Columns: sequence (of the miss), chain, resolved_sequence (of the hit), resolved_key_id (the group of the
    key that was found). `chain` says in what the two places differ; the first that fits:

    * policy: one is among the policies;
    * com: classes of the user and of the machine, or two subkeys that may name a class's server;
    * wow64: one is in the 32-bit view;
    * hkcu-hklm: one is the user's and one is the machine's.

    Rows whose process, thread or status is not known are in no chain.

    Args:
        events: stored or joined event rows, all of the processes that matter.
        keys: the table `keys`.
    """
    lookups = _asked(events, search_places(keys))
    missed = (
        lookups.filter(lookups["missed"]).select("process_id", "thread_id", "search_id", "of_key").distinct()
    )
    lookups = lookups.semi_join(missed, ("process_id", "thread_id", "search_id", "of_key"))
    later = {"order_by": "sequence", "rows": (1, None)}
    misses_at = ibis.ifelse(lookups["missed"], lookups["sequence"], ibis.null("int64"))
    others_at = ibis.ifelse(lookups["missed"], ibis.null("int64"), lookups["sequence"])
    chains = lookups.mutate(
        resolved_sequence=others_at.min().over(ibis.window(group_by=_SAME_THING, **later)),
        again=misses_at.min().over(ibis.window(group_by=(*_SAME_THING, "group_id"), **later)),
    )
    misses = chains.filter(
        chains["missed"] & (chains["resolved_sequence"] < chains["again"].fill_null(2**63 - 1))
    )
    hits = lookups.filter(lookups["hit"]).select(
        hit_sequence="sequence",
        hit_of_key="of_key",
        hit_ns="time_ns",
        resolved_key_id="group_id",
        **{f"hit_{name}": name for name in _PLACE},
    )
    pairs = misses.inner_join(
        hits,
        [misses["resolved_sequence"] == hits["hit_sequence"], misses["of_key"] == hits["hit_of_key"]],
    )
    differs = {name: pairs[name] != pairs[f"hit_{name}"] for name in _PLACE}
    chain = ibis.cases(
        (differs["of_policies"], "policy"),
        (pairs["of_classes"] & (differs["of_user"] | differs["server"]), "com"),
        (differs["of_wow64"], "wow64"),
        (differs["of_user"], "hkcu-hklm"),
        else_=ibis.null(str),
    )
    pairs = pairs.mutate(chain=chain)
    near = pairs["hit_ns"] - pairs["time_ns"] <= LONGEST_SEARCH_NS
    return pairs.filter(near & pairs["chain"].notnull()).select(
        "sequence", "chain", "resolved_sequence", "resolved_key_id"
    )


def _asked(events: Table, places: Table) -> Table:
    """Return the lookups of keys and values with several places: whether each missed, hit, or neither.

    A query of a value is there twice: as one for the value, and as a use of its key.
    """
    # A number stands for each name: there are as many rows as events, and windows keep them all.
    several = places.group_by(several_name="search_name").aggregate(
        different=places["group_id"].nunique(), search_id=places["group_id"].min()
    )
    several = several.filter(several["different"] > 1)
    places = places.inner_join(several, places["search_name"] == several["several_name"])
    places = places.drop("search_name", "several_name", "different").rename(place_id="key_id")
    rows = events.select(
        "sequence", "time_ns", "process_id", "thread_id", "operation", "status", "disposition", "key_id",
        "value_name",
    )  # fmt: skip
    known = rows["process_id"].notnull() & rows["thread_id"].notnull() & rows["status"].notnull()
    rows = rows.filter(known & ~rows["status"].isin(_NEITHER) & (rows["operation"] != "CloseKey"))
    rows = rows.inner_join(places, rows["key_id"] == places["place_id"])
    operation, status = rows["operation"], rows["status"]
    opens = operation.isin(["OpenKey", "CreateKey"])
    missed, there = status.isin(_MISSED), (status < NOT_SUCCESS) | status.isin(TOO_SHORT)
    made = (operation == "CreateKey") & (rows["disposition"] == 1).fill_null(False)
    of_keys = rows.mutate(
        of_key=ibis.literal(True),
        folded_value=ibis.null(str),
        missed=opens & missed,
        hit=ibis.ifelse(opens, there & ~made, there | missed | (status == _NO_MORE)),
    )
    queries = rows.filter((operation == "QueryValueKey") & rows["value_name"].notnull())
    of_values = queries.mutate(
        of_key=ibis.literal(False),
        folded_value=folded(queries["value_name"]),
        missed=queries["status"].isin(_MISSED),
        hit=(queries["status"] < NOT_SUCCESS) | queries["status"].isin(TOO_SHORT),
    )
    return of_keys.union(of_values)
