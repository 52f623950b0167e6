"""Every call from every situation: what each use case makes of a study, a trial and an attempt, as lines of text.

`python -m tests.usecases.moves` writes the table that test_state_mutants.py compares with (moves.txt).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.contract.attempt import CheckpointRequest, FailureClass, HeartbeatReply, LeaseStatus
from service.contract.claim import Grant, NoTrial
from service.contract.provenance import WarningRequest
from service.contract.report import ReportRequest, Verdict
from service.contract.stage import ReviewRequest
from service.contract.study import EditRequest, EnqueueRequest, ExtendRequest
from service.contract.trial import ReleaseRequest, TrialView
from service.domain.errors import DomainError
from service.storage.fsck import invariants
from service.usecases.attempts.checkpoint import register_checkpoint
from service.usecases.attempts.provenance import warn
from service.usecases.attempts.report import report
from service.usecases.context import Context
from service.usecases.maintenance.budget_expiry import complete_expired_studies
from service.usecases.maintenance.oom_expiry import expire_oom_waiters
from service.usecases.maintenance.restore import begin_epoch
from service.usecases.studies import lifecycle, stages, study_lookup
from service.usecases.studies.deletion import delete_study
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import enqueue
from service.usecases.trials.forks import list_forks
from service.usecases.trials.release import release_trial
from tests.simulation.memory import memory
from tests.usecases.replica import points
from tests.usecases.situations import LOSS, Bench, Situation, build

TABLE = Path(__file__).with_name("moves.txt")
SECONDS_PER_CELL = 5

Call = Callable[[Bench, Situation], Awaitable[object]]

CALLS: dict[str, Call] = {}

MEETINGS = {
    "claim": ("stop", "pause", "claim", "claim by another", "extend", "edit version 1", "finish failed"),
    "leases run out": ("heartbeat", "finish succeeded", "stop", "release"),
    "upkeep": ("claim of a large worker", "stop"),
    "finish succeeded": ("claim by another", "fork", "extend"),
    "resume": ("stop",),
}
"""Calls that look before they write, each with those that come in between."""

MEET_IN = {
    "failures_left",
    "untouched",
    "running",
    "lost",
    "trial_paused",
    "promotable",
    "last_trial",
    "stranded",
    "study_paused",
}


def call(name: str) -> Callable[[Call], Call]:
    def add(function: Call) -> Call:
        CALLS[name] = function
        return function

    return add


def _worker_calls() -> None:
    """Calls of the attempt's own worker."""
    ends: dict[str, dict[str, Any]] = {
        "succeeded": {},
        "pruned": {},
        "paused": {},
        "released": {},
        "failed": {"failure": FailureClass.USER_EXCEPTION, "message": "broken"},
        "diverged": {"result": "failed", "failure": FailureClass.DIVERGED},
        "lost": {"result": "failed", "failure": LOSS, "message": "silent"},
        "host_fault": {"result": "failed", "failure": FailureClass.HOST_FAULT},
    }
    for name, more in ends.items():
        outcome = {"result": name} | more
        CALLS[f"finish {name}"] = lambda bench, at, outcome=outcome: bench.replica.finish(at.late, **outcome)  # type: ignore[misc]
    CALLS["finish succeeded, another nonce"] = lambda bench, at: bench.replica.finish(at.late, nonce="stolen")
    CALLS["finish succeeded, no such attempt"] = lambda bench, at: bench.replica.finish(_with(at, attempt=9))
    CALLS["finish succeeded, no such trial"] = lambda bench, at: bench.replica.finish(_with(at, trial="nowhere"))
    CALLS["report next"] = lambda bench, at: bench.replica.report(at.late, 2, 0.4)
    CALLS["report diverged"] = lambda bench, at: bench.replica.report(at.late, 2, float("nan"))
    CALLS["report again"] = lambda bench, at: bench.replica.report(at.late, 1, 0.5)
    CALLS["report otherwise"] = lambda bench, at: bench.replica.report(at.late, 1, 0.25)
    CALLS["report too early"] = lambda bench, at: bench.replica.report(at.late, 4, 0.25)
    CALLS["report backwards"] = lambda bench, at: bench.replica.report(at.late, 2, 0.25, step=1)
    CALLS["report falling steps"] = _report_falling
    CALLS["checkpoint next"] = lambda bench, at: bench.replica.checkpoint(at.late, 1, sha256="1" * 64, batch=1)
    CALLS["checkpoint again"] = lambda bench, at: bench.replica.checkpoint(at.late, 1)
    CALLS["checkpoint otherwise"] = lambda bench, at: bench.replica.checkpoint(at.late, 1, sha256="1" * 64)
    CALLS["checkpoint of a blob"] = _checkpoint_of_a_blob
    CALLS["provenance otherwise"] = _provenance_otherwise
    CALLS["checkpoint outruns"] = lambda bench, at: bench.replica.checkpoint(at.late, 5)
    CALLS["heartbeat, no such trial"] = lambda bench, at: bench.replica.heartbeat(_with(at, trial="nowhere"))
    CALLS["heartbeat"] = lambda bench, at: bench.replica.heartbeat(at.late)
    CALLS["heartbeat, another nonce"] = lambda bench, at: bench.replica.heartbeat(at.late, nonce="stolen")
    CALLS["provenance"] = lambda bench, at: bench.replica.provenance(at.late, "0123456789abcdef")


