"""Each planted fault is a configuration that the training core accepts, and each check has its share of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.training.preflight.planted_faults import held_out, tuning
from tests.training.preflight.planted_faults.fault import ENTRIES, Fault
from worker.training import TrainingConfig

FAULTS: list[Fault] = [*tuning.FAULTS, *held_out.FAULTS]


def test_every_check_has_faults_to_tune_on_and_faults_held_out() -> None:
    for faults in (tuning.FAULTS, held_out.FAULTS):
        counts = Counter(fault.number for fault in faults)
        assert all(counts[number] >= 2 for number in range(1, 10))


@pytest.mark.usefixtures("planted_entries")
def test_every_fault_is_a_configuration_that_the_core_accepts() -> None:
    for fault in FAULTS:
        assert TrainingConfig.from_mapping(fault.train)


def test_every_broken_entry_is_planted() -> None:
    used = {str(section["name"]) for fault in FAULTS for section in fault.changes.values() if isinstance(section, dict)}
    assert {factory.__name__ for _, factory, _ in ENTRIES} <= used
