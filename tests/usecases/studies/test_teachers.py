"""Teachers: trials of other studies are found at creation, stay fixed, and are kept while needed."""

from __future__ import annotations

import os
from typing import Any

import pytest

from service.contract.problem import ErrorCode
from service.contract.study import EditRequest, ExtendRequest, StudyView
from service.contract.trial import ReleaseRequest, TrialState
from service.domain.errors import DomainError
from service.storage.blobs import BlobStore
from service.usecases.blobs import collect_blobs
from service.usecases.studies.deletion import delete_study
from service.usecases.studies.edit import edit_study
from service.usecases.studies.lifecycle import extend_study, stop_study
from service.usecases.trials.release import release_trial
from service.usecases.trials.trial_lookup import get_checkpoint, get_grant
from tests.usecases.attempts.test_resume import put, register, save
from tests.usecases.replica import Replica, spec_of
from tests.worker.grants import digits

pytestmark = pytest.mark.anyio

RATE = {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2}}


def trains(**changes: Any) -> dict[str, Any]:
    """What a study of the training core is created from."""
    return {
        "objective": {"metric": "val/loss", "direction": "minimize"},
        "task": {"train": digits()},
        "space": RATE,
    } | changes


def taught(teacher: Any, **changes: Any) -> dict[str, Any]:
    """A study whose loss learns from `teacher`; none: from what the space says."""
    loss = {"name": "distill"} | ({} if teacher is None else {"teacher": teacher})
    return trains(task={"train": digits(loss=loss)}, **changes)


@pytest.fixture
async def source(replica: Replica, blobs: BlobStore) -> str:
    """A study that goes on, with a good trial 0, a worse trial 1 whose checkpoint has gone, and trial 2, at work."""
    name = await replica.create(**trains(budget={"trials": 9}))
    for trial, value in enumerate((0.25, 0.5)):
        grant = await replica.claim(name)
        await replica.report(grant, 1, value)
        put(blobs, b"trial %d" % trial)
        await register(replica, grant, 1, b"trial %d" % trial)
        await replica.finish(grant)
    await collect(replica, blobs)
    await save(replica, blobs, await replica.claim(name), 1, b"trial 2")
    return name


async def collect(replica: Replica, blobs: BlobStore) -> set[bytes]:
    """What is left once every blob that nobody needs is gone."""
    for path in blobs.directory.glob("??/*"):
        os.utime(path, (1000, 1000))
    await collect_blobs(replica.context)
    return {path.read_bytes() for path in blobs.directory.glob("??/*")}


def loss_of(study: StudyView) -> Any:
    assert study.spec.task is not None
    assert study.spec.task.train is not None
    return study.spec.task.train["loss"]


async def test_the_best_is_the_trial_that_it_was_when_the_study_began(replica: Replica, source: str) -> None:
    name = await replica.create(**taught(f"{source}/best"))
    await replica.train(source, 0.125)
    assert loss_of(await replica.study(name)) == {"name": "distill", "teacher": f"{source}/0"}
    grant = await replica.claim(name)
    assert grant.task is not None
    assert grant.task["loss"]["teacher"] == f"{source}/0"
    assert grant.teacher is not None
    saved = await get_checkpoint(replica.context, source, "0")
    assert (grant.teacher.sha256, grant.teacher.size, grant.teacher.uri) == (saved.sha256, saved.size, saved.uri)


async def test_its_checkpoint_is_kept_until_the_study_is_over_and_then_the_grant_has_none(
    replica: Replica, blobs: BlobStore, source: str
) -> None:
    name = await replica.create(**taught(f"{source}/0"))
    better = await replica.claim(source)
    await save(replica, blobs, better, 1, b"better")
    await replica.finish(better)
    await replica.train(source, 0.125)
    assert b"trial 0" in await collect(replica, blobs), "it is not the best any more, but somebody's teacher"
    student = await replica.claim(name)
    assert (await get_grant(replica.context, name, "0")).teacher is not None
    await stop_study(replica.context, name, "")
    assert b"trial 0" in await collect(replica, blobs), "a trial of it is still at work"
    await replica.finish(student, "pruned")
    assert b"trial 0" not in await collect(replica, blobs)
    assert (await get_grant(replica.context, name, "0")).teacher is None


async def test_a_fork_is_granted_its_own_teacher_and_keeps_it(replica: Replica, blobs: BlobStore, source: str) -> None:
    name = await replica.create(**taught("/teachers/large.pt", budget={"trials": 1}))
    parent = await replica.claim(name)
    await save(replica, blobs, parent, 1, b"parent")
    await replica.finish(parent)
    fork = await replica.fork(name, 0, **{"loss.teacher": f"{source}/best"})
    assert fork.parameters["loss.teacher"] == f"{source}/0"
    await replica.train(source, 0.125)
    assert b"trial 0" in await collect(replica, blobs)
    assert (await replica.claim(name)).teacher is not None
    with pytest.raises(DomainError, match=r"^set\.loss\.teacher: .* has no trial 77") as caught:
        await replica.fork(name, 0, **{"loss.teacher": f"{source}/77"})
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


async def test_teachers_may_be_searched_beside_paths(replica: Replica, source: str) -> None:
    choices = [f"{source}/best", "/teachers/large.pt", "./here", "relative/7.pt"]
    space = RATE | {"loss.teacher": {"type": "categorical", "choices": choices}}
    grid = {"sampler": "grid", "space": {"loss.teacher": space["loss.teacher"]}, "budget": {}}
    name = await replica.create(**taught(None, **grid))
    told = [await replica.claim(name) for _ in choices]
    assert [grant.parameters["loss.teacher"] for grant in told] == [f"{source}/0", *choices[1:]]
    assert [grant.teacher is None for grant in told] == [False, True, True, True]


