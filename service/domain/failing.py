"""When a study's failures say that its code or its spec is broken: it is then paused instead of burning its budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.lease import FailureClass

FIRST_TRIALS = 3
LAST_ATTEMPTS = 20

_BROKEN = frozenset({FailureClass.USER_EXCEPTION, FailureClass.POISON})
"""Classes that speak against the study's code; losses and host faults speak against machines."""
_MISTAKEN = frozenset({FailureClass.INVALID, FailureClass.INFEASIBLE})
"""Classes that speak against the study's spec where every trial ends so, and against its parameters where some do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that came to an end of its own, good or bad."""

    trial: str
    failure: FailureClass | None
    fingerprint: str | None = None
    message: str = ""
    lacks_objective: bool = False
    """The attempt succeeded, but its trial failed: an objective was never reported. `message` says which."""

    @property
    def is_failing(self) -> bool:
        """Whether it speaks against the study's code."""
        return self.failure in _BROKEN or self.lacks_objective

    @property
    def fault(self) -> tuple[str, str] | None:
        """What was wrong, equal for equal faults; None where other parameters may well do better.

        A broken constraint counts as the same fault only in the same words, numbers included: where the numbers
        differ, the parameters make a difference.
        """
        if self.lacks_objective:
            return "lacks objective", self.message
        if self.failure is FailureClass.INFEASIBLE:
            return self.failure, self.message
        if (self.is_failing or self.failure is FailureClass.INVALID) and self.fingerprint is not None:
            return "failed", self.fingerprint
        return None


def may_pause(failure: FailureClass | None) -> bool:
    """Whether an attempt that ended so may be the one for which its study is paused."""
    return failure in _BROKEN or failure in _MISTAKEN


def reason_to_pause(first: Sequence[Ended], last: Sequence[Ended]) -> str | None:
    """Why the study should be paused, or None.

    Args:
        first: the earliest ends since the study began or was resumed, oldest first.
        last: the newest `LAST_ATTEMPTS` ends since then, newest first.
    """
    by_trial: dict[str, list[Ended]] = {}
    for each in first:
        by_trial.setdefault(each.trial, []).append(each)
    opening = [end for ends in list(by_trial.values())[:FIRST_TRIALS] for end in ends]
    faults = {each.fault for each in opening}
    if len(by_trial) >= FIRST_TRIALS and len(faults) == 1 and None not in faults:
        return f"the first {FIRST_TRIALS} trials all failed alike: {opening[0].message}"
    failing = [each for each in last if each.is_failing]
    if len(last) >= LAST_ATTEMPTS and len(failing) * 2 >= len(last):
        (fault, num_alike) = Counter(each.fault for each in failing).most_common(1)[0]
        example = next(each.message for each in failing if each.fault == fault)
        return f"{len(failing)} of the last {len(last)} attempts failed; {num_alike} of them with: {example}"
    return None
