"""The interface of all samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from service.domain.history import History, StageBox, Suggestion, TrialRecord


class Sampler(ABC):
    """Suggests configurations, as a pure function of the history, the trial's number and the study's seed.

    The history may contain trials that the sampler did not suggest (configurations that a person enqueued) anywhere.
    """

    @abstractmethod
    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        """Suggest trial `number` from trials 0 … number - 1 of the history.

        It is called only if `waits_for`, `proposes` and `remaining` allow a suggestion.
        """

    def remaining(self, history: History) -> int | None:
        """Return how many suggestions are left; None if the number is unlimited."""
        del history
        return None

    def waits_for(self, history: History) -> str | None:
        """Describe what must happen before the next suggestion; None if nothing must."""
        del history
        return None

    def proposes(self, history: History) -> StageBox | None:
        """Return the stage box that a person must review before the next suggestion; None if there is none."""
        del history
        return None


def before(history: History, number: int) -> Sequence[TrialRecord]:
    """Return the trials that a suggestion for trial `number` may depend on."""
    return history.trials[:number]
