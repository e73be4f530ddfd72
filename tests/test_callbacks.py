"""Callbacks in the shape of CmRegisterCallbackEx: who is called with what, in which order, and what cannot go wrong."""

import dataclasses
import functools
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from event_rows import event_table, row
from hypothesis import given
from hypothesis import strategies as st

from tracer.callbacks.notification_rows import make_notifications, notification_table
from tracer.callbacks.notifications import CLASSES, Notification, SetValueKey
from tracer.callbacks.notify_class import REPORTED, Notify
from tracer.callbacks.registrations import Registrations
from tracer.errors import UsageError
from tracer.registry.operations import BY_NAME, OPERATIONS
from tracer.registry.paths import KeyPattern, compile_pattern
from tracer.registry.text import escape_name, fold_name

RUN = "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Run"
OTHER = "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor"


# --- classes and their numbers -----------------------------------------------------------------------------


def test_the_classes_have_the_numbers_of_wdm():
    """Against another statement of the same header: the operations' notifications, and the order of the pairs."""
    for operation in OPERATIONS:
        if operation.notification is not None:
            assert Notify[operation.notification.removeprefix("RegNt")] == operation.notify_class
    members = [Notify(number) for number in range(52)]
    assert all(member.name != "Unknown" for member in members)
    assert [Notify[name] for name in ("DeleteKey", "QueryMultipleValueKey")] == [0, 9]
    for member in members[26:52]:
        if member.name.startswith("Post"):
            assert member - 1 == Notify[member.name.replace("Post", "Pre")]
    assert (Notify.CallbackObjectContextCleanup, Notify.MaxNotifyClass) == (40, 51)


def test_a_number_of_a_newer_system_survives():
    [made] = make_notifications(event_table(row(notify_class=777)))
    assert made.notify == 777
    assert made.notify.name == "Unknown"


def test_only_the_close_is_told_before_it_happens():
    assert [notify for notify in sorted(REPORTED) if notify.is_pre] == [Notify.PreKeyHandleClose]


# --- what a notification holds -----------------------------------------------------------------------------


def test_every_field_of_the_row_is_in_the_notification():
    [made] = make_notifications(
        event_table(
            row(
                key=RUN, display_key="HKLM\\SOFTWARE\\Vendor\\Run", status=0, process="setup.exe", pid=4100,
                thread_id=4104, address=-(2**47), name_source="open", source="here", value_name="", data_type=1,
                data_size=4, data=b"a\0\0\0", previous_type=4, previous_size=9000, previous_data=b"\1", flags=4,
            )
        )
    )  # fmt: skip
    assert made == SetValueKey(
        Notify.PostSetValueKey, "SetValueKey", 0, 0, RUN, "HKLM\\SOFTWARE\\Vendor\\Run", 0, "setup.exe", 4100, 4104,
        -(2**47), "open", "here", 4, "", 1, 4, b"a\0\0\0", 4, 9000, b"\1",
    )  # fmt: skip


@pytest.mark.parametrize("operation", [operation.name for operation in OPERATIONS])
def test_what_is_not_known_is_none(operation):
    [made] = make_notifications(event_table(row(operation)))
    assert type(made) is CLASSES.get(operation, Notification)
    assert made.notify == BY_NAME[operation].notify_class
    known = {"notify", "operation", "time_ns", "sequence", "flags"}
    assert {
        item.name: getattr(made, item.name) for item in dataclasses.fields(made) if item.name not in known
    } == {item.name: None for item in dataclasses.fields(made) if item.name not in known}


def test_a_column_that_is_not_there_is_unknown():
    bare = event_table(row()).select(["operation", "time_ns", "sequence"])
    assert list(make_notifications(bare)) == [SetValueKey(None, "SetValueKey", 0, 0)]


@pytest.mark.parametrize(
    "detail", [None, "", "{", "[]", "7", '{"Length": "12"}', '{"Length": true}', "[" * 5000, '{"length": 1}']
)
def test_a_detail_that_does_not_say_it_is_none(detail):
    [made] = make_notifications(event_table(row("QueryKey", detail=detail)))
    assert made.length is None


def test_details_have_the_names_of_the_structures():
    made = list(
        make_notifications(
            event_table(
                row("QueryValueKey", detail='{"Length": 144}'),
                row("CreateKey", detail='{"DesiredAccess": 131097, "GrantedAccess": 1}'),
                row("LoadKey", detail='{"FileName": "C:\\\\hive"}'),
                row("OpenKey", detail='{"DesiredAccess": 1}'),
            )
        )
    )
    assert made[0].length == 144
    assert (made[1].desired_access, made[1].granted_access) == (131097, 1)
    assert made[2].source_file == "C:\\hive"
    assert (made[3].desired_access, made[3].granted_access) == (1, None)


