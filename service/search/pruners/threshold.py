"""The threshold rule: a trial whose value leaves the given limits is stopped."""

from __future__ import annotations

from service.contract.report import Action, Verdict
from service.domain.history import History


class Threshold:
    """Stops what cannot be right, by limits that are known beforehand; needs no other trial to compare with."""

    def __init__(self, *, lower: float | None, upper: float | None, warmup_steps: int) -> None:
        self._lower = lower
        self._upper = upper
        self._warmup_steps = warmup_steps

    def judge(self, history: History, number: int) -> Verdict:
        """Compare the newest value with the limits, which are allowed themselves."""
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
