"""What every use case works with: the database, the write path, time limits, and what this replica remembers."""

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
from service.usecases.importances import Importances
from service.usecases.study_views import StudyViews
from service.usecases.suggestions import Suggestions


@dataclass(frozen=True)
class Limits:
    """How long leases last and how often everybody looks; seconds."""

    lease_seconds: float = 60.0
    heartbeat_seconds: float = 10.0
    reaper_seconds: float = 5.0
    retry_seconds: float = 1.0
    """When a worker that got nothing asks again."""
    gone_seconds: float = 900.0
    """How long no worker may have offered a larger GPU before a trial that waits for one is given up."""
    collect_seconds: float = 600.0
    """How often blobs are looked for that nothing refers to."""
    removal_seconds: float = 30.0
    """How long after a study was deleted its rows are removed."""
    blob_grace_seconds: float = 3600.0
    """How long a blob is kept after it was last touched, whatever refers to it."""
    suggest_seconds: float = 20.0
    """How long a study's sampler may compute one suggestion before claims go on to the next study."""
    turn_seconds: float = 1.0
    """How long a claim waits for other claims of the same study before it goes on to the next study."""


class Histories:
    """This replica's cache: one history per study, brought up to date by revision whenever it is asked for."""

    def __init__(self) -> None:
        self._known: dict[str, History] = {}

    def latest(self, connection: Connection, study_id: str, metric: str) -> History:
        """The study's history as `connection` sees it; called from reading threads."""
        fresh = history.refresh(connection, study_id, metric, self.known(study_id))
        # Readers overlap: the newer view stays.
        known = self.known(study_id)
        if (fresh.epoch, fresh.revision) >= (known.epoch, known.revision):
            self._known[study_id] = fresh
        return fresh

    def known(self, study_id: str) -> History:
        """What was last seen of the study, however long ago: for a transaction to refresh for itself alone."""
        return self._known.get(study_id, History())

    def forget(self, study_id: str) -> None:
        """Let go of a study that is over."""
        self._known.pop(study_id, None)


_RECENT_SECONDS = 60.0
_MANY_STUDIES = 3
_ALARM_SECONDS = 10.0
"""An alarm is logged at most so often: a claim that skips a study may come every moment."""


class RecentFaults:
    """The studies whose strategy or data raised an exception in this replica within the last minute."""

    def __init__(self) -> None:
        self._seen_at: dict[str, float] = {}
        self._alarmed_at: float | None = None

    def note(self, study_id: str, now: float) -> int:
        """Take in a fault of a study; return how many studies had one lately where these are many, otherwise 0.

        Args:
            study_id: the study whose strategy or data raised.
            now: seconds on a clock that never goes back.
        """
        self._seen_at[study_id] = now
        self._seen_at = {study: at for study, at in self._seen_at.items() if now - at < _RECENT_SECONDS}
        return len(self._seen_at) if len(self._seen_at) >= _MANY_STUDIES else 0

    def is_alarm_due(self, now: float) -> bool:
        """Return whether to log an alarm now, which the caller does."""
        if self._alarmed_at is not None and now - self._alarmed_at < _ALARM_SECONDS:
            return False
        self._alarmed_at = now
        return True


@dataclass(frozen=True)
class Context:
    """Everything a use case needs that is not in its request."""

    database: Database
    transact: Transact
    catalogue: Catalogue
    new_id: Callable[[], str]
    limits: Limits = Limits()
    blobs: BlobStore | None = None
    """Where uploaded content is; none: this replica takes none."""
    histories: Histories = field(default_factory=Histories)
    views: StudyViews = field(default_factory=StudyViews)
    importances: Importances = field(default_factory=Importances)
    suggestions: Suggestions = field(default_factory=Suggestions)
    faults: RecentFaults = field(default_factory=RecentFaults)
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    def turn(self, study_id: str) -> asyncio.Lock:
        """One claim at a time per study and replica runs a sampler; the others wait here, outside any transaction."""
        return self._turns.setdefault(study_id, asyncio.Lock())
