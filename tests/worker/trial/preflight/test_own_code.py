"""Check 10: faults of functions and commands are found, and sound ones pass."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.study import StudySpec
from tests.worker.trial.preflight.task_faults import FAULTS, SOUND
from worker.training.preflight import PreflightResult, Status
from worker.trial.preflight import preflight_study


def checked(task: dict[str, Any], seconds: float = 30) -> PreflightResult:
    spec = {
        "name": "own",
        "objective": {"metric": "loss", "direction": "minimize"},
        "task": task,
        "space": {
            "rate": {"type": "float", "low": 0.01, "high": 0.2, "log": True},
            "start": {"type": "float", "low": 1.0, "high": 3.0},
        },
        "budget": {"trials": 2},
    }
    return preflight_study(StudySpec.model_validate(spec), seconds=seconds)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_custom_code_is_found(name: str) -> None:
    number, check_name, task = FAULTS[name]
    result = checked(task, seconds=4 if "hangs" in name else 30)
    found = [check for check in result.checks if check.status in (Status.WARNED, Status.FAILED)]
    assert [(check.number, check.name) for check in found] == [(number, check_name)], [
        check.sentence for check in result.checks
    ]
    assert all(check.remedy for check in found)


@pytest.mark.parametrize("name", SOUND)
def test_sound_custom_code_passes(name: str) -> None:
    result = checked(SOUND[name])
    assert result.status is Status.PASSED, [(check.name, check.sentence) for check in result.checks]
    passed = {check.name for check in result.checks if check.status is Status.PASSED}
    assert {"starts", "reports_objective", "same_seed", "parameters"} <= passed
    assert ("resumes" in passed) == (name == "function")


def test_a_task_that_hangs_is_ended_in_time() -> None:
    result = checked(FAULTS["function hangs"][2], seconds=2)
    assert result.seconds < 10
    assert [check.name for check in result.checks] == ["starts"]
