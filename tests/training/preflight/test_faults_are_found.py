"""Each planted fault is found by its check, with a figure and a remedy."""

from __future__ import annotations

import pytest

from tests.training.preflight.planted_faults import held_out, tuning
from tests.training.preflight.planted_faults.fault import Fault
from worker.training import TrainingConfig
from worker.training.preflight import SearchedParameter, SearchSpace, Status, run_preflight


@pytest.mark.usefixtures("planted_entries")
@pytest.mark.parametrize(
    "fault", [*tuning.FAULTS, *(pytest.param(each, marks=pytest.mark.prove) for each in held_out.FAULTS)], ids=str
)
def test_a_planted_fault_is_found(fault: Fault) -> None:
    space = SearchSpace(fault.train, {}, {path: SearchedParameter(values) for path, values in fault.space.items()})
    result = run_preflight(TrainingConfig.from_mapping(fault.train), space, seconds=60, numbers=[fault.number])
    found = [check for check in result.checks if check.status in (Status.WARNED, Status.FAILED)]
    assert found, [(check.name, check.sentence) for check in result.checks]
    assert all(check.number == fault.number and check.sentence and check.remedy for check in found)
    assert result.status in (Status.WARNED, Status.FAILED)
