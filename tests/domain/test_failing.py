"""A study is paused when its failures say that its code is broken, and only then."""

from __future__ import annotations

from service.contract.lease import FailureClass
from service.domain.failing import Ended, reason_to_pause

BROKEN = FailureClass.USER_EXCEPTION


def failing(trial: int, fingerprint: str = "f", message: str = "boom") -> Ended:
    return Ended(f"t{trial}", BROKEN, fingerprint, message)


def fine(trial: int, failure: FailureClass | None = None) -> Ended:
    return Ended(f"t{trial}", failure)


def judged(*ends: Ended) -> str | None:
    return reason_to_pause(ends[:20], ends[::-1][:20])


def test_the_same_fault_in_all_of_the_first_three_trials() -> None:
    assert judged(failing(0), failing(1), failing(2)) == "the first 3 trials all failed alike: boom"


def test_not_two_trials_nor_other_faults_nor_one_that_did_well() -> None:
    assert judged(failing(0), failing(1)) is None
    assert judged(failing(0), failing(1, "other"), failing(2)) is None
    assert judged(fine(0), failing(1), failing(2), failing(3)) is None
    assert judged(failing(0), fine(1, FailureClass.DIVERGED), failing(2)) is None


def test_tries_of_one_trial_are_one_trial() -> None:
    assert judged(failing(0), failing(0), failing(0)) is None
    assert judged(failing(0), failing(0), failing(1), failing(2)) is not None


def test_half_of_the_last_twenty_failing() -> None:
    ends = [fine(0), *(failing(number, "f" if number % 3 else "g", f"boom {number}") for number in range(10))]
    assert judged(*ends, *(fine(90 + number) for number in range(8))) is None  # nineteen in all
    reason = judged(*ends, *(fine(90 + number) for number in range(9)))
    assert reason == "10 of the last 20 attempts failed; 6 of them with: boom 8"
    assert judged(*ends, *(fine(90 + number) for number in range(11))) is None  # one has left the window


def test_infeasible_parameters_are_no_failures() -> None:
    assert judged(*(fine(number, FailureClass.DIVERGED) for number in range(30))) is None
