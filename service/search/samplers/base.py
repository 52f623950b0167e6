"""What every sampler answers, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from service.domain.history import History, StageBox, Suggestion, TrialRecord


class Sampler(ABC):
    """Proposes configurations: a pure function of the history, the trial's number and the study's seed.

    Numbers that the sampler never saw (configurations that a person enqueued) may stand anywhere in the history.
    """

    @abstractmethod
    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        """Propose trial `number` from trials 0 ... number - 1 of the history; called only when nothing else is due."""

    def remaining(self, history: History) -> int | None:
        """How many suggestions are left before the sampler has none; None: it never runs dry."""
        del history
        return None

    def waits_for(self, history: History) -> str | None:
        """What must happen before the next suggestion, in words; None: nothing."""
        del history
        return None

    def proposes(self, history: History) -> StageBox | None:
        """The stage that a person is to look at before the next suggestion; None: nobody is asked."""
        del history
        return None


def before(history: History, number: int) -> Sequence[TrialRecord]:
    """The trials that a suggestion for `number` may rest on."""
    return history.trials[:number]
