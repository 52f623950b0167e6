"""Diagnosis rounds: what is judged, stored and shown; running trials, slices, replicas, faults and damaged rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.analysis.diagnosis.facts import StudyFacts, TrialFacts
from service.contract.attempt import FailureClass
from service.contract.decomposition import Decomposition, ErrorPart, PartName
from service.contract.finding import Confidence, Evidence, Finding
from service.contract.predictions import Confusion
from service.contract.trial import TrialState
from service.usecases import diagnosis_lookup as stored
from service.usecases.maintenance import diagnosis, diagnosis_facts, judgement
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.studies import lifecycle
from tests.usecases.diagnosed import RULES, rises, searched, shown, shown_trial
from tests.usecases.replica import Replica

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("at_once")]


async def test_findings_are_stored_and_shown(replica: Replica) -> None:
    name = await searched(replica)
    before = await shown(replica, name)
    assert (before.lags, before.judged_revision, before.num_judged, before.num_waiting) == (True, None, 0, 3)
    assert await diagnose_due(replica.context, RULES) == 1
    study = await replica.study(name)
    now = await shown(replica, name)
    assert (now.lags, now.judged_revision, now.num_judged, now.num_waiting) == (False, study.revision, 3, 0)
    assert now.error is None
    assert [each.rule for each in now.findings] == [each.rule for each in study.findings] == ["many_rise"]
    assert now.findings[0].sentence == "The loss of trials 1, 2 rose."
    (group,) = now.trial_findings
    assert (group.rule, group.confidence, group.num_trials, group.trials) == ("rises", Confidence.HIGH, 2, [1, 2])
    assert group.clearest.trial == 2
    assert [each.sentence for each in (await replica.trial(name, 1)).findings] == ["The loss rose to 0.75."]
    assert (await replica.trial(name, 0)).findings == []
    trial = await shown_trial(replica, name, 2)
    assert (trial.lags, trial.judged_revision) == (False, trial.revision)
    assert trial.findings[0].evidence == [Evidence(name="loss", value=4.0, step=2)]
    assert trial.findings[0].remedies[0].settings == {"factor": 0.3}


async def test_findings_are_filtered(replica: Replica) -> None:
    name = await searched(replica)
    await diagnose_due(replica.context, RULES)
    of_rule = await stored.get_study_diagnosis(replica.context, name, rule="rises")
    assert ([each.rule for each in of_rule.findings], len(of_rule.trial_findings)) == ([], 1)
    of_confidence = await stored.get_study_diagnosis(replica.context, name, confidence=Confidence.MEDIUM)
    assert ([each.rule for each in of_confidence.findings], of_confidence.trial_findings) == (["many_rise"], [])
    low = await stored.get_trial_diagnosis(replica.context, name, "1", confidence=Confidence.LOW)
    high = await stored.get_trial_diagnosis(replica.context, name, "1", confidence=Confidence.HIGH)
    assert (len(low.findings), len(high.findings)) == (1, 0)


async def test_a_diagnosis_is_no_change_of_the_study(replica: Replica) -> None:
    name = await searched(replica)
    before, events = await replica.study(name), await replica.kinds(name)
    assert await diagnose_due(replica.context, RULES) == 1
    assert (await replica.study(name)).revision == before.revision
    assert await replica.kinds(name) == events
    assert await diagnose_due(replica.context, RULES) == 0, "nothing has changed since"


async def test_a_running_trial_is_judged_while_it_runs(replica: Replica) -> None:
    name = await searched(replica)
    await diagnose_due(replica.context, RULES)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5, 0.25)
    await diagnose_due(replica.context, RULES)
    assert (await shown_trial(replica, name, 3)).findings == []
    await replica.report(grant, 2, 0.75, step=3)
    assert (await shown_trial(replica, name, 3)).lags
    await diagnose_due(replica.context, RULES)
    assert [each.rule for each in (await shown_trial(replica, name, 3)).findings] == ["rises"]
    assert (await shown(replica, name)).trial_findings[0].trials == [1, 2, 3]
    await replica.report(grant, 3, 0.125, step=4)
    await diagnose_due(replica.context, RULES)
    assert (await shown_trial(replica, name, 3)).findings == [], "the loss has fallen since"


async def test_only_changed_trials_are_judged_again(replica: Replica) -> None:
    name, judged = await searched(replica), []

    def noting(facts: TrialFacts) -> list[Finding]:
        judged.append(facts.number)
        return rises(facts)

    rules = replace(RULES, of_trial=noting)
    await diagnose_due(replica.context, rules)
    await replica.train(name, 0.5, 0.75)
    # A replica that has just started remembers nothing, and judges no more than the one that has run all the time.
    for one in (replica, Replica(replica.database)):
        await diagnose_due(one.context, rules)
        assert (await shown(one, name)).findings[0].sentence == "The loss of trials 1, 2, 3 rose."
        await lifecycle.pause_study(one.context, name, "")
        await lifecycle.resume_study(one.context, name, "")
    await diagnose_due(replica.context, rules)
    assert judged == [0, 1, 2, 3]


async def test_a_study_is_judged_at_most_once_in_five_seconds(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "STUDY_SECONDS", 5.0)
    name = await searched(replica)
    assert await diagnose_due(replica.context, RULES) == 1
    await replica.train(name, 0.5)
    assert await diagnose_due(replica.context, RULES) == 0
    # Nor by another replica.
    assert await diagnose_due(Replica(replica.database).context, RULES) == 0


async def test_a_large_study_is_judged_in_slices(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis_facts, "MAX_TRIALS", 2)
    name = await searched(replica)
    await replica.train(name, 0.5, 0.75)
    await replica.train(name, 0.5, 0.75)
    seen = []
    for _ in range(4):
        await diagnose_due(replica.context, RULES)
        now = await shown(replica, name)
        seen.append((now.num_judged, now.num_waiting, now.lags, now.judged_revision is None))
    assert seen == [(2, 3, True, True), (4, 1, True, True), (5, 0, False, False), (5, 0, False, False)]
    assert (await shown(replica, name)).trial_findings[0].trials == [1, 2, 3, 4]


async def test_a_round_ends_with_its_processor_time(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "MAX_PROCESSOR_SECONDS", -1.0)
    name = await searched(replica)
    nums = []
    for _ in range(3):
        await diagnose_due(replica.context, RULES)
        nums.append((await shown(replica, name)).num_judged)
    assert nums == [1, 2, 3], "each round judges at least one trial"


async def test_few_values_are_read_at_a_time(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis_facts, "MAX_VALUES", 4)
    name = await searched(replica)
    await replica.train(name, 0.5, 0.6, 0.7, 0.8, 0.9)
    await diagnose_due(replica.context, RULES)
    assert (await shown(replica, name)).num_judged == 2
    await diagnose_due(replica.context, RULES)
    now = await shown(replica, name)
    assert (now.num_judged, now.lags) == (4, False)
    assert (await shown_trial(replica, name, 3)).error == "it reported 5 values, and at most 4 are read"
    assert now.error == "trial 3: it reported 5 values, and at most 4 are read"


async def test_what_the_facts_hold(replica: Replica) -> None:
    facts: list[StudyFacts] = []

    def noting(given: StudyFacts) -> Sequence[Finding]:
        facts.append(given)
        return []

    name = await searched(replica, reference={"human": 0.1})
    await replica.fail(await replica.claim(name, worker="v", host="there"), FailureClass.OUT_OF_MEMORY, message="a\nb")
    grant = await replica.claim(name)
    await replica.finish(grant, metrics={"test/accuracy": 0.5, "seconds": 2.0})
    await diagnose_due(replica.context, replace(RULES, of_study=noting))
    (found,) = facts
    assert found.spec.name == name
    assert [trial.state for trial in found.history][:3] == [TrialState.COMPLETED] * 3
    assert found.metrics.keys() == {0, 1, 2}
    assert [(each.name, each.value) for each in found.references] == [("human", 0.1)]
    assert found.importance is not None
    assert {number: [each.rule for each in of_trial] for number, of_trial in found.trial_findings.items()} == {
        1: ["rises"],
        2: ["rises"],
    }
    failed = next(each for each in found.attempts if each.failure is not None)
    assert (failed.host, failed.failure, failed.message) == ("there", FailureClass.OUT_OF_MEMORY, "a")
    assert [(each.trial, each.num_steps) for each in found.attempts][:3] == [(0, 2), (1, 2), (2, 2)]


async def test_examples_are_counted_by_the_confusion_of_the_best_trial(replica: Replica) -> None:
    facts: list[StudyFacts] = []

    def noting(given: StudyFacts) -> Sequence[Finding]:
        facts.append(given)
        return []

    rules = replace(RULES, of_study=noting)
    name = await replica.create()
    confusion = Confusion(classes=["a", "b"], splits={"val": [[3, 1], [0, 4]], "test": [[5, 0], [0, 5]]})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.finish(grant, confusion=confusion, metrics={"test/accuracy": 1.0})
    await diagnose_due(replica.context, rules)
    await replica.train(name, 0.75)
    await diagnose_due(replica.context, rules)
    assert [(each.num_validation, each.num_test, each.num_test_val) for each in facts] == [(8, 10, None)] * 2
    assert facts[1].metrics == {0: {"test/accuracy": 1.0}, 1: {}}


async def test_the_decomposition_is_stored_and_shown(replica: Replica) -> None:
    parts = [ErrorPart(name=PartName.BIAS, value=0.25, low=0.125, high=0.5)]
    whole = Decomposition(
        trial=0,
        metric="loss",
        level="human",
        is_share=False,
        error=0.25,
        parts=parts,
        largest=PartName.BIAS,
        sentence="Most of it is bias.",
    )
    name = await searched(replica)
    await diagnose_due(replica.context, replace(RULES, decompose=lambda _: whole))
    assert (await shown(replica, name)).decomposition == whole
