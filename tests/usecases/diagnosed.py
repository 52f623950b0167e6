"""Rules for tests of the diagnosis, a study that they find something about, and short words for what is shown."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from service.analysis.diagnosis.facts import StudyFacts, TrialFacts
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis
from service.contract.finding import Confidence, Evidence, Finding, Remedy, RemedyName
from service.usecases import diagnosis_lookup as stored
from service.usecases.maintenance import diagnosis
from service.usecases.maintenance.judgement import Rules
from tests.usecases.replica import Replica

VERSION = "of-the-tests"


def rises(facts: TrialFacts) -> list[Finding]:
    """A trial whose loss ended above its start."""
    curve = facts.curves.get("loss", ())
    if len(curve) < 2 or curve[-1][1] <= curve[0][1]:
        return []
    step, value = curve[-1]
    confidence = Confidence.HIGH if value > 2 * curve[0][1] else Confidence.LOW
    return [
        Finding(
            rule="rises",
            confidence=confidence,
            sentence=f"The loss rose to {value:g}.",
            evidence=[Evidence(name="loss", value=value, step=step)],
            remedies=[
                Remedy(name=RemedyName.LOWER_RATE, sentence="Lower the learning rate.", settings={"factor": 0.3})
            ],
            trial=facts.number,
        )
    ]


def many_rise(facts: StudyFacts) -> list[Finding]:
    """At least two trials whose loss rose."""
    if len(facts.trial_findings) < 2:
        return []
    numbers = ", ".join(map(str, facts.trial_findings))
    return [Finding(rule="many_rise", confidence=Confidence.MEDIUM, sentence=f"The loss of trials {numbers} rose.")]


RULES = Rules(rises, many_rise, version=VERSION)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two rounds of a study; readers compare with the version of these rules."""
    monkeypatch.setattr(diagnosis, "STUDY_SECONDS", 0.0)
    monkeypatch.setattr(diagnosis, "_SHARE", 0)
    monkeypatch.setattr(diagnosis, "ROUND_SECONDS", 600.0)
    monkeypatch.setattr(diagnosis, "WAIT_SECONDS", 600.0)
    # The first computation of the importance imports Optuna, which takes long on a busy machine.
    importlib.import_module("service.search.optuna_bridge.ped_anova")
    monkeypatch.setattr(stored, "rules_version", lambda: VERSION)


async def shown(replica: Replica, name: str) -> StudyDiagnosis:
    return await stored.get_study_diagnosis(replica.context, name)


async def shown_trial(replica: Replica, name: str, number: int) -> TrialDiagnosis:
    return await stored.get_trial_diagnosis(replica.context, name, str(number))


async def searched(replica: Replica, **changes: Any) -> str:
    """A study with a trial whose loss falls, one whose loss rises a little, and one whose loss rises much."""
    name = await replica.create(**{"budget": {"trials": 9}, **changes})
    for last in (0.25, 0.75, 4.0):
        await replica.train(name, 0.5, last)
    return name