def _with(at: Situation, **changes: Any) -> Grant:
    assert at.late is not None
    return at.late.model_copy(update=changes)


async def _report_falling(bench: Bench, at: Situation) -> object:
    assert at.late is not None
    falling = [*points(0.4, step=7), *points(0.3, step=6)]
    request = ReportRequest(nonce=at.late.nonce, sequence=2, points=falling)
    return await report(bench.replica.context, at.late.trial, at.late.attempt, request)


async def _checkpoint_of_a_blob(bench: Bench, at: Situation) -> object:
    """It was never uploaded."""
    assert at.late is not None
    uri = "blob:" + "2" * 64
    request = CheckpointRequest(nonce=at.late.nonce, step=1, sha256="2" * 64, size=1, uri=uri, batch=2)
    with tempfile.TemporaryDirectory() as directory:
        bench.replica.open_blobs(Path(directory))
        return await register_checkpoint(bench.replica.context, at.late.trial, at.late.attempt, request)


async def _provenance_otherwise(bench: Bench, at: Situation) -> object:
    await bench.replica.provenance(_with(at), "0123456789abcdef")
    await bench.replica.provenance(_with(at), "0123456789abcdef")
    return await bench.replica.provenance(_with(at), "fedcba9876543210")


@call("warn")
async def _warn(bench: Bench, at: Situation) -> object:
    assert at.late is not None
    request = WarningRequest(nonce=at.late.nonce, message="look")
    return await warn(bench.replica.context, at.late.trial, at.late.attempt, request)


@call("claim")
async def _claim(bench: Bench, at: Situation) -> object:
    return await bench.replica.ask(at.study, worker="new", request_id="a-new-request")


@call("claim twice")
async def _claim_twice(bench: Bench, at: Situation) -> object:
    await bench.replica.ask(at.study, worker="new", request_id="a-new-request")
    return await bench.replica.ask(at.study, worker="new", request_id="a-new-request")


@call("claim, request of another worker")
async def _claim_stolen(bench: Bench, at: Situation) -> object:
    await bench.replica.ask(at.study, worker="new", request_id="a-new-request")
    return await bench.replica.ask(at.study, worker="thief", request_id="a-new-request")


@call("leases run out")
async def _expire(bench: Bench, at: Situation) -> object:
    del at
    await bench.replica.reap()
    for _ in range(6):
        bench.now += 13 * 1_000_000
        num_lost = await bench.replica.reap()
        if num_lost:
            return num_lost
    return 0


@call("upkeep")
async def _upkeep(bench: Bench, at: Situation) -> object:
    del at
    await complete_expired_studies(bench.replica.context)
    return await expire_oom_waiters(bench.replica.context)


