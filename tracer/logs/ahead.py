"""Work that is done ahead on threads, in order, where it leaves the interpreter free."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

__all__ = ["map_ahead", "work_ahead"]

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_LOOK_S = 0.1


def work_ahead(make: Callable[[], Iterator[_T]], waiting: int = 2) -> Iterator[_T]:
    """Yield what an iterator yields, of which a few items are made ahead; its errors are raised here.

    Args:
        make: makes the iterator, on the thread that runs it. It is closed there.
        waiting: how many items wait at most.
    """
    items: Queue[tuple[_T | None, BaseException | None, bool]] = Queue(waiting)
    stop = Event()

    def put(item: _T | None, error: BaseException | None, is_end: bool) -> None:
        while not stop.is_set():
            try:
                items.put((item, error, is_end), timeout=_LOOK_S)
            except Full:
                continue
            return

    def run() -> None:
        try:
            with closing(make()) as iterator:  # type: ignore[type-var]
                for item in iterator:
                    put(item, None, False)
                    if stop.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 (it is raised where the items are wanted)
            put(None, error, True)
        else:
            put(None, None, True)

    thread = Thread(target=run, name="regtrace-ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error, is_end = items.get(timeout=_LOOK_S)
            except Empty:
                continue
            if error is not None:
                raise error
            if is_end:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


def map_ahead(
    function: Callable[[_Item], _T], items: Iterable[_Item], threads: int = 2, waiting: int = 1
) -> Generator[_T, None, None]:
    """Yield the function's result of each item, in the items' order.

    Args:
        function: what is called, on several threads at once.
        items: are taken on the caller's thread, a few ahead.
        threads: how many items are worked on at once.
        waiting: how many results wait beside those at most.
    """
    results: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="regtrace-ahead") as pool:
        try:
            for item in items:
                results.append(pool.submit(function, item))
                if len(results) >= threads + waiting:
                    yield results.popleft().result()
            while results:
                yield results.popleft().result()
        finally:
            for result in results:
                result.cancel()
