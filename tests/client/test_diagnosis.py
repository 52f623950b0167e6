"""The pages of `study diagnose`: of messages with every kind of part, and of a study that a real service judged."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType

from service.cli.render.diagnosis_pages import diagnosis_page, trial_diagnosis_page
from service.contract.decomposition import Decomposition, ErrorPart, PartName
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis, TrialFindings
from service.contract.finding import Confidence, Evidence, Finding, Remedy, RemedyName
from service.contract.remedy_action import EnqueueAction
from service.contract.report import NonFinite
from service.contract.trial import Series, TrialDetail, TrialKind, TrialState
from tests.client.conftest import Study

NOW = datetime(2026, 1, 1, tzinfo=UTC)

BORDER = Finding(
    rule="best_at_border",
    confidence=Confidence.HIGH,
    sentence="The best trials lie at the upper end of optimizer.lr.",
    evidence=[Evidence(name="optimizer.lr of trial 7", value=0.1)],
    remedies=[
        Remedy(
            name=RemedyName.WIDEN_RANGE,
            sentence="Widen optimizer.lr to 1.",
            action=EnqueueAction(parameters={"optimizer.lr": 1.0}),
        ),
        Remedy(name=RemedyName.OTHER_MODEL, sentence="Try another model."),
    ],
)
OVERFITS = Finding(
    rule="overfitting",
    confidence=Confidence.MEDIUM,
    sentence="The gap grows to 0.5 from step 2 on.",
    evidence=[Evidence(name="val/loss", value=0.5, step=2), Evidence(name="gap", value=NonFinite(status="inf"))],
    trial=3,
)
PARTS = Decomposition(
    trial=7,
    metric="accuracy",
    level="human",
    is_share=True,
    error=0.25,
    parts=[
        ErrorPart(name=PartName.IRREDUCIBLE, value=0.05, low=0.05, high=0.05),
        ErrorPart(name=PartName.BIAS, value=0.2, low=0.1, high=0.3),
    ],
    largest=PartName.BIAS,
    sentence="Most of the error is bias.",
    remedies=[Remedy(name=RemedyName.LARGER_MODEL, sentence="Take a larger model.")],
)


def lines(page: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=100, markup=False)
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_no_line_fills_the_width_of_a_pipe() -> None:
    diagnosis = diagnosed(findings=[BORDER], decomposition=PARTS)
    console = Console(file=io.StringIO(), width=100_000, markup=False)
    console.print(diagnosis_page(diagnosis, is_filtered=False))
    assert isinstance(console.file, io.StringIO)
    assert max(map(len, console.file.getvalue().splitlines())) < 200


def diagnosed(**changes: Any) -> StudyDiagnosis:
    values: dict[str, Any] = {
        "study": "digits",
        "revision": 9,
        "spec_version": 1,
        "judged_revision": 9,
        "judged_at": NOW,
        "lags": False,
        "num_judged": 20,
        "num_waiting": 0,
        "findings": [],
    }
    return StudyDiagnosis(**(values | changes))


def test_the_page_of_a_study() -> None:
    group = TrialFindings(
        rule="overfitting", confidence=Confidence.MEDIUM, num_trials=15, trials=list(range(3, 18)), clearest=OVERFITS
    )
    page = lines(
        diagnosis_page(diagnosed(findings=[BORDER], trial_findings=[group], decomposition=PARTS), is_filtered=False)
    )
    shown = [" ".join(line.replace("█", "").split()) for line in page if line]
    assert shown == [
        "diagnosis of digits, 20 trials judged",
        "best_at_border high confidence",
        "The best trials lie at the upper end of optimizer.lr.",
        "optimizer.lr of trial 7: 0.1",
        "1. Widen optimizer.lr to 1.",
        "apply: study apply digits best_at_border --remedy 1",
        "2. Try another model.",
        "test error of trial 7 in accuracy: 0.25",
        "irreducible 0.05 0.05 to 0.05",
        "bias 0.2 0.1 to 0.3",
        "Most of the error is bias.",
        "1. Take a larger model.",
        "trials",
        "overfitting medium confidence trials 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 3 more",
        "The gap grows to 0.5 from step 2 on.",
        "see: study diagnose digits --trial 3",
    ]


def test_the_page_says_what_it_lacks() -> None:
    assert lines(diagnosis_page(diagnosed(), is_filtered=False))[2] == "nothing was found: no rule applies"
    assert lines(diagnosis_page(diagnosed(), is_filtered=True))[2] == "no finding of this rule or confidence"
    waiting = diagnosed(lags=True, num_judged=5, num_waiting=15, error="trial 3: it is damaged")
    assert lines(diagnosis_page(waiting, is_filtered=False))[:3] == [
        "diagnosis of digits, 5 trials judged",
        "15 of 20 trials still have to be judged; repeat, or add --wait",
        "not everything could be judged: trial 3: it is damaged",
    ]


def test_the_page_of_a_trial_marks_the_steps_of_the_evidence() -> None:
    trial = TrialDetail(
        id="t", number=3, kind=TrialKind.SEARCH, state=TrialState.RUNNING, parameters={}, values=None, infeasible=False,
        suggestion_reason="", state_reason=None, stage=None, step=3, num_attempts=1, metrics={}, created_at=NOW,
        started_at=NOW, finished_at=None, revision=1, attempts=[], verdicts=[], config=None,
        series=[
            Series(metric="train/loss", steps=[1, 2, 3], values=[1.0, 0.5, 0.25]),
            Series(metric="val/loss", steps=[1, 2, 3], values=[1.0, 0.75, NonFinite(status="nan")]),
            Series(metric="learning_rate", steps=[1, 2, 3], values=[0.1, 0.1, 0.1]),
        ],
    )  # fmt: skip
    found = TrialDiagnosis(
        study="digits",
        trial="t",
        number=3,
        revision=1,
        spec_version=1,
        judged_revision=1,
        lags=False,
        findings=[OVERFITS],
    )
    page = lines(trial_diagnosis_page(found, trial, is_filtered=False))
    assert page[0] == "diagnosis of trial 3 of digits, running"
    assert "  val/loss at step 2: 0.5; gap: inf" in page
    assert "a  train/loss" in page
    assert "b  val/loss" in page
    assert "1  step 2: overfitting, val/loss 0.5" in page
    assert sum("┊" in line for line in page) > 5
    nothing = found.model_copy(update={"findings": [], "lags": True})
    assert lines(trial_diagnosis_page(nothing, trial, is_filtered=False))[1:4] == [
        "the trial has changed since it was judged; repeat in some seconds, or add --wait",
        "",
        "nothing was found: no rule applies",
    ]


def test_the_command_waits_for_the_service(study: Study) -> None:
    name = study.create(objective={"metric": "val/loss", "direction": "minimize"}, budget={"trials": 1}, reference=None)
    for trial in study.client.open_trials(name):
        for epoch in range(1, 31):
            value = 2.0 * 0.9**epoch if epoch < 4 else float("nan")
            trial.report(epoch, {"train/loss": value, "val/loss": value})
    page = study("diagnose", name, "--wait")
    assert page.splitlines()[0] == f"diagnosis of {name}, 1 trial judged"
    answer = study.json("diagnose", name)
    assert (answer["lags"], answer["error"]) == (False, None)
    assert "diverged" in {each["rule"] for each in answer["trial_findings"]}
    assert f"see: study diagnose {name} --trial 0" in page
    assert "diverged" in study("diagnose", name, "--trial", "0")
    assert "diverged: " in study("show", name, "--trial", "0")
    assert "no finding of this rule" in study("diagnose", name, "--rule", "none-of-this-name")
