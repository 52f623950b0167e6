"""The pruner that stops no trial."""

from __future__ import annotations

from service.contract.report import Action, Verdict
from service.domain.history import History


class NoPruner:
    """Lets every trial continue to its end."""

    def judge(self, history: History, number: int) -> Verdict:
        """Return the verdict to continue."""
        step, _ = history.trials[number].series[-1]
        return Verdict(action=Action.CONTINUE, reason="no pruner", step=step)
