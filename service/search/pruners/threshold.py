"""The threshold pruner: stops a trial whose value leaves fixed limits."""

from __future__ import annotations

from service.contract.report import Action, Verdict
from service.domain.history import History


class ThresholdPruner:
    """Stops trials with impossible values, by limits known in advance and without comparing trials.

    Args:
        lower: smallest allowed value; None for no limit.
        upper: largest allowed value; None for no limit.
        warmup_steps: the first step that is judged.
    """

    def __init__(self, *, lower: float | None, upper: float | None, warmup_steps: int) -> None:
        self._lower = lower
        self._upper = upper
        self._warmup_steps = warmup_steps

    def judge(self, history: History, number: int) -> Verdict:
        """Stop the trial if its newest value is outside the limits; the limits themselves are allowed."""
        step, value = history.trials[number].series[-1]
        if step < self._warmup_steps:
            reason = f"step {step} comes before step {self._warmup_steps}, the first that is judged"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        if self._lower is not None and value < self._lower:
            reason = f"{value:.6g} at step {step} is below the threshold {self._lower:g}"
            return Verdict(action=Action.STOP, reason=reason, step=step)
        if self._upper is not None and value > self._upper:
            reason = f"{value:.6g} at step {step} is above the threshold {self._upper:g}"
            return Verdict(action=Action.STOP, reason=reason, step=step)
        return Verdict(action=Action.CONTINUE, reason=f"{value:.6g} at step {step} is within the limits", step=step)