def _people_calls() -> None:
    def of_context(name: str, deed: Callable[[Context, str], Awaitable[object]]) -> None:
        CALLS[name] = lambda bench, at: deed(bench.replica.context, at.study)

    of_context("pause", lambda context, name: lifecycle.pause_study(context, name, ""))
    of_context("resume", lifecycle.resume_study)
    of_context("stop", lambda context, name: lifecycle.stop_study(context, name, ""))
    of_context("extend", lambda context, name: lifecycle.extend_study(context, name, ExtendRequest(trials=9)))
    of_context(
        "extend too little", lambda context, name: lifecycle.extend_study(context, name, ExtendRequest(trials=1))
    )
    of_context(
        "enqueue what does not fit", lambda context, name: enqueue(context, name, EnqueueRequest(parameters={"lr": 9}))
    )
    of_context(
        "accept what does not fit",
        lambda context, name: stages.review_stage(context, name, 1, ReviewRequest(box={"lr": [5, 9]})),
    )
    of_context("enqueue", lambda context, name: enqueue(context, name, EnqueueRequest(parameters={"lr": 1e-2})))
    of_context("accept", lambda context, name: stages.review_stage(context, name, 1, ReviewRequest()))
    of_context("accept another stage", lambda context, name: stages.review_stage(context, name, 0, ReviewRequest()))
    of_context("delete", delete_study)
    of_context("release", lambda context, name: release_trial(context, name, "0", ReleaseRequest()))
    of_context("release attempt 1", lambda context, name: release_trial(context, name, "0", ReleaseRequest(attempt=1)))
    of_context("release attempt 9", lambda context, name: release_trial(context, name, "0", ReleaseRequest(attempt=9)))
    of_context("restore", lambda context, name: begin_epoch(context))
    for version in (1, 9):
        of_context(f"edit version {version}", lambda context, name, version=version: _edit(context, name, version))  # type: ignore[misc]
    CALLS["fork"] = lambda bench, at: bench.replica.fork(at.study, 0, lr=0.05)
    CALLS["fork at a step that is not there"] = lambda bench, at: bench.replica.fork(at.study, 0, at=3, lr=0.05)
    CALLS["fork and claim"] = _fork_and_claim
    CALLS["release the fork"] = _release_fork


async def _release_fork(bench: Bench, at: Situation) -> object:
    forks = await list_forks(bench.replica.context, at.study)
    key = forks.trials[0].id if forks.trials else "nowhere"
    return await release_trial(bench.replica.context, at.study, key, ReleaseRequest(attempt=1))


async def _edit(context: Context, name: str, version: int) -> object:
    view = await study_lookup.get_study(context, name)
    spec = view.spec.model_copy(update={"budget": view.spec.budget.model_copy(update={"trials": 7})})
    return await edit_study(context, name, EditRequest(version=version, spec=spec))


async def _fork_and_claim(bench: Bench, at: Situation) -> object:
    await bench.replica.fork(at.study, 0, lr=0.05)
    return await bench.replica.ask(at.study, worker="new", request_id="a-new-request")


def _meetings() -> None:
    """Calls that look before they write, with another call in between."""
    for name, others in MEETINGS.items():
        for other in others:
            CALLS[f"{name}, and {other} in between"] = _meeting(name, other, 1)
    for other in ("extend", "fork"):
        CALLS[f"finish succeeded, and {other} in between its end and the study's"] = _meeting(
            "finish succeeded", other, 2
        )


def _meeting(name: str, other: str, place: int) -> Call:
    async def meet(bench: Bench, at: Situation) -> object:
        undisturbed, num_met = bench.replica.context, 0

        async def transact(study_id: str | None, work: Any) -> Any:
            nonlocal num_met
            num_met += study_id is not None
            if study_id is not None and num_met == place:
                # As another replica would: a claim keeps others of its own replica waiting.
                bench.replica.context = replace(undisturbed, _turns={})
                with contextlib.suppress(DomainError):
                    await CALLS[other](bench, at)
            return await undisturbed.transact(study_id, work)

        bench.replica.context = replace(undisturbed, transact=transact)
        return await CALLS[name](bench, at)

    return meet


@call("claim of a large worker")
async def _claim_large(bench: Bench, at: Situation) -> object:
    devices = [{"kind": "cuda", "memory_gib": 80.0}]
    return await bench.replica.ask(at.study, worker="larger", request_id="large-request", devices=devices)


@call("claim by another")
async def _claim_by_another(bench: Bench, at: Situation) -> object:
    return await bench.replica.ask(at.study, worker="another", request_id="another-request")


_worker_calls()
_people_calls()
_meetings()


async def play(bench: Bench, at: Situation, name: str) -> str:
    """Make one call in one situation; say how it was answered and what it moved."""
    bench.restore(at.saved)
    before = _state()
    try:
        async with asyncio.timeout(SECONDS_PER_CELL):
            answer = _told(await CALLS[name](bench, at))
    except DomainError as error:
        answer = f"refused {error.code}"
    except Exception as error:
        answer = f"raised {type(error).__name__}"
    after = _state()
    moved = [f"{key} {before.get(key, '-')} -> {after.get(key, '-')}" for key in after if before.get(key) != after[key]]
    return "; ".join([answer, *moved])


def broken(bench: Bench) -> list[str]:
    """The invariants that what was played last has broken."""
    return [each.name for each in bench.database.read_sync(invariants.check) if each.broken]


