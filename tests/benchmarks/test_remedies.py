"""The benchmark of remedies: a remedy pays if the finding is gone or the value better, and every case is a study."""

from __future__ import annotations

import pytest

from benchmarks.remedies import Result, page, run
from benchmarks.remedy_cases import cases
from service.contract.catalogue import load_catalogue
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.remedy_action import EnqueueAction
from service.contract.study import StudySpec
from service.search.validation import check_spec

REMEDY = Remedy(name=RemedyName.LOWER_RATE, sentence="Do it.", action=EnqueueAction(parameters={"lr": 0.1}))
FINDING = Finding(rule="diverged", confidence=Confidence.HIGH, sentence="It is so.", remedies=[REMEDY])


@pytest.mark.parametrize(
    ("before", "after", "is_gone", "has_paid"),
    [
        (1.0, 0.5, False, True),
        (1.0, 0.995, False, False),
        (1.0, 2.0, True, True),
        (1.0, None, False, False),
        (None, 1.0, None, True),
        (None, None, None, False),
    ],
)
def test_a_remedy_pays_if_the_finding_is_gone_or_the_value_better(
    before: float | None, after: float | None, is_gone: bool | None, has_paid: bool
) -> None:
    assert Result(cases()[0], FINDING, REMEDY, before, after, is_gone).has_paid == has_paid


def test_every_case_is_a_study_of_its_own() -> None:
    specs = [StudySpec.model_validate(case.spec) for case in cases()]
    assert [check_spec(spec, load_catalogue()) for spec in specs] == [[]] * len(specs)
    assert len({spec.name for spec in specs}) == len(specs) >= 24
    assert len({case.fault for case in cases()}) >= 8
    assert len({case.data for case in cases()}) >= 4


@pytest.mark.prove
@pytest.mark.full
@pytest.mark.timeout(900)
def test_remedies_of_two_real_trainings_are_applied() -> None:
    chosen = [case for case in cases() if case.fault in ("decayed too early", "rate too high") and case.data == "wine"]
    results = run(chosen)
    assert all(each.remedy is not None for each in results)
    assert any(each.has_paid for each in results)
    assert "| decayed too early | wine | decayed_too_early | decay_later |" in page(results, "a command")