@pytest.mark.parametrize("kind", list(dict.fromkeys(CLASSES.values())), ids=lambda kind: kind.__name__)
def test_a_notification_is_frozen_small_and_documented(kind):
    made = kind(None, "x", 0, 0)
    assert not hasattr(made, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.key = "y"
    assert kind.structure in kind.__doc__
    own = {item.name for item in dataclasses.fields(kind)} - {
        item.name for item in dataclasses.fields(Notification)
    }
    alike = {"OpenKey", "EnumerateKey", "EnumerateValueKey"}  # their docstrings point to one that says it
    assert kind.__name__ in alike or all(name in kind.__doc__ for name in own)


def test_the_time_is_utc():
    [made] = make_notifications(event_table(row(time_ns=1_714_557_600_000_000_999)))
    assert made.time.isoformat() == "2024-05-01T10:00:00+00:00"


def test_the_table_of_the_documentation_has_a_line_for_each_class_and_balanced_cells():
    lines = notification_table().splitlines()
    assert len(lines) == 2 + len(CLASSES)
    assert {re.sub(r"\\.", "", line).count("|") for line in lines} == {6}
    assert all(f"`{kind.structure}`" in notification_table() for kind in CLASSES.values())


# --- who is called -----------------------------------------------------------------------------------------


def test_a_callback_without_filters_gets_every_row_in_order():
    got: list[Notification] = []
    registrations = Registrations()
    registrations.register(got.append)
    rows = event_table(*(row(operation) for operation in BY_NAME))
    assert registrations.dispatch(rows) == len(rows)
    assert [each.operation for each in got] == list(BY_NAME)
    assert [each.sequence for each in got] == list(range(len(rows)))


def test_filters_narrow_together():
    got: list[int] = []
    registrations = Registrations()
    registrations.register(
        lambda each: got.append(each.sequence),
        notify="RegNtPostSetValueKey",
        key="HKLM\\**\\run",
        process=["SET*", 8],
    )
    rows = [
        row(key=RUN, process="setup.exe", pid=1),
        row(key=RUN, process=None, pid=8),
        row(key=RUN, process="other.exe", pid=1),
        row(key=RUN, process=None, pid=None),
        row(key=OTHER, process="setup.exe"),
        row(key=None, process="setup.exe"),
        row("CloseKey", key=RUN, process="setup.exe"),
        row("HiveWork", key=RUN, process="setup.exe"),
    ]
    registrations.dispatch(event_table(*rows))
    assert got == [0, 1]


def test_links_are_followed_where_the_control_set_is_known():
    got: list[str | None] = []
    registrations = Registrations()
    registrations.register(
        lambda each: got.append(each.key), key="HKLM\\SYSTEM\\CurrentControlSet\\Services", subtree=True
    )
    rows = event_table(
        row(key="\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\Tcpip"),
        row(key="\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet002\\Services"),
    )
    registrations.dispatch(rows)
    assert got == []
    registrations.dispatch(rows, control_set=1)
    assert got == ["\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\Tcpip"]


@pytest.mark.parametrize(
    "name",
    ["nul\0inside", "\ud800lone", "a\nb", "x*y?[z]", "\x1b[31m", "Straße ıſµ", "<U+0041>", "\u202egnp"],
)
def test_hostile_names_match_as_they_are_written(name):
    written = escape_name(name)
    got: list[str | None] = []
    registrations = Registrations()
    literal = re.sub(r"([*?[])", r"[\1]", written)
    registrations.register(
        lambda each: got.append(each.key), key=f"HKLM\\SOFTWARE\\{literal}", process=literal
    )
    path = f"\\REGISTRY\\MACHINE\\SOFTWARE\\{written}"
    rows = event_table(
        row(key=path, process=written), row(key=f"{path}x", process=written), row(key=path, process="x")
    )
    registrations.dispatch(rows)
    assert got == [path]


def test_a_pattern_is_matched_once_for_each_distinct_key(monkeypatch):
    calls = 0
    real = KeyPattern.matches

    def counted(pattern, path):
        nonlocal calls
        calls += 1
        return real(pattern, path)

    monkeypatch.setattr(KeyPattern, "matches", counted)
    registrations = Registrations()
    registrations.register(lambda _: None, key="HKLM\\SOFTWARE\\Vendor")
    rows = event_table(*(row(key=RUN if number % 3 else OTHER) for number in range(30_000)))
    assert registrations.dispatch(rows) == 10_000
    assert registrations.dispatch(rows) == 10_000
    assert calls == 2


def test_no_notification_is_made_for_a_row_that_nobody_wants(monkeypatch):
    registrations = Registrations()
    registrations.register(lambda _: None, notify=Notify.PostDeleteKey)
    monkeypatch.setattr(
        "tracer.callbacks.registrations.make_notifications", lambda rows: pytest.fail("made for nobody")
    )
    assert registrations.dispatch(event_table(row(), row("OpenKey"))) == 0
    assert Registrations().dispatch(event_table(row())) == 0


def test_dictionaries_and_chunks_of_any_kind_are_read_alike():
    plain = event_table(
        *(row(key=RUN if number % 2 else OTHER, process="p.exe", pid=number) for number in range(10))
    )
    encoded = plain
    for name in ("key", "process", "operation"):
        place = plain.schema.get_field_index(name)
        encoded = encoded.set_column(place, name, encoded.column(name).dictionary_encode())
    chunked = pa.concat_tables([plain.slice(0, 3), plain.slice(3, 0), plain.slice(3)])
    answers = []
    for rows in (plain, encoded, chunked):
        got: list[Notification] = []
        registrations = Registrations()
        registrations.register(got.append, key=RUN, process="P.EXE")
        registrations.dispatch(rows)
        answers.append(got)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 5


# --- in which order ----------------------------------------------------------------------------------------


def test_altitudes_go_down_before_and_up_after_an_operation():
    order: list[tuple[str, str]] = []
    registrations = Registrations()
    for altitude in ("9", "385000", "385000.5", "1000000", "385000.25", "09.0"):
        registrations.register(lambda each, a=altitude: order.append((each.operation, a)), altitude=altitude)
    registrations.dispatch(event_table(row("CloseKey"), row("SetValueKey")))
    down = ["1000000", "385000.5", "385000.25", "385000", "9", "09.0"]
    up = ["9", "09.0", "385000", "385000.25", "385000.5", "1000000"]
    assert [altitude for operation, altitude in order if operation == "CloseKey"] == down
    assert [altitude for operation, altitude in order if operation == "SetValueKey"] == up


def test_every_callback_has_seen_a_row_before_the_next_row():
    order: list[tuple[int, int]] = []
    registrations = Registrations()
    for number in range(3):
        registrations.register(lambda each, n=number: order.append((each.sequence, n)))
    registrations.dispatch(event_table(*(row() for _ in range(3))))
    assert order == [(sequence, number) for sequence in range(3) for number in range(3)]


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("altitude", ["", "high", "-1", "1e5", "1.", ".5", "١", 385000, None, "1" * 500])
def test_an_altitude_is_a_decimal_number_as_text(altitude):
    with pytest.raises(UsageError, match="altitude"):
        Registrations().register(print, altitude=altitude)


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (Notify.PreSetValueKey, "register for PostSetValueKey"),
        (Notify.SetValueKey, "register for PostSetValueKey"),
        (Notify.PostCreateKey, "register for PostCreateKeyEx"),
        (10, "register for PostCreateKeyEx"),
        (Notify.PostKeyHandleClose, "register for PreKeyHandleClose"),
        (Notify.CallbackObjectContextCleanup, "leave it out"),
        (999, "no source reports"),
        ("PostSetValue", "not a REG_NOTIFY_CLASS"),
    ],
)
def test_a_class_that_nobody_reports_is_refused_with_the_one_to_use(asked, advice):
    with pytest.raises(UsageError, match=advice):
        Registrations().register(print, notify=[asked])


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "C:\\Windows"},
        {"key": ""},
        {"key": "HKCU\\Software", "user": "ann"},
        {"callback": 7},
    ],
)
def test_a_mistake_is_told_when_registering(wrong):
    with pytest.raises(UsageError):
        Registrations().register(**{"callback": print, **wrong})