def _told(answer: object) -> str:
    match answer:
        case Grant():
            return f"grant of {'a fork' if answer.number is None else answer.number}, attempt {answer.attempt}"
        case NoTrial():
            return f"nothing{', done' if answer.done else ''}: {_without_numbers(answer.reason)}"
        case Verdict():
            return f"verdict {answer.action}"
        case LeaseStatus():
            return f"held {answer.held}, {answer.order}"
        case TrialView():
            return f"trial {answer.state}"
        case int():
            return f"{answer}"
        case HeartbeatReply() | _:
            return type(answer).__name__


def _without_numbers(reason: str) -> str:
    return re.sub(r"[0-9a-f]{32}", "ID", reason)[:60]


def _state() -> dict[str, str]:
    """What the database says, by name: small enough to read, and without ids and times."""
    rows = memory().rows
    state: dict[str, str] = {}
    for name, *columns in rows(
        "SELECT CASE WHEN deleted_at IS NULL THEN name ELSE 'deleted' END, state, stop_requested_at IS NOT NULL,"
        " pause_cause, 'v' || spec_version, next_number || ' trials', finished_at IS NOT NULL FROM study ORDER BY id"
    ):
        state[f"study {name}"] = _words(columns)
    for name, kind, number, *columns in rows(
        "SELECT study.name, kind, number, trial.state, num_attempts || ' attempts', num_losses || ' losses',"
        " num_failures || ' failures', infeasible, value, run_until, json_array_length(rung_results) || ' arrivals',"
        " trial.finished_at IS NOT NULL FROM trial JOIN study ON study.id = study_id ORDER BY trial.id"
    ):
        state[f"trial {_of(name)}{kind if number is None else number}"] = _words(columns)
    for name, trial, number, *columns in rows(
        "SELECT study.name, coalesce(trial.number, 'fork'), attempt.number, attempt.state, failure, attempt.num_reports"
        " || ' reports', attempt.last_step, attempt.environment IS NOT NULL, attempt.ended_at IS NOT NULL,"
        " (SELECT count(*) FROM lease WHERE lease.trial_id = trial.id AND attempt = attempt.number) || ' leases',"
        " (SELECT count(*) FROM checkpoint WHERE checkpoint.trial_id = trial.id AND attempt = attempt.number)"
        " || ' checkpoints' FROM attempt JOIN trial ON trial.id = attempt.trial_id JOIN study ON study.id ="
        " trial.study_id ORDER BY trial.id, attempt.number"
    ):
        state[f"attempt {_of(name)}{trial}.{number}"] = _words(columns)
    ((journal, enqueued, boxes),) = rows(
        "SELECT (SELECT group_concat(kind) FROM (SELECT kind FROM journal ORDER BY study_id, revision, ordinal)),"
        " (SELECT count(*) FROM enqueued_trial), (SELECT group_concat(coalesce(review, 'begun')) FROM stage)"
    )
    state["journal"] = " ".join(str(journal or "").split(",")[-4:])
    state["enqueued"], state["boxes"] = str(enqueued), str(boxes)
    return state


def _of(study: str) -> str:
    return "" if study == "s" or len(study) == 32 else f"of {study}, "


def _words(columns: Iterable[object]) -> str:
    return ",".join("-" if column is None else str(column) for column in columns)


async def table(bench: Bench, names: Mapping[str, Call] = CALLS) -> dict[tuple[str, str], str]:
    """Every cell: (situation, call) -> what became of it; calls of a worker need one."""
    return {
        (at.name, name): await play(bench, at, name)
        for at in await build(bench)
        for name in names
        if is_played(at, name)
    }


def is_played(at: Situation, name: str) -> bool:
    """Whether a call makes sense in a situation: a worker's needs a token, and meetings are played in a few."""
    if "in between" in name and at.name not in MEET_IN:
        return False
    return at.late is not None or not any(map(_is_of_worker, name.split(", and ")))


def _is_of_worker(name: str) -> bool:
    return name.split(" ", 1)[0].rstrip(",") in {"finish", "report", "checkpoint", "heartbeat", "provenance", "warn"}


def written(cells: Mapping[tuple[str, str], str]) -> str:
    """The table as text, a line per cell."""
    return "".join(f"{situation} | {name} | {told}\n" for (situation, name), told in cells.items())


def read() -> dict[tuple[str, str], str]:
    """The table as it was written last."""
    lines = (line.split(" | ", 2) for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {(situation, name): told for situation, name, told in lines}


if __name__ == "__main__":
    TABLE.write_text(written(asyncio.run(table(Bench()))), encoding="utf-8")
