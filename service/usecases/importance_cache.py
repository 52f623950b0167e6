"""Cache of parameter importances in this replica: the newest result per study and when it was computed."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.importance import Importance
from service.contract.study import StudyState
from service.storage.tables import Row
from service.usecases.recently_used import RecentlyUsed

FRESH_SECONDS = 5.0
"""How long a result is used for an active study, whatever has happened since."""

SIZE = 256
"""Number of studies whose importances are cached."""


@dataclass(frozen=True)
class Computed:
    """A cached result, and the state that it was computed from."""

    epoch: int
    spec_version: int
    answer: Importance
    computed_at: float
    """Seconds on the replica's monotonic clock."""

    def is_current(self, epoch: int, study: Row, now: float) -> bool:
        """Return whether the result can be used for the study as it is now."""
        if (self.epoch, self.spec_version) != (epoch, study.spec_version) or self.answer.revision > study.revision:
            return False
        is_young = study.state == StudyState.ACTIVE and now - self.computed_at < FRESH_SECONDS
        return is_young or self.answer.revision == study.revision


class ImportanceCache:
    """The newest result of each study; reading threads and the event loop use it."""

    def __init__(self) -> None:
        self._computed: RecentlyUsed[Computed] = RecentlyUsed(SIZE)

    def find(self, epoch: int, study: Row, now: float) -> Importance | None:
        """Return the cached result if it is still usable."""
        known = self._computed.get(study.id)
        return known.answer if known is not None and known.is_current(epoch, study, now) else None

    def keep(self, study_id: str, computed: Computed) -> None:
        """Cache a result."""
        self._computed.keep(study_id, computed, lambda one, other: one.computed_at >= other.computed_at)