@pytest.mark.parametrize("cookie", [0, 99, None, "1", []])
def test_an_unknown_cookie_is_refused(cookie):
    registrations = Registrations()
    registrations.register(print)
    with pytest.raises(UsageError, match="cookie"):
        registrations.unregister(cookie)
    with pytest.raises(UsageError, match="cookie"):
        registrations[cookie]
    assert len(registrations) == 1


def test_a_cookie_is_used_once_and_never_given_again():
    registrations = Registrations()
    first = registrations.register(print)
    registrations.unregister(first)
    with pytest.raises(UsageError):
        registrations.unregister(first)
    assert registrations.register(print) != first


# --- callbacks that fail, and callbacks that register --------------------------------------------------------


def failing(_: Notification) -> None:
    raise ValueError("broken")


def test_a_failing_callback_is_counted_and_stops_nobody():
    before: list[int] = []
    after: list[int] = []
    registrations = Registrations()
    registrations.register(lambda each: before.append(each.sequence))
    cookie = registrations.register(failing)
    registrations.register(lambda each: after.append(each.sequence))
    with pytest.warns(
        RuntimeWarning, match=r"callback failing raised an exception.*ValueError\('broken'\)"
    ) as said:
        assert registrations.dispatch(event_table(row(), row("CloseKey"), row())) == 3
    [warning] = said  # the first one only
    assert (warning.filename, warning.lineno) == (__file__, failing.__code__.co_firstlineno)
    assert before == after == [0, 1, 2]
    assert (registrations[cookie].calls, registrations[cookie].failures) == (3, 3)
    assert isinstance(registrations[cookie].last_error, ValueError)
    assert registrations[cookie].last_error.__traceback__.tb_frame.f_code.co_name == "failing"
    with pytest.warns(RuntimeWarning, match="in 3 of 3 calls"):
        registrations.unregister(cookie)
    assert registrations.failures == 3


