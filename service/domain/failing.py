"""When a study's failures say that its code is broken: it is then paused instead of burning its budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.lease import FailureClass

FIRST_TRIALS = 3
LAST_ATTEMPTS = 20

_BROKEN = {FailureClass.USER_EXCEPTION, FailureClass.POISON}
"""What speaks against the study's code; losses and host faults speak against machines."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that came to an end of its own, good or bad."""

    trial: str
    failure: FailureClass | None
    fingerprint: str | None = None
    message: str = ""

    @property
    def is_failing(self) -> bool:
        """Whether it speaks against the study's code."""
        return self.failure in _BROKEN


def reason_to_pause(first: Sequence[Ended], last: Sequence[Ended]) -> str | None:
    """Why the study should be paused, or None.

    Args:
        first: the earliest ends since the study began or was resumed, oldest first.
        last: the newest `LAST_ATTEMPTS` ends since then, newest first.
    """
    by_trial = {each.trial: each for each in reversed(first)}  # the earliest end of each trial
    trials = list(dict.fromkeys(each.trial for each in first))[:FIRST_TRIALS]
    opening = [by_trial[trial] for trial in trials]
    if (
        len(opening) == FIRST_TRIALS
        and all(each.is_failing and each.fingerprint is not None for each in opening)
        and len({each.fingerprint for each in opening}) == 1
    ):
        return f"the first {FIRST_TRIALS} trials all failed alike: {opening[0].message}"
    failing = [each for each in last if each.is_failing]
    if len(last) >= LAST_ATTEMPTS and len(failing) * 2 >= len(last):
        (fingerprint, num_alike) = Counter(each.fingerprint for each in failing).most_common(1)[0]
        example = next(each.message for each in failing if each.fingerprint == fingerprint)
        return f"{len(failing)} of the last {len(last)} attempts failed; {num_alike} of them with: {example}"
    return None
