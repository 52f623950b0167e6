"""The simulation catches every fault that is planted in the service."""

from __future__ import annotations

import pytest

from tests.simulation.hunt import ROOT, hunt, read_witnesses
from tests.simulation.mutants import MUTANTS, Edit, Mutant, StaleMutantError

NUM_MORE = 10
"""How many worlds after its last witness may catch a mutant: a change of the service moves what a seed leads to."""


def test_every_mutant_has_a_witness() -> None:
    assert read_witnesses().keys() == {mutant.name for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_to_the_code_as_it_is(mutant: Mutant) -> None:
    for path, text in mutant.edited(ROOT).items():
        compile(text, path, "exec", dont_inherit=True)


def test_one_that_no_longer_applies_is_named() -> None:
    stale = Mutant("gone", (Edit("service/usecases/maintenance/reaper.py", "this is not in the code", ""),))
    with pytest.raises(StaleMutantError, match=r"'gone' no longer applies: service/usecases/maintenance/reaper\.py"):
        stale.edited(ROOT)


def test_a_service_without_an_edit_is_not_caught() -> None:
    unchanged = Mutant(
        "unchanged", (Edit("service/usecases/maintenance/reaper.py", "import logging\n", "import logging\n"),)
    )
    assert hunt(unchanged, [1]) == []


@pytest.mark.prove
@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_is_caught(mutant: Mutant) -> None:
    witnesses = read_witnesses()[mutant.name]
    seeds = [*witnesses, *range(witnesses[-1] + 1, witnesses[-1] + 1 + NUM_MORE)]
    caught = hunt(mutant, seeds)
    assert caught, f"survived the worlds {seeds}; hunt it: python -m tests.simulation.killing_seeds {mutant.name!r}"
