"""Sound trainings pass: at most one warning over all of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.sizes import IS_FULL
from tests.training.preflight.healthy_studies import PROVE, QUICK, Healthy, write_files
from worker.training.preflight import Check, Status, run_preflight


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("data"))


def findings(study: Healthy, files: Mapping[str, str]) -> list[Check]:
    """What the preflight warns of, after it ran every check."""
    space = study.search_space(files)
    checks = run_preflight(space.configuration(), space, seconds=120).checks
    assert {check.number for check in checks} == set(range(1, 10))
    return [check for check in checks if check.status in (Status.WARNED, Status.FAILED)]


@pytest.mark.parametrize("study", QUICK, ids=lambda study: study.name)
def test_a_sound_training_passes(study: Healthy, files: dict[str, str]) -> None:
    assert [(check.name, check.sentence) for check in findings(study, files)] == []


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_forty_sound_trainings_have_one_warning_at_most(files: dict[str, str]) -> None:
    """CI checks every second one that `test_a_sound_training_passes` leaves."""
    assert len(PROVE) >= 40
    assert len({str(sorted(study.train["data"].items())) for study in PROVE}) >= 8
    studies = PROVE if IS_FULL else [study for study in PROVE if study not in QUICK][::2]
    found = [(study.name, check.name, check.sentence) for study in studies for check in findings(study, files)]
    assert len(found) <= 1, found
