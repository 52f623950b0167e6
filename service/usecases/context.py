"""What every use case works with: the database, the write path, time limits, and this replica's cache of histories."""

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
    blob_grace_seconds: float = 3600.0
    """How long a blob is kept after it was last touched, whatever refers to it."""


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
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    def turn(self, study_id: str) -> asyncio.Lock:
        """One claim at a time per study and replica runs a sampler; the others wait here, outside any transaction."""
        return self._turns.setdefault(study_id, asyncio.Lock())
