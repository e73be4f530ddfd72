"""Callbacks over event rows, in the shape of CmRegisterCallbackEx: register, get a cookie, unregister.

It observes. Rows tell what already happened, so a callback cannot block or change an operation, and what it
returns is ignored. Others bring the rows: `tracer.live.monitor`, `analysis.replay`.

The order is by altitude. Microsoft documents that the configuration manager calls callbacks from the highest
altitude to the lowest ("Supporting Layered Registry Filtering Drivers"), which is done for pre-notifications here.
For post-notifications, which is nearly everything, the order is reversed, lowest first, as the same altitudes
work for file system minifilters; UNCONFIRMED for registry callbacks, whose pages do not say.
"""

import itertools
import re
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal

import numpy as np
import pyarrow as pa

from tracer.callbacks.notification_rows import make_notifications
from tracer.callbacks.notifications import Notification
from tracer.callbacks.selection import Names, Notifies, Processes, Selection
from tracer.deprecation import renamed_arguments
from tracer.errors import UsageError

__all__ = ["DEFAULT_ALTITUDE", "Callback", "Registration", "Registrations"]

Callback = Callable[[Notification], object]

DEFAULT_ALTITUDE = "385000"
_ALTITUDE = re.compile(r"[0-9]{1,100}(?:\.[0-9]{1,100})?")
_MOST = 8192  # rows looked at together: what registering inside a callback may cost again


class Registration:
    """One registered callback, with counts of its calls and failures.

    Attributes:
        cookie: what `Registrations.register` returned.
        callback: the function.
        altitude: as it was given.
        selection: what it wants.
        calls: how often it was called.
        failures: how often it raised an exception.
        last_error: the last of these; None if there was none.
        is_registered: False once it was unregistered.
    """

    def __init__(self, cookie: int, callback: Callback, altitude: str, selection: Selection) -> None:
        self.cookie = cookie
        self.callback = callback
        self.altitude = altitude
        self.selection = selection
        self.calls = 0
        self.failures = 0
        self.last_error: Exception | None = None
        self.is_registered = True
        self.height = Decimal(altitude)
        self._failures_warned_of = 0

    def call(self, notification: Notification) -> None:
        """Call the callback. An exception is counted and kept, and the first one is reported as a warning."""
        self.calls += 1
        try:
            self.callback(notification)
        except Exception as error:  # noqa: BLE001  (a stranger's code; the others go on)
            self.failures += 1
            # Without our own frame, which would keep a whole table of rows.
            self.last_error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            if self.failures == 1:
                self._warn("raised an exception, and is called on: further ones are counted")

    def warn_of_failures(self) -> None:
        """Warn of how often the callback raised an exception, unless the last warning said so."""
        if self.failures > self._failures_warned_of:
            self._warn(f"raised an exception in {self.failures:,} of {self.calls:,} calls")

    def _warn(self, what: str) -> None:
        self._failures_warned_of = self.failures
        name = getattr(self.callback, "__qualname__", type(self.callback).__qualname__)
        code = getattr(self.callback, "__code__", None)
        # At the callback's own place, and without a registry: Python keeps still about what it said before at a place.
        warnings.warn_explicit(
            f"callback {name} {what} (the last one: {self.last_error!a:.200})",
            RuntimeWarning,
            __file__ if code is None else code.co_filename,
            1 if code is None else code.co_firstlineno,
        )