def test_each_callback_that_fails_is_warned_of_in_each_run_however_it_is_made(recwarn):
    warnings.simplefilter("default")  # where Python says what it has said at a place no second time
    for _ in range(2):
        registrations = Registrations()
        registrations.register(failing)
        registrations.register(functools.partial(failing))
        registrations.register(int)  # no function of a notification, and without code of its own
        registrations.dispatch(event_table(row(), row()))
        registrations.warn_of_failures()
        registrations.warn_of_failures()  # nothing new
    assert len(recwarn) == 2 * 3 * 2
    assert sum("in 2 of 2 calls" in str(warning.message) for warning in recwarn) == 2 * 3


def test_an_error_that_holds_hostile_text_is_warned_of_in_plain_letters():
    def hostile(_: Notification) -> None:
        raise ValueError("\x1b[2J\u202e\ud800")

    registrations = Registrations()
    registrations.register(hostile)
    with pytest.warns(RuntimeWarning) as said:
        registrations.dispatch(event_table(row()))
    assert str(said[0].message).isascii()
    assert "\x1b" not in str(said[0].message)


def test_what_ends_the_program_passes():
    def interrupted(_: Notification) -> None:
        raise KeyboardInterrupt

    registrations = Registrations()
    registrations.register(interrupted)
    with pytest.raises(KeyboardInterrupt):
        registrations.dispatch(event_table(row()))


def test_what_a_callback_returns_is_ignored():
    got: list[int] = []
    registrations = Registrations()
    registrations.register(lambda _: 0xC0000022, altitude="1")  # a driver would have blocked the operation
    registrations.register(lambda each: got.append(each.sequence), altitude="2")
    registrations.dispatch(event_table(row(), row("CloseKey")))
    assert got == [0, 1]


def test_a_callback_may_unregister_itself():
    got: list[int] = []
    registrations = Registrations()

    def once(each: Notification) -> None:
        got.append(each.sequence)
        registrations.unregister(cookie)

    cookie = registrations.register(once)
    stayed: list[int] = []
    registrations.register(lambda each: stayed.append(each.sequence))
    registrations.dispatch(event_table(row(), row(), row()))
    assert (got, stayed) == ([0], [0, 1, 2])


def test_one_that_was_unregistered_inside_another_is_not_called_even_for_this_row():
    got: list[str] = []
    registrations = Registrations()
    cookie = registrations.register(lambda _: got.append("second"), altitude="2")

    def first(_: Notification) -> None:
        got.append("first")
        if len(registrations) == 2:
            registrations.unregister(cookie)

    registrations.register(first, altitude="1")
    registrations.dispatch(event_table(row(), row()))
    assert got == ["first", "first"]


def test_one_that_is_registered_inside_a_callback_is_called_from_the_next_row_on():
    got: list[int] = []
    registrations = Registrations()

    def grow(each: Notification) -> None:
        if each.sequence == 1:
            registrations.register(lambda inner: got.append(inner.sequence), altitude="1000000")

    registrations.register(grow)
    assert registrations.dispatch(event_table(*(row() for _ in range(5)))) == 5
    assert got == [2, 3, 4]


def test_registering_for_rows_that_nobody_wanted_before_reaches_them():
    got: list[int] = []
    registrations = Registrations()

    def grow(_: Notification) -> None:
        if len(registrations) == 1:
            registrations.register(lambda each: got.append(each.sequence), notify=Notify.PostDeleteKey)

    registrations.register(grow, notify=Notify.PostSetValueKey)
    registrations.dispatch(
        event_table(row("DeleteKey"), row(), row("DeleteKey"), row("OpenKey"), row("DeleteKey"))
    )
    assert got == [2, 4]


