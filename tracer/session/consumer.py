"""The consumer of a session's real-time stream: OpenTrace, ProcessTrace in a thread of its own, CloseTrace.

It decodes nothing, and reaches pywintrace through tracer.session.session.
"""

import atexit
import ctypes
import threading
from typing import Any

from tracer.errors import RegtraceError, SessionError
from tracer.session.errors import INSTANCE_NOT_FOUND, INVALID_PARAMETER, error_for
from tracer.session.raw_queue import RawQueue, RawRecord
from tracer.windows import rights

__all__ = ["Consumer"]

_NO_TRACE = 2**64 - 1  # INVALID_PROCESSTRACE_HANDLE
_FIRST_SIGN_SECONDS = 0.2  # ProcessTrace says within this that it cannot, or a first record comes
_LAST_RECORDS_SECONDS = 10


class Consumer:
    """The real-time consumer of a running session: copies of raw records, in a queue of bounded size.

    Nothing is decoded in the callback, which runs once a record. The header event of the stream is passed on too.

    Attributes:
        status: what ProcessTrace ended with; None while it runs, or where it raised an exception.
        is_cut: whether the stream was closed before ProcessTrace came back, so that the service may have had more.
    """

    def __init__(self, session_name: str, *, most_bytes: int = 64 << 20) -> None:
        self.session_name = session_name
        self.status: int | None = None
        self.is_cut = False
        self._error: BaseException | None = None
        self._records = RawQueue(most_bytes)
        self._reader: Any = None
        self._references: list[object] = []

    @property
    def dropped(self) -> int:
        """Records that found no room in the queue."""
        return self._records.dropped

    @property
    def failures(self) -> int:
        """Exceptions in the callback."""
        return self._records.failures

    @property
    def received(self) -> int:
        """Records that the service delivered, including those that were lost afterwards."""
        return self._records.received

    @property
    def queued_bytes(self) -> int:
        """Bytes of the records that wait to be taken."""
        return self._records.queued_bytes

    @property
    def trouble(self) -> RegtraceError | None:
        """The error that broke the stream; None while it runs, and if it ended with its session."""
        if self._error is not None:
            return SessionError(
                f"the real-time stream of session '{self.session_name}' broke: {self._error!r:.200}"
            )
        # Of a session that was stopped before ProcessTrace looked for it, it says that there is none.
        if self.status in (None, 0, INSTANCE_NOT_FOUND):
            return None
        return error_for(self.status, "read on in the real-time stream of", self.session_name)

    def start(self) -> None:
        """Open the stream and begin to take records.

        Raises:
            SessionError: it cannot be opened, or ended at once.
        """
        from tracer.session.session import pywintrace, require_windows

        require_windows("watching a session")
        if self._reader is not None:
            raise SessionError(
                f"this consumer of session '{self.session_name}' was started before; make a new Consumer"
            )
        etw = pywintrace()
        log_file = etw.EVENT_TRACE_LOGFILE()
        log_file.LoggerName = self.session_name
        log_file.ProcessTraceMode = etw.PROCESS_TRACE_MODE_REAL_TIME | etw.PROCESS_TRACE_MODE_EVENT_RECORD
        callback = etw.WINFUNCTYPE(None, ctypes.c_void_p)(self._records.on_record)
        log_file.EventRecordCallback = ctypes.cast(callback, etw.EVENT_RECORD_CALLBACK)
        self._references += [log_file, callback]  # Windows has their addresses until ProcessTrace is back
        reader = etw.EventConsumer(self.session_name, trace_logfile=log_file)
        handle = int(etw.OpenTraceW(ctypes.byref(log_file)))
        if handle == _NO_TRACE:
            # UNCONFIRMED whether the number survives until here; ctypes may have called something in between.
            code = etw.GetLastError() or INVALID_PARAMETER
            raise error_for(
                code, "open the real-time stream of", self.session_name, elevated=rights.is_elevated()
            )
        reader.trace_handle = etw.TRACEHANDLE(handle)
        reader.process_thread = threading.Thread(
            target=self._run,
            args=(etw, reader.trace_handle),
            name=f"consumer of {self.session_name}",
            daemon=True,
        )
        self._reader = reader
        _consumers.add(self)
        atexit.register(self.stop)
        reader.process_thread.start()
        self._records.sign.wait(_FIRST_SIGN_SECONDS)
        if self.status:
            self.stop()
            raise error_for(self.status, "read the real-time stream of", self.session_name)

    def take(self, timeout: float) -> list[RawRecord] | None:
        """Return the records since the last call, maybe none; wait `timeout` seconds at most for the first.

        None says that the stream has ended and everything was taken.
        """
        return self._records.take(timeout)

    def close(self) -> None:
        """Copy no more records; those that still come are counted (`received`)."""
        self._records.close()

    def wait(self, timeout: float) -> None:
        """Wait until the stream has ended by itself, as it does once its session was stopped."""
        if self._reader is not None:
            self._reader.process_thread.join(timeout)

    def stop(self, patience: float = _LAST_RECORDS_SECONDS) -> None:
        """End the stream; records copied before can still be taken. A second call does nothing.

        Args:
            patience: seconds that ProcessTrace may take to come back.
        """
        if self._reader is None or self._reader.end_capture.is_set():
            return
        from tracer.session.session import pywintrace

        self.is_cut = self._reader.process_thread.is_alive() and self.status is None
        self._reader.end_capture.set()
        atexit.unregister(self.stop)
        # 0 and CTX_CLOSE_PENDING are success; anything else means that it is closed already.
        pywintrace().CloseTrace(self._reader.trace_handle)
        thread = self._reader.process_thread
        if thread is not threading.current_thread():
            thread.join(patience)

    def _run(self, etw: Any, handle: Any) -> None:  # noqa: ANN401
        try:
            # Once: a second call on a finished stream may return at once, for ever.
            self.status = int(etw.ProcessTrace(ctypes.byref(handle), 1, None, None))
        except BaseException as error:  # noqa: BLE001  (said by whoever takes the records)
            self._error = error
        finally:
            self._records.end()
            _consumers.discard(self)
            atexit.unregister(self.stop)


_consumers: set[Consumer] = set()  # a callback must outlive ProcessTrace, whatever its owner does
