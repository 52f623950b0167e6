"""Context of the use cases: the database, the write path, time limits, and the caches of this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from service.contract.catalogue import Catalogue
from service.domain.history import History
from service.storage.blobs import BlobStore
from service.storage.database import Database
from service.storage.queries import history
from service.storage.tables import Connection
from service.storage.unit_of_work import Transact
from service.usecases.diagnosis_state import DiagnosisState
from service.usecases.importance_cache import ImportanceCache
from service.usecases.study_views import StudyViews
from service.usecases.suggestions import Suggestions


@dataclass(frozen=True)
class Limits:
    """Durations and intervals of the service, in seconds."""

    lease_seconds: float = 60.0
    heartbeat_seconds: float = 10.0
    reaper_seconds: float = 5.0
    retry_seconds: float = 1.0
    """After what time a worker that got no trial asks again."""
    gone_seconds: float = 900.0
    """A trial that waits for a larger GPU is given up once no worker has offered one for this long."""
    collect_seconds: float = 600.0
    """Interval at which the service searches for blobs that nothing refers to."""
    removal_seconds: float = 30.0
    """Delay between the deletion of a study and the removal of its rows."""
    blob_grace_seconds: float = 3600.0
    """How long a blob is kept after it was last touched, even if nothing refers to it."""
    suggest_seconds: float = 20.0
    """How long a study's sampler may compute one suggestion before a claim goes on to the next study."""
    turn_seconds: float = 1.0
    """How long a claim waits for other claims of the same study before it goes on to the next study."""


class HistoryCache:
    """Cache of this replica: one history per study, updated by revision on every access."""

    def __init__(self) -> None:
        self._known: dict[str, History] = {}

    def latest(self, connection: Connection, study_id: str, metric: str) -> History:
        """Return the study's history as `connection` sees it; reading threads call this."""
        fresh = history.refresh(connection, study_id, metric, self.cached(study_id))
        # Readers overlap: the newer view stays.
        known = self.cached(study_id)
        if (fresh.epoch, fresh.revision) >= (known.epoch, known.revision):
            self._known[study_id] = fresh
        return fresh

    def cached(self, study_id: str) -> History:
        """Return the cached history of a study, however old it is: a transaction refreshes it for itself."""
        return self._known.get(study_id, History())

    def forget(self, study_id: str) -> None:
        """Drop a study that is over from the cache."""
        self._known.pop(study_id, None)


_RECENT_SECONDS = 60.0
_MANY_STUDIES = 3
_ALARM_SECONDS = 10.0
"""Minimum time between two alarms: claims may skip a study many times per second."""


class RecentFaults:
    """The studies whose strategy or data raised an exception in this replica within the last minute."""

    def __init__(self) -> None:
        self._seen_at: dict[str, float] = {}
        self._alarmed_at: float | None = None

    def note(self, study_id: str, now: float) -> int:
        """Record a fault of a study; return the number of studies with a recent fault if there are many, else 0.

        Args:
            study_id: Study whose strategy or data raised an exception.
            now: Seconds on a monotonic clock.
        """
        self._seen_at[study_id] = now
        self._seen_at = {study: at for study, at in self._seen_at.items() if now - at < _RECENT_SECONDS}
        return len(self._seen_at) if len(self._seen_at) >= _MANY_STUDIES else 0

    def is_alarm_due(self, now: float) -> bool:
        """Return whether the caller must log an alarm now."""
        if self._alarmed_at is not None and now - self._alarmed_at < _ALARM_SECONDS:
            return False
        self._alarmed_at = now
        return True


@dataclass(frozen=True)
class Context:
    """Everything that a use case needs besides its request."""

    database: Database
    transact: Transact
    catalogue: Catalogue
    new_id: Callable[[], str]
    limits: Limits = Limits()
    blobs: BlobStore | None = None
    """Store of uploaded content. None: this replica accepts none."""
    histories: HistoryCache = field(default_factory=HistoryCache)
    views: StudyViews = field(default_factory=StudyViews)
    importances: ImportanceCache = field(default_factory=ImportanceCache)
    diagnoses: DiagnosisState = field(default_factory=DiagnosisState)
    suggestions: Suggestions = field(default_factory=Suggestions)
    faults: RecentFaults = field(default_factory=RecentFaults)
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    def claim_lock(self, study_id: str) -> asyncio.Lock:
        """Return the study's lock for claims of this replica.

        One claim at a time runs the study's sampler. The other claims wait for this lock, outside any transaction.
        """
        return self._turns.setdefault(study_id, asyncio.Lock())
