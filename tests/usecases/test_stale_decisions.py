"""Stale decisions: a claim, promotion or proposal decided on an older history is decided again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from service.contract.attempt import HeldLease
from service.contract.claim import NoTrial
from service.contract.study import StudyState
from service.contract.trial import TrialState
from service.domain.history import StageBox
from service.search import decide
from service.search.decide import Propose
from service.storage.queries import history, studies
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts import heartbeat, outcome
from service.usecases.dispatch import claim
from service.usecases.maintenance import budget_expiry, oom_expiry
from service.usecases.studies import lifecycle, stages
from service.usecases.studies.enqueue import EnqueueRequest, enqueue
from service.usecases.suggestions import Late
from tests.usecases.attempts.test_rungs import ASHA, climb, fill_the_first_rung
from tests.usecases.failing_strategies import state_of
from tests.usecases.replica import Replica, claim_request
from tests.usecases.studies.test_edit import OTHER, edit
from tests.usecases.test_isolation import damage

pytestmark = pytest.mark.anyio


def after_the_decision(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Awaitable[object]]) -> None:
    """Run something once between a claim's decision and the transaction that writes it."""
    right, is_done = claim._decide, False

    async def decide_then_work(*args: Any) -> Any:
        nonlocal is_done
        decided = await right(*args)
        if not is_done:
            is_done = True
            await work()
        return decided

    monkeypatch.setattr(claim, "_decide", decide_then_work)


async def look(replica: Replica, name: str) -> claim.StudySnapshot:
    study_id = (await replica.study(name)).id
    return await replica.database.read(
        lambda connection: claim._load_snapshot(connection, replica.context, study_id, claim_request(name))
    )


class Computed:
    """Stands in for `Suggestions`: returns results that earlier claims left, then computes."""

    def __init__(self, *earlier: object) -> None:
        self.keys: list[object] = []
        self._earlier = list(earlier)

    async def compute(self, study_id: str, key: object, call: Callable[[], object], **_: object) -> object:
        self.keys.append(key)
        return self._earlier.pop() if self._earlier else call()


