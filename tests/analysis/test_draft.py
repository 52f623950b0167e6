"""Drafts of follow-up studies: the findings of the highest confidence decide, and what contradicts them is told."""

from __future__ import annotations

from typing import Any

from service.analysis.remedies.draft import Draft, draft_changes
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from tests.analysis.test_remedies import study

OF_STUDY = study(
    {"optimizer.lr": 1.0},
    space={
        "optimizer.lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
        "batch_size": {"type": "categorical", "choices": [32, 64]},
    },
)


def finding(
    rule: str, confidence: Confidence, *remedies: tuple[RemedyName, dict[str, Any]], trial: int | None = None
) -> Finding:
    made = [Remedy(name=name, sentence=f"Do {name}.", settings=settings) for name, settings in remedies]
    return Finding(rule=rule, confidence=confidence, sentence="It is so.", remedies=made, trial=trial)


def draft(*findings: Finding, accepts: Any = lambda changes: True) -> Draft:
    return draft_changes(findings, OF_STUDY, accepts)


BORDER = finding(
    "best_at_border", Confidence.HIGH, (RemedyName.WIDEN_RANGE, {"parameter": "optimizer.lr", "high": 10.0})
)
SHORT = finding("still_improving", Confidence.MEDIUM, (RemedyName.TRAIN_LONGER, {}))


def test_each_finding_changes_what_its_first_possible_remedy_says() -> None:
    made = draft(SHORT, BORDER)
    assert made.settings == {"space.optimizer.lr.high": 10.0, "task.train.epochs": 20, "resource": None}
    assert [(each.path, each.rule, each.reason) for each in made.changes] == [
        ("space.optimizer.lr.high", "best_at_border", "Do widen_range."),
        ("task.train.epochs", "still_improving", "Do train_longer."),
    ]
    assert made.notes == []


def test_of_two_contradicting_findings_the_one_of_higher_confidence_counts() -> None:
    shorter = finding("saturated_early", Confidence.HIGH, (RemedyName.TRAIN_SHORTER, {}))
    made = draft(SHORT, shorter)
    assert made.settings["task.train.epochs"] == 5
    (note,) = made.notes
    assert note.startswith("left out: Do train_longer. (finding still_improving, medium confidence)")
    assert note.endswith("because the finding saturated_early counts more")


def test_two_changes_of_one_setting_are_a_contradiction() -> None:
    other = finding("failures", Confidence.LOW, (RemedyName.FIX_PARAMETER, {"parameter": "optimizer.lr", "value": 0.1}))
    made = draft(BORDER, other)
    assert list(made.settings) == ["space.optimizer.lr.high"]
    assert "the finding best_at_border counts more" in made.notes[0]


def test_a_change_that_makes_the_study_invalid_is_replaced_by_the_next_remedy() -> None:
    two = finding("slow", Confidence.HIGH, (RemedyName.TRAIN_LONGER, {}), (RemedyName.MORE_TRIALS, {}))
    made = draft(two, accepts=lambda changes: "resource" not in changes)
    assert made.settings == {"budget.trials": 30}


def test_what_changes_only_this_study_and_what_people_do_is_left_out() -> None:
    here = finding("diverged", Confidence.HIGH, (RemedyName.LOWER_RATE, {}), (RemedyName.CHECK_DATA, {}), trial=0)
    assert draft(here, finding("done", Confidence.HIGH, (RemedyName.END_STUDY, {}))).changes == []
