"""The circuit breaker: pauses a study if its failures show that its code is broken, and only then."""

from __future__ import annotations

import pytest

from service.contract.attempt import FailureClass
from service.domain.circuit_breaker import AttemptEnd, may_pause, reason_to_pause

BROKEN = FailureClass.USER_EXCEPTION


def failing(trial: int, fingerprint: str = "f", message: str = "boom") -> AttemptEnd:
    return AttemptEnd(f"t{trial}", BROKEN, fingerprint, message)


def fine(trial: int, failure: FailureClass | None = None) -> AttemptEnd:
    return AttemptEnd(f"t{trial}", failure)


def judged(*ends: AttemptEnd) -> str | None:
    return reason_to_pause(ends[:20], ends[::-1][:20])


def test_the_same_fault_in_all_of_the_first_three_trials() -> None:
    assert judged(failing(0), failing(1), failing(2)) == "the first 3 trials all failed with the same error: boom"


def test_not_two_trials_nor_other_faults_nor_one_that_did_well() -> None:
    assert judged(failing(0), failing(1)) is None
    assert judged(failing(0), failing(1, "other"), failing(2)) is None
    assert judged(fine(0), failing(1), failing(2), failing(3)) is None
    assert judged(failing(0), fine(1, FailureClass.DIVERGED), failing(2)) is None


def test_tries_of_one_trial_are_one_trial() -> None:
    assert judged(failing(0), failing(0), failing(0)) is None
    assert judged(failing(0), failing(0), failing(1), failing(2)) is not None


def test_a_trial_that_does_well_when_it_is_tried_again_speaks_for_the_study() -> None:
    assert judged(failing(0), fine(0), failing(1), failing(2)) is None


def invalid(trial: int, fingerprint: str = "v", message: str = "data.path: there is no file") -> AttemptEnd:
    return AttemptEnd(f"t{trial}", FailureClass.INVALID, fingerprint, message)


def silent(trial: int, message: str = "loss was never reported; it reported accuracy") -> AttemptEnd:
    return AttemptEnd(f"t{trial}", None, message=message, lacks_objective=True)


def broken_constraint(trial: int, message: str) -> AttemptEnd:
    return AttemptEnd(f"t{trial}", FailureClass.INFEASIBLE, "c", message)


def test_the_same_mistake_in_all_of_the_first_three_trials() -> None:
    assert (
        judged(*map(invalid, range(3)))
        == "the first 3 trials all failed with the same error: data.path: there is no file"
    )
    assert judged(invalid(0), invalid(1, "w"), invalid(2)) is None
    assert judged(fine(0), *map(invalid, range(1, 40))) is None  # some parameters work: samplers learn which


def test_an_objective_that_none_of_the_first_three_trials_reports() -> None:
    reason = "the first 3 trials all failed with the same error: loss was never reported; it reported accuracy"
    assert judged(*map(silent, range(3))) == reason
    assert judged(silent(0), silent(1, "loss was never reported; it reported nothing"), silent(2)) is None
    assert judged(fine(0), *(silent(number) for number in range(1, 11)), *map(fine, range(11, 20))) is not None


def test_a_constraint_that_is_broken_alike_whatever_the_parameters() -> None:
    assert judged(*(broken_constraint(number, "has 5 parameters") for number in range(3))) is not None
    assert judged(*(broken_constraint(number, f"has {number} parameters") for number in range(3))) is None


def test_half_of_the_last_twenty_failing() -> None:
    ends = [fine(0), *(failing(number, "f" if number % 3 else "g", f"boom {number}") for number in range(10))]
    assert judged(*ends, *(fine(90 + number) for number in range(8))) is None  # nineteen in all
    reason = judged(*ends, *(fine(90 + number) for number in range(9)))
    assert reason == "10 of the last 20 attempts failed; 6 of them with: boom 8"
    assert judged(*ends, *(fine(90 + number) for number in range(11))) is None  # one has left the window


def test_infeasible_parameters_are_no_failures() -> None:
    assert judged(*(fine(number, FailureClass.DIVERGED) for number in range(30))) is None


@pytest.mark.parametrize(
    ("failure", "fingerprint", "fault"),
    [
        (BROKEN, "f", ("failed", "f")),
        (FailureClass.INVALID, "f", ("failed", "f")),
        (BROKEN, None, None),
        (FailureClass.HOST_FAULT, "f", None),
        (None, "f", None),
    ],
)
def test_a_fault_is_the_code_s_or_the_spec_s_and_has_a_fingerprint(
    failure: FailureClass | None, fingerprint: str | None, fault: tuple[str, str] | None
) -> None:
    assert AttemptEnd("t", failure, fingerprint).fault == fault


def test_a_study_is_paused_only_after_failures_of_its_code_or_its_spec() -> None:
    pausing = {BROKEN, FailureClass.POISON, FailureClass.INVALID, FailureClass.INFEASIBLE}
    assert {failure for failure in FailureClass if may_pause(failure)} == pausing
    assert not may_pause(None)
