"""The simulation proves something: it catches every fault that is planted in a copy of the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, Edit, Mutant
from tests.simulation.prove import WITNESSES, StaleMutantError, hunt, plant

NUM_SEEDS = 10
"""How many worlds from its witness on may catch a mutant: a change of the service moves what a seed leads to."""


def test_every_mutant_has_a_witness() -> None:
    assert json.loads(WITNESSES.read_text(encoding="utf-8")).keys() == {mutant.name for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_to_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    plant(mutant, tmp_path)


def test_one_that_no_longer_applies_is_named(tmp_path: Path) -> None:
    stale = Mutant("gone", (Edit("service/usecases/reap.py", "this is not in the code", ""),))
    with pytest.raises(StaleMutantError, match=r"'gone' no longer applies: service/usecases/reap\.py"):
        plant(stale, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_is_caught(mutant: Mutant) -> None:
    witness = json.loads(WITNESSES.read_text(encoding="utf-8"))[mutant.name]
    caught, said = hunt(mutant, witness, NUM_SEEDS)
    assert caught is not None, f"survived {NUM_SEEDS} worlds; hunt it with `make mutants`\n{said[-2000:]}"
