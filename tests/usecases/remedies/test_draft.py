"""Follow-up studies drafted from stored findings, and the actions that a diagnosis shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.analysis.diagnosis.facts import StudyFacts
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.remedy_action import EditAction, EnqueueAction
from service.contract.space import FloatParameter
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.maintenance.judgement import Rules
from service.usecases.remedies.draft import draft_follow_up
from service.usecases.studies import creation, lifecycle
from tests.usecases.diagnosed import VERSION, rises, searched, shown, shown_trial
from tests.usecases.replica import Replica

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("at_once")]


def at_border(_facts: StudyFacts) -> list[Finding]:
    wider = {"parameter": "lr", "high": 1.0}
    remedies = [Remedy(name=RemedyName.WIDEN_RANGE, sentence="Widen the range.", settings=wider)]
    return [Finding(rule="at_border", confidence=Confidence.HIGH, sentence="At its end.", remedies=remedies)]


RULES = Rules(rises, at_border, version=VERSION)


async def diagnosed(replica: Replica, **changes: Any) -> str:
    """A diagnosed study. On a busy machine a round may be left to the next one."""
    name = await searched(replica, **changes)
    while (await shown(replica, name)).lags:
        await diagnose_due(replica.context, RULES)
        await asyncio.sleep(0.05)
    return name


@pytest.mark.parametrize("sampler", ["tpe", "random"])
async def test_the_draft_has_each_change_with_its_reason_and_can_be_created(replica: Replica, sampler: str) -> None:
    name = await diagnosed(replica, sampler=sampler)
    draft = await draft_follow_up(replica.context, name)
    assert [(each.path, each.rule, each.reason) for each in draft.changes] == [
        ("space.lr.high", "at_border", "Widen the range.")
    ]
    view = await creation.create_study(replica.context, draft.spec)
    rate = view.spec.space["lr"]
    assert isinstance(rate, FloatParameter)
    assert rate.high == 1.0
    # Random search learns nothing from prior trials.
    assert (view.name, view.spec.warm_start) == (f"{name}-2", [name] if sampler == "tpe" else [])
    assert (await draft_follow_up(replica.context, name)).spec.name == f"{name}-3"


async def test_without_findings_nothing_is_changed(replica: Replica) -> None:
    name = await searched(replica)
    draft = await draft_follow_up(replica.context, name)
    assert (draft.changes, draft.notes) == ([], [])


async def test_a_diagnosis_shows_what_the_service_would_do_now(replica: Replica) -> None:
    name = await diagnosed(replica)
    rate = (await replica.trial(name, 2)).parameters["lr"]
    study, trial = await shown(replica, name), await shown_trial(replica, name, 2)
    assert study.spec_version == trial.spec_version == 1
    assert study.findings[0].remedies[0].action == EditAction(changes={"space.lr.high": 1.0})
    for found in (study.trial_findings[0].clearest, trial.findings[0]):
        action = found.remedies[0].action
        assert isinstance(action, EnqueueAction)
        assert action.parameters["lr"] == pytest.approx(0.3 * float(rate), rel=0.05)  # type: ignore[arg-type]
    await lifecycle.stop_study(replica.context, name, "")
    stopped = await shown(replica, name)
    assert stopped.findings[0].remedies[0].action is None
    assert stopped.trial_findings[0].clearest.remedies[0].action is None
