"""Cache of bounded size, keyed by study id; it evicts the least recently stored entries first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentlyUsed(Generic[T]):
    """Keeps at most `size` entries; thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> T | None:
        """Return the entry for this key, if it is still cached."""
        return self._entries.get(key)

    def keep(self, key: str, entry: T, is_newer: Callable[[T, T], bool]) -> None:
        """Store an entry, unless another thread has stored one in the meantime that it is not newer than."""
        with self._lock:
            known = self._entries.get(key)
            if known is not None and not is_newer(entry, known):
                return
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop the entry for this key."""
        with self._lock:
            self._entries.pop(key, None)
