"""This replica's cache of importances: the newest answer of each study, and when it was computed."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.importance import Importance
from service.contract.study import StudyState
from service.storage.tables import Row
from service.usecases.recently_used import RecentlyUsed

FRESH_SECONDS = 5.0
"""How long an answer does for a study that is active, whatever has happened since."""

SIZE = 256
"""Studies whose importances are kept."""


@dataclass(frozen=True)
class Computed:
    """An answer, and what it follows from."""

    epoch: int
    spec_version: int
    answer: Importance
    computed_at: float
    """By the replica's monotonic clock; seconds."""

    def holds(self, epoch: int, study: Row, now: float) -> bool:
        """Whether the answer does for the study as it is now."""
        if (self.epoch, self.spec_version) != (epoch, study.spec_version) or self.answer.revision > study.revision:
            return False
        is_young = study.state == StudyState.ACTIVE and now - self.computed_at < FRESH_SECONDS
        return is_young or self.answer.revision == study.revision


class Importances:
    """The newest answer of each study; called from reading threads and the event loop."""

    def __init__(self) -> None:
        self._computed: RecentlyUsed[Computed] = RecentlyUsed(SIZE)

    def find(self, epoch: int, study: Row, now: float) -> Importance | None:
        """Return the answer of before, if it does."""
        known = self._computed.get(study.id)
        return known.answer if known is not None and known.holds(epoch, study, now) else None

    def keep(self, study_id: str, computed: Computed) -> None:
        """Keep an answer for the next who ask."""
        self._computed.keep(study_id, computed, lambda one, other: one.computed_at >= other.computed_at)