def test_registering_from_other_threads_while_rows_are_dispatched_loses_no_call():
    got: list[int] = []
    registrations = Registrations()
    registrations.register(lambda each: got.append(each.sequence))
    stop = threading.Event()
    problems: list[BaseException] = []

    def churn() -> None:
        try:
            while not stop.is_set():
                registrations.unregister(registrations.register(lambda _: None, notify=Notify.PostDeleteKey))
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        registrations.dispatch(event_table(*(row() for _ in range(400))))
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert got == list(range(400))
    assert (problems, len(registrations)) == ([], 1)


# --- the fast filter against a plain loop ---------------------------------------------------------------------

KEYS = [
    None,
    RUN,
    OTHER,
    RUN.lower(),
    "\\REGISTRY\\USER\\S-1-5-18\\Software\\Run",
    "<object 0xFFFF8000>\\below",
    "\\REGISTRY\\MACHINE\\X\nY",
]
IMAGES = [None, "setup.exe", "SETUP.EXE", "svc[1].exe", "a\nb", ""]
PATTERNS = [
    "HKLM\\SOFTWARE\\Vendor\\Run",
    "HKLM\\**",
    "**\\run",
    "HKU\\*\\Software\\*",
    "HKLM\\SOFTWARE\\?endor",
    "<object 0xFFFF8000>\\*",
]
IMAGE_PATTERNS: list[str | int] = ["setup.exe", "s*", "?*", "svc[[]1].exe", "*", 7, "7", 0]


def fits_image(image: str | None, pid: int | None, pattern: str | int) -> bool:
    """The rule for processes as it is stated, letter by letter."""
    if pid is not None and str(pid) == str(pattern):
        return True
    if isinstance(pattern, int) or image is None:
        return False
    tokens = re.findall(r"\[[*?[]\]|.", fold_name(pattern), re.DOTALL)

    def match(text: str, left: list[str]) -> bool:
        if not left:
            return not text
        first, *rest = left
        if first == "*":
            return any(match(text[start:], rest) for start in range(len(text) + 1))
        return (
            bool(text)
            and (
                first == "?"
                or text[0] == first.strip("[]" if len(first) == 3 else "")
                or first == f"[{text[0]}]"
            )
            and match(text[1:], rest)
        )

    return match(fold_name(image), tokens)


def some(values: list[Any]) -> st.SearchStrategy[list[Any] | None]:
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=3)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([o.name for o in OPERATIONS]),
            st.sampled_from(KEYS),
            st.sampled_from(IMAGES),
            st.sampled_from([None, 0, 7, 4_294_967_295]),
        ),
        max_size=30,
    ),
    asked=st.lists(
        st.tuples(
            some(sorted(REPORTED)), some(PATTERNS), some(IMAGE_PATTERNS), st.sampled_from(["1", "2", "10"])
        ),
        max_size=4,
    ),
)
def test_the_fast_filter_calls_whom_a_plain_loop_would_call(rows, asked):
    table = event_table(
        *(row(operation, key=key, process=image, pid=pid) for operation, key, image, pid in rows)
    )
    got: list[tuple[int, int]] = []
    registrations = Registrations()
    for number, (notify, keys, processes, altitude) in enumerate(asked):
        registrations.register(
            lambda each, n=number: got.append((each.sequence, n)),
            notify=notify,
            key=keys,
            process=processes,
            altitude=altitude,
        )
    expected = []
    for sequence, (operation, key, image, pid) in enumerate(rows):
        number_of = BY_NAME[operation].notify_class
        fitting = [
            (int(altitude), number)
            for number, (notify, keys, processes, altitude) in enumerate(asked)
            if (notify is None or number_of in notify)
            and (
                keys is None or (key is not None and any(compile_pattern(text).matches(key) for text in keys))
            )
            and (processes is None or any(fits_image(image, pid, pattern) for pattern in processes))
        ]
        before = operation == "CloseKey"
        fitting.sort(key=lambda each: -each[0] if before else each[0])
        expected += [(sequence, number) for _, number in fitting]
    registrations.dispatch(table)
    assert got == expected


def test_a_callback_can_be_any_callable():
    class Counter:
        count = 0

        def __call__(self, _: Notification) -> None:
            self.count += 1

    counter: Callable[[Notification], object] = Counter()
    registrations = Registrations()
    registrations.register(counter)
    registrations.dispatch(event_table(row(), row()))
    assert counter.count == 2