class Registrations:
    """Callbacks by cookie. Registering and unregistering is safe everywhere, also inside a callback."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cookies = itertools.count(1)
        self._registered: dict[int, Registration] = {}  # replaced, never changed
        self._failures_before = 0  # of those that were unregistered

    @renamed_arguments(keys="key", processes="process", user_sid="user")
    def register(
        self,
        callback: Callback,
        *,
        notify: Notifies = None,
        key: Names = None,
        process: Processes = None,
        altitude: str = DEFAULT_ALTITUDE,
        subtree: bool = False,
        user: str | None = None,
    ) -> int:
        r"""Register a callback and return its cookie.

        It is called with each `Notification` that fits, from the next one on. It observes: what it returns
        is ignored, and an exception is counted (`Registration.failures`), warned of (RuntimeWarning: the first one, and
        how many at the end), and stops neither the others nor the stream. Filters narrow together; None asks nothing.

        Args:
            callback: a function of one `Notification`, whose `notify` is the class.
            notify: classes, by `Notify`, number or name.
            key: a key or a pattern as on the command line (HKLM\..., ``*`` within a component, ``**`` across), or several.
            process: image names or patterns, image paths (with a backslash), or pids.
            altitude: a decimal number as text, as drivers have it; higher is called first for
                pre-notifications and last for post-notifications. Equal ones, which the kernel refuses, are
                called in the order in which they were registered.
            subtree: also the keys below.
            user: SID of the user whose keys HKCU and HKCR are; None: everybody's with a profile.

        Raises:
            UsageError: a filter or the altitude cannot be understood.
        """
        if not callable(callback):
            raise UsageError(f"a callback must be a function of one notification, not {callback!r:.80}")
        if not isinstance(altitude, str) or not _ALTITUDE.fullmatch(altitude):
            raise UsageError(
                f"{altitude!r} is not an altitude; give a decimal number as text, such as '385000'"
            )
        selection = Selection(notify=notify, key=key, process=process, subtree=subtree, user=user)
        with self._lock:
            cookie = next(self._cookies)
            registration = Registration(cookie, callback, altitude, selection)
            self._registered = {**self._registered, cookie: registration}
        return cookie

    def unregister(self, cookie: int) -> None:
        """Remove a callback. It is not called again, but a call on another thread may still be running.

        Raises:
            UsageError: no callback is registered under this cookie.
        """
        with self._lock:
            registered = dict(self._registered)
            try:
                registration = registered.pop(cookie)
            except (KeyError, TypeError) as error:
                raise UsageError(
                    f"no callback is registered under the cookie {cookie!r}; give a value that register returned, only once"
                ) from error
            registration.is_registered = False
            self._failures_before += registration.failures
            self._registered = registered
        registration.warn_of_failures()

    def __getitem__(self, cookie: int) -> Registration:
        try:
            return self._registered[cookie]
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"no callback is registered under the cookie {cookie!r}; give a value that register returned"
            ) from error

    def __len__(self) -> int:
        return len(self._registered)

    def __iter__(self) -> Iterator[Registration]:
        return iter(list(self._registered.values()))

    @property
    def failures(self) -> int:
        """How many calls raised an exception, of all callbacks ever registered."""
        with self._lock:
            return self._failures_before + sum(each.failures for each in self._registered.values())

    def warn_of_failures(self) -> None:
        """Warn of callbacks that raised exceptions, with counts, at the end of a replay or monitor."""
        for registration in self:
            registration.warn_of_failures()

    def dispatch(self, rows: pa.Table, *, control_set: int | None = None) -> int:
        """Call the callbacks that want each row, in the order of rows; return how many were wanted."""
        return sum(1 for _ in self.deliver(rows, control_set=control_set))

    def deliver(self, rows: pa.Table, *, control_set: int | None = None) -> Iterator[Notification]:
        """Do the same as `dispatch`, and yield each notification after its callbacks were called.

        Args:
            rows: event rows with their names (`tracer.callbacks.notification_rows.make_notifications`); only rows
                that a callback wants become notifications.
            control_set: number of the current control set; None if unknown.
        """
        start = 0
        while start < rows.num_rows:
            start += yield from self._deliver(rows.slice(start, _MOST), control_set)

    def _deliver(self, rows: pa.Table, control_set: int | None) -> Generator[Notification, None, int]:
        """Deliver rows until a callback is registered or removed; return how many rows were delivered."""
        registered = self._registered
        # Stable sorts: equal altitudes stay in the order of registration.
        downwards = sorted(registered.values(), key=lambda each: each.height, reverse=True)
        upwards = sorted(registered.values(), key=lambda each: each.height)
        matches = {
            each.cookie: each.selection.match(rows, control_set=control_set) for each in registered.values()
        }
        places = (
            np.flatnonzero(np.logical_or.reduce(list(matches.values()))) if matches else np.zeros(0, np.intp)
        )
        if not len(places):
            return rows.num_rows
        notifications = make_notifications(rows.take(pa.array(places)))
        for place, notification in zip(places.tolist(), notifications, strict=True):
            is_pre = notification.notify is not None and notification.notify.is_pre
            targets = [each for each in (downwards if is_pre else upwards) if matches[each.cookie][place]]
            targets = [each for each in targets if each.is_registered]
            if not targets:
                continue
            for each in targets:
                if each.is_registered:
                    each.call(notification)
            yield notification
            if self._registered is not registered:
                return place + 1
        return rows.num_rows