async def test_no_worker_trains_with_code_that_another_claim_has_just_ruled_out(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(code_policy="same")
    for grant in [await replica.claim(name, worker=f"w{at}") for at in range(2)]:
        await replica.finish(grant, "released")
    other = Replica(replica.database)
    after_the_decision(monkeypatch, lambda: other.claim(name, worker="first", code="a" * 64))
    answer = await replica.ask(name, worker="second", code="b" * 64)
    assert isinstance(answer, NoTrial)
    assert [trial.state for trial in await replica.trials(name)].count(TrialState.RUNNING) == 1


async def test_a_trial_that_was_suggested_before_an_edit_is_suggested_again(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create()
    after_the_decision(monkeypatch, lambda: edit(replica, name, space=OTHER))
    assert 1.0 <= (await replica.claim(name)).parameters["lr"] <= 10.0  # type: ignore[operator]


async def test_a_promotion_that_was_decided_before_an_edit_is_decided_again(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptions: list[str] = []
    right = claim.promote

    def promote(unit_of_work: UnitOfWork, spec: Any, *args: Any) -> None:
        descriptions.append(spec.description)
        right(unit_of_work, spec, *args)

    monkeypatch.setattr(claim, "promote", promote)
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)
    after_the_decision(monkeypatch, lambda: edit(replica, name, description="edited"))
    assert (await replica.claim(name)).number == 1
    assert descriptions == ["edited"]


async def test_an_earlier_claim_leaves_its_suggestion_and_no_other_decision(replica: Replica) -> None:
    name = await replica.create()
    earlier, now = await look(replica, name), await look(replica, name)
    left: Any = Computed((earlier, decide.Wait("all trials run")))
    context = replace(replica.context, suggestions=left)
    situation, decision = await claim._decide(context, now, claim.Patience(1.0))
    assert situation is now
    assert isinstance(decision, decide.Suggest)
    left = Computed((earlier, decision))
    made_from, used = await claim._decide(replace(context, suggestions=left), now, claim.Patience(1.0))
    assert used is decision
    assert made_from.study is earlier.study


async def test_a_claim_and_a_report_do_not_wait_for_a_result_that_is_late(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    late: Any = Computed(Late("all threads are busy"), Late("all threads are busy"))
    replica.context = replace(replica.context, suggestions=late)
    answer = await replica.ask(grant.study)
    assert isinstance(answer, NoTrial)
    assert answer.reason.endswith("all threads are busy; ask again")
    verdict = await replica.report(grant, 1, 0.5)
    assert verdict.reason == "the pruner did not judge this report: all threads are busy; the trial continues"


async def test_a_suggestion_from_before_a_configuration_was_enqueued_is_not_used_after_it(replica: Replica) -> None:
    name = await replica.create()
    computed: Any = Computed()
    context = replace(replica.context, suggestions=computed)
    await claim._decide(context, await look(replica, name), claim.Patience(1.0))
    await enqueue(replica.context, name, EnqueueRequest(parameters={"lr": 1e-2}))
    await claim._decide(context, await look(replica, name), claim.Patience(1.0))
    before, after = computed.keys
    assert before != after


async def test_a_claim_whose_study_is_removed_meanwhile_is_answered(replica: Replica) -> None:
    answer = await claim._no_trial(replica.context, claim_request("gone"), ["gone: it was deleted"])
    assert (answer.reason, answer.done) == ("gone: it was deleted", False)


async def test_no_history_is_read_of_a_study_that_the_worker_cannot_execute(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def latest(*_: object) -> None:
        raise AssertionError("the history was read")

    name = await replica.create(requires={"labels": {"site": "north"}})
    monkeypatch.setattr(replica.context.histories, "latest", latest)
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{name}: requires a worker with --label site=north"


async def test_a_damaged_study_is_paused_though_another_one_gives_a_trial(replica: Replica) -> None:
    healthy, damaged = await replica.create(priority=9), await replica.create()
    await damage(replica, damaged)
    assert (await replica.claim(None)).study_name == healthy
    assert state_of(replica, damaged).state == StudyState.PAUSED


async def test_a_heartbeat_for_a_trial_that_is_removed_meanwhile_is_answered(replica: Replica) -> None:
    asked = HeldLease(trial="0" * 32, attempt=1, nonce="n")
    status = await heartbeat._reattach(replica.context, asked)
    assert (status.held, status.reason) == (False, "the attempt does not exist any more; drop the trial")


async def test_a_trial_that_no_longer_waits_is_not_given_up_for_memory(replica: Replica) -> None:
    context, name = replica.context, await replica.create()
    grant = await replica.claim(name)

    async def give_up(trial_id: str) -> int:
        return await context.transact(
            grant.study, lambda unit_of_work: oom_expiry._expire(unit_of_work, context, trial_id)
        )

    def reason(*_: object) -> str:
        return "out of memory"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oom_expiry, "_reason", reason)
        assert await give_up(grant.trial) == 0
        assert await give_up("0" * 32) == 0
        await replica.finish(grant, "released")
        assert await give_up(grant.trial) == 1


async def test_a_box_that_was_computed_before_the_study_moved_is_not_proposed(replica: Replica) -> None:
    name = await replica.create()
    proposal = Propose(StageBox(1, {"lr": [1e-3, 1e-2]}, "the best"), num_stages=2)
    old: Any = SimpleNamespace(revision=0)
    now: Any = SimpleNamespace(revision=(await replica.study(name)).revision)
    for known, state in ((old, StudyState.ACTIVE), (now, StudyState.PAUSED)):
        study_id = (await replica.study(name)).id
        if known is old:
            await replica.claim(name)
            now.revision = (await replica.study(name)).revision
        await replica.context.transact(study_id, lambda each, known=known: stages.request_review(each, known, proposal))  # type: ignore[misc]
        assert (await replica.study(name)).state is state


@pytest.mark.parametrize(
    ("state", "cause", "stop_requested_at", "waits"),
    [
        (StudyState.PAUSED, "review", None, True),
        (StudyState.ACTIVE, "review", None, False),
        (StudyState.PAUSED, "user", None, False),
        (StudyState.PAUSED, "review", 1, False),
    ],
)
def test_a_study_waits_for_a_review_while_it_is_paused_for_one(
    state: StudyState, cause: str, stop_requested_at: int | None, waits: bool
) -> None:
    study: Any = SimpleNamespace(state=state, pause_cause=cause, stop_requested_at=stop_requested_at)
    assert stages.waits_for_review(study) is waits


async def test_a_trial_without_a_value_stays_behind_without_values(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(**ASHA)
    grant = await climb(replica, name, 0.5)

    def left_behind(*_: object) -> list[tuple[int, float | None, str]]:
        return [(0, None, "not promoted")]

    def complete(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        known = history.refresh(unit_of_work.connection, study.id, "loss", replica.context.histories.cached(study.id))
        outcome.complete_study(unit_of_work, spec, known, "over")

    monkeypatch.setattr(decide, "unpromoted", left_behind)
    await replica.context.transact(grant.study, complete)
    trial = await replica.trial(name, 0)
    assert (trial.state_reason, trial.values) == ("not promoted", None)
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_paused_study_is_not_asked_whether_its_hours_are_over(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def conclude(_: object, study_id: object) -> None:
        asked.append(study_id)

    monkeypatch.setattr(budget_expiry, "complete_if_done", conclude)
    timed, paused, damaged = [await replica.create(budget={"trials": 3, "hours": 1.0}) for _ in range(3)]
    await replica.create()
    await lifecycle.pause_study(replica.context, paused, "")
    await damage(replica, damaged)
    study_id = (await replica.study(timed)).id
    await budget_expiry.complete_expired_studies(replica.context)
    assert asked == [study_id]
