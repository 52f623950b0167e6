"""Remedies of the rules of a study become actions of the service with the values that the rules found."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.planted_studies import PLANTED
from benchmarks.study_diagnosis import BY_NAME
from service.analysis.remedies.actions import action_for
from service.analysis.remedies.subject import StudyForRemedies
from service.contract.catalogue import load_catalogue


def first_action(rule: str, words: str) -> dict[str, Any]:
    """Return the action of the first remedy of a planted fault."""
    facts, found = next(
        (facts, found) for facts in map(PLANTED[rule][words], range(9)) if (found := BY_NAME[rule](facts))
    )
    study = StudyForRemedies(facts.spec, load_catalogue(), facts.history, [], "measured-2", lambda _: False)
    made = action_for(found.remedies[0], found, study)
    assert made is not None
    return made.model_dump()


@pytest.mark.parametrize(
    ("rule", "words", "setting"),
    [
        ("best_at_border", "the same, 150 trials", "space.rate.high"),
        ("best_at_border", "optimum a decade below, random", "space.rate.low"),
        ("failure_region", "90 % of wide trials fail", "space.width.high"),
        ("pruner_too_eager", "slow starters end best", "pruner"),
        ("parameter_without_effect", "one idle of five, random", "space.idle"),
    ],
)
def test_the_first_remedy_edits_the_setting(rule: str, words: str, setting: str) -> None:
    made = first_action(rule, words)
    assert made["kind"] == "edit"
    assert setting in made["changes"]


def test_a_search_without_gain_can_be_stopped_by_one_call() -> None:
    assert first_action("past_point_of_return", "80 of 100 trials without gain")["kind"] == "stop"
