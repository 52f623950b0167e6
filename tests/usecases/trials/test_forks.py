"""Forks: a trial continues from another one's checkpoint, outside the search's history and budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import TrialKind, TrialState, TrialView
from service.domain.errors import DomainError
from service.storage.blobs import BlobStore
from service.storage.fsck.invariants import check
from service.usecases.blobs import collect_blobs
from service.usecases.studies import lifecycle
from service.usecases.trials.forks import list_forks
from tests.usecases.attempts.test_resume import save
from tests.usecases.replica import Replica
from tests.worker.grants import digits

pytestmark = pytest.mark.anyio

NINE: dict[str, Any] = {"resource": {"name": "epoch", "max": 9}, "budget": {"trials": 1}}


async def trained(replica: Replica, to: int = 9, **changes: Any) -> tuple[str, Grant]:
    """A study, and its first trial with checkpoints of steps 2 and 4, which has ended if it got to step 9."""
    name = await replica.create(**NINE | changes)
    grant = await replica.claim(name)
    for step in range(1, to + 1):
        await replica.report(grant, step, 1 / step)
        if step in {2, 4}:
            await replica.checkpoint(grant, step, sha256=str(step) * 64)
    if to == 9:
        await replica.finish(grant)
    return name, grant


async def go_on(replica: Replica, grant: Grant, *values: float) -> None:
    """Train a fork from where it begins, and finish it."""
    assert grant.fork_at is not None
    for sequence, value in enumerate(values, start=1):
        await replica.report(grant, sequence, value, step=grant.fork_at + sequence)
    await replica.finish(grant)


async def forks(replica: Replica, name: str) -> list[TrialView]:
    return (await list_forks(replica.context, name)).trials


def assert_sound(replica: Replica) -> None:
    assert [each for each in replica.database.read_sync(check) if each.broken] == []


async def test_a_fork_continues_from_its_parents_newest_checkpoint_with_the_changes(replica: Replica) -> None:
    name, parent = await trained(replica)
    fork = await replica.fork(name, 0, lr=0.05)
    assert (fork.kind, fork.number, fork.state) == (TrialKind.FORK, None, TrialState.WAITING)
    assert (fork.parent_id, fork.parent_step) == (parent.trial, 4)
    assert fork.suggestion_reason == "forked from trial 0 at step 4 with lr=0.05"
    grant = await replica.claim(name)
    assert (grant.trial, grant.number, grant.parameters, grant.seed) == (fork.id, None, {"lr": 0.05}, parent.seed)
    assert grant.resume is not None
    assert (grant.resume.step, grant.resume.sha256, grant.fork_at, grant.run_until) == (4, "4" * 64, 4, 9)
    assert not grant.pauses
    await go_on(replica, grant, 0.3, 0.2, 0.1)
    ended = await replica.trial(name, fork.id)
    assert (ended.state, ended.values, ended.step) == (TrialState.COMPLETED, [0.1], 7)
    assert [ended] == [await replica.trial(name, each.id) for each in await forks(replica, name)]
    assert_sound(replica)


async def test_an_earlier_checkpoint_may_be_named(replica: Replica) -> None:
    name, _ = await trained(replica)
    await replica.fork(name, 0, at=2, lr=0.05)
    grant = await replica.claim(name)
    assert grant.resume is not None
    assert (grant.resume.step, grant.resume.sha256, grant.fork_at) == (2, "2" * 64, 2)


async def test_only_new_steps_are_its_own(replica: Replica) -> None:
    name, _ = await trained(replica)
    before = await replica.trial(name, 0)
    fork = await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    with pytest.raises(DomainError, match="step 4 is known from an earlier attempt"):
        await replica.report(grant, 1, 0.3, step=4)
    await go_on(replica, grant, 0.3, 0.2)
    (series,) = (await replica.trial(name, fork.id)).series
    assert (series.steps, series.values) == ([5, 6], [0.3, 0.2])
    assert await replica.trial(name, 0) == before


async def test_the_search_neither_pays_for_it_nor_learns_from_it(replica: Replica) -> None:
    tpe = {"sampler": {"name": "tpe", "seed": 1, "startup_trials": 1}, "budget": {"trials": 4}}
    alone, _ = await trained(replica, **tpe)
    name, _ = await trained(replica, **tpe)
    await replica.fork(name, 0, lr=0.05)
    await go_on(replica, await replica.claim(name), 0.001)
    for study in (alone, name):
        for _ in range(3):
            await replica.train(study, 0.5)
    told = [[trial.parameters for trial in await replica.trials(study)] for study in (alone, name)]
    assert told[0] == told[1]
    assert len(told[1]) == 4
    view = await replica.study(name)
    assert (view.state, sum(view.num_trials.values())) == (StudyState.COMPLETED, 4)
    assert view.best is not None
    assert view.best.number == 0, "however good a fork was"
    assert_sound(replica)


async def test_a_completed_study_is_active_until_its_fork_has_ended(replica: Replica) -> None:
    name, _ = await trained(replica)
    assert (await replica.study(name)).state is StudyState.COMPLETED
    await replica.fork(name, 0, lr=0.05)
    active = await replica.study(name)
    assert (active.state, active.finished_at) == (StudyState.ACTIVE, None)
    assert active.state_reason == "a fork of trial 0 is to be trained"
    grant = await replica.claim(name)
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert not answer.done
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await go_on(replica, grant, 0.3)
    ended = await replica.study(name)
    assert (ended.state, sum(ended.num_trials.values())) == (StudyState.COMPLETED, 1)
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert answer.done
    assert_sound(replica)


async def test_a_paused_study_hands_it_out_when_it_is_resumed(replica: Replica) -> None:
    name, _ = await trained(replica, budget={"trials": 5})
    await lifecycle.pause_study(replica.context, name, "")
    fork = await replica.fork(name, 0, lr=0.05)
    assert isinstance(await replica.ask(name), NoTrial)
    assert (await replica.study(name)).state is StudyState.PAUSED
    await lifecycle.resume_study(replica.context, name)
    assert (await replica.claim(name)).trial == fork.id


async def test_stopping_the_study_ends_it_and_a_stopped_study_is_forked_no_more(replica: Replica) -> None:
    name, _ = await trained(replica, budget={"trials": 5})
    waiting = await replica.fork(name, 0, lr=0.05)
    await lifecycle.stop_study(replica.context, name, "")
    assert (await replica.trial(name, waiting.id)).state is TrialState.CANCELLED
    assert (await replica.study(name)).state is StudyState.STOPPED
    with pytest.raises(DomainError, match="the study was stopped; extend it first") as caught:
        await replica.fork(name, 0, lr=0.05)
    assert caught.value.code is ErrorCode.STUDY_STATE
    assert_sound(replica)


async def test_a_lost_fork_begins_with_its_parents_checkpoint_until_it_has_its_own(replica: Replica) -> None:
    name, _ = await trained(replica)
    fork = await replica.fork(name, 0, lr=0.05)
    first = await replica.claim(name)
    await replica.report(first, 1, 0.3, 0.2, step=5)
    assert await replica.lose() == 1
    second = await replica.claim(name)
    assert second.resume == first.resume
    assert second.trial == fork.id
    assert (await replica.trial(name, fork.id)).series == []
    await replica.report(second, 1, 0.25, 0.15, step=5)
    await replica.checkpoint(second, 6, sha256="6" * 64)
    assert await replica.lose() == 1
    third = await replica.claim(name)
    assert third.resume is not None
    assert (third.resume.step, third.resume.sha256, third.fork_at) == (6, "6" * 64, 4)
    await replica.report(third, 1, 0.1, step=7)
    await replica.finish(third)
    (series,) = (await replica.trial(name, fork.id)).series
    assert (series.steps, series.values) == ([5, 6, 7], [0.25, 0.15, 0.1])
    assert_sound(replica)


async def test_its_parents_checkpoint_is_kept_while_it_may_need_it(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(**NINE | {"budget": {"trials": 2}})
    parent, better = await replica.claim(name), await replica.claim(name)
    await save(replica, blobs, parent, 1, b"forked")
    await replica.fork(name, 0, lr=0.05)
    for step in (2, 3):
        await save(replica, blobs, parent, step, bytes([step]))
    await replica.finish(parent)
    await replica.report(better, 1, 0.0)
    await replica.finish(better)
    replica.context = replace(replica.context, limits=replace(replica.context.limits, blob_grace_seconds=-60))
    assert await collect_blobs(replica.context) == 2
    grant = await replica.claim(name)
    assert grant.resume is not None
    assert blobs.size(grant.resume.sha256) == len(b"forked")
    await go_on(replica, grant, 0.3)
    assert await collect_blobs(replica.context) == 1
    assert blobs.size(grant.resume.sha256) is None


async def test_where_that_is_gone_the_worker_is_told_so(replica: Replica, blobs: BlobStore, tmp_path: Path) -> None:
    name = await replica.create(**NINE)
    await save(replica, blobs, await replica.claim(name), 1, b"forked")
    fork = await replica.fork(name, 0, lr=0.05)
    (held,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.read_bytes() == b"forked")
    held.unlink()
    grant = await replica.claim(name)
    assert (grant.trial, grant.resume, grant.fork_at) == (fork.id, None, 1)
    await replica.fail(grant, FailureClass.INVALID, message="gone")
    ended = await replica.trial(name, fork.id)
    assert (ended.state, ended.state_reason, ended.infeasible) == (TrialState.PRUNED, "gone", True)
    with pytest.raises(DomainError, match="trial 0 has no checkpoint that is still kept"):
        await replica.fork(name, 0, lr=0.05)


async def test_a_checkpoint_that_one_worker_cannot_read_is_for_another(replica: Replica) -> None:
    name, _ = await trained(replica)
    shares, shares_not = {"directories": ["file:///"]}, {"directories": ["file:///elsewhere"]}
    await replica.ask(name, worker="a", **shares)
    fork = await replica.fork(name, 0, lr=0.05)
    answer = await replica.ask(name, worker="b", **shares_not)
    assert isinstance(answer, NoTrial)
    assert f"trial {fork.id} waits for a worker that shares the directory of its checkpoint" in answer.reason
    assert (await replica.claim(name, worker="a", **shares)).trial == fork.id


async def test_where_its_parent_saved_a_step_twice_it_keeps_to_the_one_it_was_forked_from(replica: Replica) -> None:
    name, first = await trained(replica, 4)
    await replica.fail(first, FailureClass.PROCESS_KILLED)
    second = await replica.claim(name)
    await replica.fail(second, FailureClass.HOST_FAULT, unreadable="file:///4")
    third = await replica.claim(name)
    assert third.resume is not None
    assert third.resume.step == 2
    await replica.report(third, 1, 0.3, 0.25, step=3)
    await replica.checkpoint(third, 4, sha256="a" * 64)
    await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    assert grant.resume is not None
    assert (grant.resume.step, grant.resume.sha256) == (4, "a" * 64)


async def test_no_pruner_judges_it_but_what_is_not_finite_stops_it(replica: Replica) -> None:
    name, _ = await trained(replica, pruner={"name": "threshold", "upper": 10.0})
    await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    assert (await replica.report(grant, 1, 99.0, step=5)).action is Action.CONTINUE
    verdict = await replica.report(grant, 2, float("nan"), step=6)
    assert (verdict.action, verdict.reason) == (Action.STOP, "diverged: loss is nan at step 6")


async def test_a_trial_paused_at_a_rung_is_forked_to_the_end(replica: Replica) -> None:
    name = await replica.create(**NINE | {"pruner": {"name": "asha", "min": 1}, "budget": {"trials": 3}})
    parent = await replica.claim(name)
    assert parent.run_until == 1
    await replica.report(parent, 1, 0.5)
    await replica.checkpoint(parent, 1)
    await replica.finish(parent, "paused")
    await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    assert (grant.run_until, grant.pauses) == (9, False)
    await go_on(replica, grant, *(0.1,) * 8)
    assert (await forks(replica, name))[0].state is TrialState.COMPLETED
    assert (await replica.trial(name, 0)).state is TrialState.PAUSED
    assert_sound(replica)


async def test_a_fork_can_be_forked(replica: Replica) -> None:
    name, _ = await trained(replica)
    fork = await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.3, step=5)
    with pytest.raises(
        DomainError, match=f"trial {fork.id} has saved no checkpoint at the end of a step, because none was due yet"
    ):
        await replica.fork(name, fork.id, lr=0.01)
    await replica.checkpoint(grant, 5, sha256="5" * 64)
    second = await replica.fork(name, fork.id, lr=0.01)
    assert (second.parent_id, second.parent_step, second.parameters) == (fork.id, 5, {"lr": 0.01})


async def test_forks_are_handed_out_by_priority_and_before_new_trials(replica: Replica) -> None:
    name, _ = await trained(replica, budget={"trials": 3})
    ids = [(await replica.fork(name, 0, lr=rate)).id for rate in (0.01, 0.02)]
    assert [(await replica.claim(name)).trial for _ in ids] == ids
    assert (await replica.claim(name)).number == 1


@pytest.mark.parametrize(
    ("at", "changes", "message"),
    [
        (3, {"lr": 0.01}, r"at: trial 0 has no checkpoint of step 3; it has checkpoints of these steps: 2, 4"),
        (None, {"lr": 7.0}, r"set.lr: must be a number in \[0.0001, 0.1\], got 7.0"),
        (None, {"lrs": 0.1}, r"set.lrs: is no parameter of the space: did you mean 'lr'\?"),
    ],
)
async def test_an_impossible_request_is_refused_and_writes_nothing(
    replica: Replica, at: int | None, changes: dict[str, Any], message: str
) -> None:
    name, _ = await trained(replica)
    before = await replica.stored(name)
    with pytest.raises(DomainError, match=message) as caught:
        await replica.fork(name, 0, at, **changes)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert await replica.stored(name) == before


async def test_a_trial_that_is_not_there_cannot_be_forked(replica: Replica) -> None:
    name, parent = await trained(replica)
    other, _ = await trained(replica)
    for key in ("1", "no-such-id"):
        with pytest.raises(DomainError, match=f"has no trial {key}; it has 1, numbered from 0, and forks by id"):
            await replica.fork(name, key, lr=0.05)
    with pytest.raises(DomainError) as caught:
        await replica.fork(other, parent.trial, lr=0.05)
    assert caught.value.code is ErrorCode.UNKNOWN_TRIAL


async def test_a_training_may_be_changed_in_what_its_space_does_not_search(replica: Replica) -> None:
    name, _ = await trained(
        replica,
        task={"train": digits(epochs=9)},
        space={"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
        objective={"metric": "val/loss", "direction": "minimize"},
    )
    fork = await replica.fork(name, 0, **{"optimizer.weight_decay": 0.1, "schedule.name": "cosine"})
    grant = await replica.claim(name)
    assert isinstance(grant.task, dict)
    rate = (await replica.trial(name, 0)).parameters["optimizer.lr"]
    assert grant.task["optimizer"] == {"name": "adamw", "lr": rate, "weight_decay": 0.1}
    assert grant.task["schedule"] == {"name": "cosine"}
    assert (await replica.trial(name, fork.id)).config == grant.task


async def test_more_epochs_train_what_has_come_to_its_end(replica: Replica) -> None:
    task, space = digits(epochs=4), {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}
    name, _ = await trained(replica, 4, task={"train": task}, space=space, resource=None)
    with pytest.raises(DomainError, match="at: step 4 is the end of the training, 4; fork earlier, or set more epochs"):
        await replica.fork(name, 0, at=4, **{"optimizer.lr": 0.01})
    assert (await replica.fork(name, 0, **{"optimizer.lr": 0.01})).parent_step == 2
    await replica.fork(name, 0, epochs=6)
    await replica.lose()
    grants = [await replica.claim(name) for _ in range(3)]
    assert {grant.run_until for grant in grants} == {4, 6}


async def test_a_parent_s_checkpoint_that_could_not_be_read_is_not_named_again(replica: Replica) -> None:
    name, _ = await trained(replica)
    fork = await replica.fork(name, 0, lr=0.05)
    grant = await replica.claim(name)
    assert grant.resume is not None
    await replica.fail(grant, FailureClass.HOST_FAULT, message="cannot be read", unreadable=grant.resume.uri)
    again = await replica.claim(name)
    assert (again.trial, again.fork_at, again.resume) == (fork.id, grant.fork_at, None)
