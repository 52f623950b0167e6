"""A map of bounded size from study ids to what a replica remembers of them; the least recently stored go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentlyUsed(Generic[T]):
    """Keeps at most `size` entries; called from several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> T | None:
        """Return the entry of that key, if it is still kept."""
        return self._entries.get(key)

    def keep(self, key: str, entry: T, is_newer: Callable[[T, T], bool]) -> None:
        """Keep an entry, unless another thread has stored one meanwhile that it is not newer than."""
        with self._lock:
            known = self._entries.get(key)
            if known is not None and not is_newer(entry, known):
                return
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
