"""The interface of all pruners."""

from __future__ import annotations

from typing import Protocol

from service.contract.report import Verdict
from service.domain.history import History


class Pruner(Protocol):
    """Decides whether a running trial continues, as a pure function of the history."""

    def judge(self, history: History, number: int) -> Verdict:
        """Judge trial `number` at its newest step.

        The history must contain that step, and all values of the trial's series must be finite.
        """
        ...
