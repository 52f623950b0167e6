"""Circuit breaker: decides when failures mean that a study's code or spec is broken, so that the study is paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.attempt import FailureClass

FIRST_TRIALS = 3
"""Number of first trials that pause the study if all their attempts end with the same fault."""
LAST_ATTEMPTS = 20
"""Number of last attempts that pause the study if at least half of them fail because of its code."""

_BROKEN = frozenset({FailureClass.USER_EXCEPTION, FailureClass.POISON})
"""Failure classes caused by the study's code. Losses and host faults are caused by machines."""
_MISTAKEN = frozenset({FailureClass.INVALID, FailureClass.INFEASIBLE})
"""Failure classes caused by the study's spec if every trial ends this way, and by the parameters if only some do."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt, successful or failed."""

    trial: str
    failure: FailureClass | None
    fingerprint: str | None = None
    message: str = ""
    lacks_objective: bool = False
    """The attempt succeeded, but its trial failed because it never reported an objective; `message` names it."""

    @property
    def is_failing(self) -> bool:
        """Whether the study's code caused a failure."""
        return self.failure in _BROKEN or self.lacks_objective

    @property
    def fault(self) -> tuple[str, str] | None:
        """A key that is equal for equal faults; None if other parameters may succeed.

        Two violated constraints are the same fault only if their messages are equal, numbers included. If the numbers
        differ, the outcome depends on the parameters.
        """
        if self.lacks_objective:
            return "lacks objective", self.message
        if self.failure is FailureClass.INFEASIBLE:
            return self.failure, self.message
        if (self.is_failing or self.failure is FailureClass.INVALID) and self.fingerprint is not None:
            return "failed", self.fingerprint
        return None


def may_pause(failure: FailureClass | None) -> bool:
    """Return whether an attempt that ended with this failure class can cause its study to be paused."""
    return failure in _BROKEN or failure in _MISTAKEN


def reason_to_pause(first: Sequence[AttemptEnd], last: Sequence[AttemptEnd]) -> str | None:
    """Return why the study should be paused, or None.

    It should be paused if all attempts of the first `FIRST_TRIALS` trials ended with the same fault, or if at least
    half of the last `LAST_ATTEMPTS` attempts failed because of the study's code.

    Args:
        first: the earliest ends since the study began or was resumed, oldest first.
        last: the newest `LAST_ATTEMPTS` ends since then, newest first.
    """
    by_trial: dict[str, list[AttemptEnd]] = {}
    for each in first:
        by_trial.setdefault(each.trial, []).append(each)
    opening = [end for ends in list(by_trial.values())[:FIRST_TRIALS] for end in ends]
    faults = {each.fault for each in opening}
    if len(by_trial) >= FIRST_TRIALS and len(faults) == 1 and None not in faults:
        return f"the first {FIRST_TRIALS} trials all failed with the same error: {opening[0].message}"
    failing = [each for each in last if each.is_failing]
    if len(last) >= LAST_ATTEMPTS and len(failing) * 2 >= len(last):
        (fault, num_alike) = Counter(each.fault for each in failing).most_common(1)[0]
        example = next(each.message for each in failing if each.fault == fault)
        return f"{len(failing)} of the last {len(last)} attempts failed; {num_alike} of them with: {example}"
    return None