async def test_an_edit_keeps_the_teachers_that_the_study_has(replica: Replica, source: str) -> None:
    given = spec_of(**taught(f"{source}/best"))
    name = await replica.create(**given.model_dump())
    await replica.train(source, 0.125)
    edited = given.model_copy(update={"description": "another"})
    await edit_study(replica.context, name, EditRequest(spec=edited, version=1))
    study = await replica.study(name)
    assert (study.spec_version, study.spec.description) == (2, "another")
    assert loss_of(study)["teacher"] == f"{source}/0"


REFUSED = [
    ("nothing", "is neither a trial, as STUDY/TRIAL"),
    ("nowhere/7", "there is no study 'nowhere'"),
    ("{source}/77", "has no trial 77; it has 3"),
    ("{source}/1", "trial 1 .* has no checkpoint any more"),
    ("{source}/2", "trial 2 .* has not ended yet"),
]


@pytest.mark.parametrize(("teacher", "message"), REFUSED, ids=[teacher for teacher, _ in REFUSED])
async def test_an_unusable_teacher_is_refused_by_its_path(
    replica: Replica, source: str, teacher: str, message: str
) -> None:
    given = taught(teacher.format(source=source))
    with pytest.raises(DomainError, match=rf"^task\.train\.loss\.teacher: .*{message}") as caught:
        await replica.create(**given)
    assert caught.value.code is ErrorCode.INVALID_SPEC
    choices = {"type": "categorical", "choices": ["/here.pt", teacher.format(source=source)]}
    with pytest.raises(DomainError, match=rf"^space\.loss\.teacher\.choices\[1\]: .*{message}"):
        await replica.create(**taught(None, space=RATE | {"loss.teacher": choices}))


async def test_two_names_of_one_trial_are_refused(replica: Replica, source: str) -> None:
    choices = {"type": "categorical", "choices": [f"{source}/0", f"{source}/best"]}
    with pytest.raises(DomainError, match=r"choices\[1\]: .*/best and .*/0 are one trial"):
        await replica.create(**taught(None, space=RATE | {"loss.teacher": choices}))


async def test_trials_of_other_tasks_teach_nothing(replica: Replica) -> None:
    name = await replica.create()
    await replica.train(name, 0.5)
    with pytest.raises(DomainError, match="train no model of the training core"):
        await replica.create(**taught(f"{name}/0"))
    untried = await replica.create(**trains())
    with pytest.raises(DomainError, match="has no completed trial yet"):
        await replica.create(**taught(f"{untried}/best"))


async def test_checkpoints_in_a_shared_directory_do_not_outlast_their_trial(replica: Replica) -> None:
    name = await replica.create(**trains())
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    await replica.finish(grant)
    with pytest.raises(DomainError, match="in a directory that workers share"):
        await replica.create(**taught(f"{name}/best"))


async def test_a_checkpoint_query_names_its_place_or_that_it_is_gone(replica: Replica, source: str) -> None:
    assert (await get_checkpoint(replica.context, source, "0")).step == 1
    with pytest.raises(DomainError, match=r"trial 1 of .* has no checkpoint any more") as caught:
        await get_checkpoint(replica.context, source, "1")
    assert caught.value.code is ErrorCode.UNKNOWN_BLOB


async def test_a_fork_may_have_a_teacher_path_and_other_mistakes_are_reported_first(
    replica: Replica, blobs: BlobStore
) -> None:
    name = await replica.create(**taught("/teachers/large.pt", budget={"trials": 1}))
    parent = await replica.claim(name)
    await save(replica, blobs, parent, 1, b"parent")
    await replica.finish(parent)
    fork = await replica.fork(name, 0, **{"loss.teacher": "/teachers/small.pt"})
    assert fork.parameters["loss.teacher"] == "/teachers/small.pt"
    with pytest.raises(DomainError, match=r"optimizer\.rate"):
        await replica.fork(name, 0, **{"loss.teacher": "nobody/77", "optimizer.rate": 1})


async def test_a_study_is_not_deleted_while_another_one_learns_from_it(replica: Replica, source: str) -> None:
    student = await replica.create(**taught(f"{source}/0"))
    other = await replica.create(**trains())
    await delete_study(replica.context, other)
    await replica.finish(await replica.claim(source), "released")
    await stop_study(replica.context, source, "")
    for trial in await replica.trials(source):
        if trial.state is TrialState.RUNNING:
            await release_trial(replica.context, source, str(trial.number), ReleaseRequest())
    with pytest.raises(DomainError, match=f"study '{student}' is not over and learns from {source}/0") as caught:
        await delete_study(replica.context, source)
    assert caught.value.code is ErrorCode.STUDY_STATE
    await stop_study(replica.context, student, "")
    await delete_study(replica.context, source)
    await extend_study(replica.context, student, ExtendRequest(trials=9))
    await delete_study(replica.context, await replica.create())


async def test_a_study_whose_fork_learns_from_a_trial_of_its_own_may_be_deleted(replica: Replica, source: str) -> None:
    name = await replica.create(**taught(f"{source}/0", budget={"trials": 1}))
    parent = await replica.claim(name)
    assert replica.context.blobs is not None
    await save(replica, replica.context.blobs, parent, 1, b"parent")
    await replica.finish(parent)
    await replica.fork(name, 0, **{"loss.teacher": f"{name}/0"})
    assert (await delete_study(replica.context, name)).name == name
