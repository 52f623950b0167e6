"""An executor without threads, for tests that share one connection in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from service.storage.database import Database

P = ParamSpec("P")
T = TypeVar("T")


class Inline(Executor):
    """Calls at once, in the thread of the caller."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call the function and return a future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def without_threads(database: Database) -> Database:
    """Have a database read and write in the thread of the caller."""
    database.reading = database.viewing = database.writing = cast("ThreadPoolExecutor", Inline())
    return database
