"""The promises, checked at the end of a world from what its clients know and what the database holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from service.contract.lease import CheckpointRequest, ClaimRequest, FailureClass, FinishRequest, Grant
from service.contract.report import ReportRequest, Verdict, from_wire
from service.contract.study import StudySpec
from service.domain.objective import final_value
from service.search import decide
from tests.simulation.memory import memory
from tests.simulation.record import Answer, Key

if TYPE_CHECKING:
    from tests.simulation.world import World

FINISHED = {"completed", "stopped"}
TERMINAL = {"completed", "pruned", "failed", "cancelled"}


def check_end(world: World) -> None:
    """Check the whole story, once everything should have come to its end."""
    if world.violations:
        return  # it was cut short: what is missing at its end says nothing
    for check in (
        _ended,
        _numbers,
        _attempts,
        _journal,
        _reports,
        _checkpoints,
        _answered,
        _verdicts,
        _values,
        _suggestions,
    ):
        for violation in check(world):
            world.blame(violation)


def _ended(world: World) -> Iterator[str]:
    state, stop_requested_at = memory().rows("SELECT state, stop_requested_at FROM study")[0]
    if state != ("stopped" if stop_requested_at else "completed"):
        yield f"the study hangs: it is {state}"
    for number, trial_state in memory().rows("SELECT number, state FROM trial"):
        if trial_state not in TERMINAL:
            yield f"trial {number} hangs: it is {trial_state}"
    for worker in world.workers:
        if not worker.is_idle:
            yield f"worker {worker.name} still holds {sorted(worker.disk.held)}"


def _numbers(world: World) -> Iterator[str]:
    state, next_number, version = memory().rows("SELECT state, next_number, spec_version FROM study")[0]
    numbers = [row[0] for row in memory().rows("SELECT number FROM trial ORDER BY number")]
    if numbers != list(range(next_number)):
        yield f"numbers are {numbers}, the next one is {next_number}"
    budget = spec_of(version).budget.trials
    cells = 7 if world.spec.sampler.name == "grid" else None
    wanted = min(number for number in (budget, cells) if number is not None)
    if len(numbers) > (budget or 0) or (state == "completed" and len(numbers) < wanted):
        yield f"the budget is {budget} trials, {len(numbers)} were made"


def _attempts(world: World) -> Iterator[str]:
    claims = memory().rows("SELECT request_id, trial_id, attempt FROM claim")
    attempts = memory().rows("SELECT trial_id, number, state, failure, outcome FROM attempt")
    if sorted(row[1:] for row in claims) != sorted(row[:2] for row in attempts):
        yield "attempts and claims are not one to one"
    if invented := {row[0] for row in claims} - world.record.request_ids:
        yield f"granted to requests that nobody sent: {invented}"
    num_losses: dict[str, int] = {}
    for trial, number, state, failure, outcome in attempts:
        sent = world.record.outcomes.get((trial, number), [])
        stored = json.loads(outcome) if outcome else None
        if failure != FailureClass.WORKER_LOST and stored not in sent:
            yield f"attempt {number} of {trial} ended {stored}, which its worker never said"
        is_loss = state == "lost" or failure == FailureClass.PROCESS_KILLED
        num_losses[trial] = num_losses.get(trial, 0) + is_loss
    for trial, number, counted, num_attempts in memory().rows("SELECT id, number, num_losses, num_attempts FROM trial"):
        if counted != num_losses.get(trial, 0):
            yield f"trial {number} counts {counted} losses, its attempts {num_losses.get(trial, 0)}"
        if num_attempts != sum(row[0] == trial for row in attempts):
            yield f"trial {number} counts {num_attempts} attempts"


def _journal(world: World) -> Iterator[str]:
    ends: dict[str, str] = {}
    for trial, kind in memory().rows("SELECT trial_id, kind FROM journal WHERE kind LIKE 'trial_%' ORDER BY revision"):
        if trial in ends:
            yield f"{kind} of {trial} after {ends[trial]}"
        if kind.removeprefix("trial_") in TERMINAL:
            ends[trial] = kind
    for trial, state in memory().rows("SELECT id, state FROM trial"):
        if ends.get(trial) != f"trial_{state}":
            yield f"{trial} is {state}, its journal ends with {ends.get(trial)}"


def _stored() -> dict[Key, dict[int, float]]:
    stored: dict[Key, dict[int, float]] = {}
    query = "SELECT trial_id, attempt, step, value, status FROM report ORDER BY step"
    for trial, attempt, step, value, status in memory().rows(query):
        stored.setdefault((trial, attempt), {})[step] = float(status) if value is None else value
    return stored


def _reports(world: World) -> Iterator[str]:
    """Nothing invented, nothing changed, no hole, and nothing accepted once a newer attempt had begun."""
    for key, values in _stored().items():
        produced = world.record.produced.get(key, {})
        for step, value in values.items():
            if repr(produced.get(step)) != repr(value):
                yield f"{key} has {value} at step {step}, its worker had {produced.get(step)}"
        if missing := [step for step in produced if step < max(values) and step not in values]:
            yield f"{key} has step {max(values)}, but not {missing}"
    for table in ("report", "verdict", "checkpoint"):
        for trial, attempt, revision in memory().rows(
            f"SELECT trial_id, attempt, max(revision) FROM {table} GROUP BY 1, 2"
        ):
            later = world.watch.claimed.get((trial, attempt + 1))
            if later is not None and revision >= later[1]:
                yield f"{table} of attempt {attempt} of {trial} was accepted after attempt {attempt + 1} had begun"


def _checkpoints(world: World) -> Iterator[str]:
    """No metric is missing below a step from which a later attempt resumes, or could."""
    stored = _stored()
    for trial, attempt, step in memory().rows("SELECT trial_id, attempt, step FROM checkpoint"):
        produced = world.record.produced.get((trial, attempt), {})
        if missing := [at for at in produced if at <= step and at not in stored.get((trial, attempt), {})]:
            yield f"{trial} attempt {attempt} has a checkpoint of step {step} without the metrics of {missing}"
    for trial, attempt, resume in memory().rows("SELECT trial_id, number, resume_step FROM attempt"):
        known = [key[1] for key in ((trial, earlier) for earlier in range(1, attempt)) if resume in stored.get(key, {})]
        if resume is not None and not known:
            yield f"{trial} attempt {attempt} resumed at {resume}, of which no earlier attempt has metrics"


def _answered(world: World) -> Iterator[str]:
    """Every write that was acknowledged, whether or not the answer arrived, is there."""
    stored = _stored()
    attempts = {row[:2]: row[2:] for row in memory().rows("SELECT trial_id, number, num_reports, outcome FROM attempt")}
    checkpoints = set(memory().rows("SELECT trial_id, attempt, step FROM checkpoint"))
    granted = set(memory().rows("SELECT request_id, trial_id, attempt FROM claim"))
    for answer in world.record.answers:
        request, key, reply = answer.call.request, answer.call.key, answer.reply
        if reply is None or answer.call.is_foreign:
            continue
        if isinstance(request, ClaimRequest):
            if isinstance(reply, Grant) and (request.request_id, reply.trial, reply.attempt) not in granted:
                yield f"the grant of {reply.trial} attempt {reply.attempt} is gone"
            continue
        if key is None:
            continue
        num_reports, outcome = attempts.get(key, (0, None))
        for batch in _batches(answer):
            yield from _holds(stored.get(key, {}), batch, key)
            if num_reports < batch.sequence:
                yield f"{key} counts {num_reports} reports, report {batch.sequence} was acknowledged"
        if isinstance(request, CheckpointRequest) and (*key, request.step) not in checkpoints:
            yield f"the checkpoint of step {request.step} of {key} was acknowledged and is gone"
        if isinstance(request, FinishRequest) and json.loads(outcome or "{}") != request.outcome.model_dump(
            mode="json"
        ):
            yield f"{key} was acknowledged as {request.outcome.result}, stored is {outcome}"


def _batches(answer: Answer) -> list[ReportRequest]:
    request = answer.call.request
    if isinstance(request, CheckpointRequest):
        return request.reports
    return [request] if isinstance(request, ReportRequest) else []


def _verdicts(world: World) -> Iterator[str]:
    """What was answered is what is stored: a replay after a restart of everything gets the same."""
    query = "SELECT trial_id, attempt, sequence, action, reason FROM verdict"
    stored = {row[:3]: row[3:] for row in memory().rows(query)}
    for answer in world.record.answers:
        if isinstance(answer.reply, Verdict) and isinstance(answer.call.request, ReportRequest):
            assert answer.call.key is not None
            kept = stored.get((*answer.call.key, answer.call.request.sequence))
            if kept is not None and kept != (answer.reply.action, answer.reply.reason):
                yield f"{answer.call.key}: a report was answered {answer.reply}, stored is {kept}"


def _holds(values: dict[int, float], batch: ReportRequest, key: Key) -> Iterator[str]:
    for point in batch.points:
        told = from_wire(point.metrics["loss"])
        if repr(values.get(point.step)) != repr(told):
            yield f"{key}: step {point.step} was acknowledged with {told}, stored is {values.get(point.step)}"


def _values(world: World) -> Iterator[str]:
    """A completed trial's value is the objective of what its last attempt, and those it resumed from, measured."""
    resumes = {row[:2]: row[2] for row in memory().rows("SELECT trial_id, number, resume_step FROM attempt")}
    for trial, num_attempts, value in memory().rows(
        "SELECT id, num_attempts, value FROM trial WHERE state = 'completed'"
    ):
        series: dict[int, float] = {}
        for attempt in range(1, num_attempts + 1):
            resume = resumes[trial, attempt] or 0
            series = {step: known for step, known in series.items() if step <= resume}
            series |= world.record.produced.get((trial, attempt), {})
        wanted = final_value(world.spec.objective, tuple(sorted(series.items())))
        if wanted != value:
            yield f"{trial} has value {value}, its series says {wanted}"


def _suggestions(world: World) -> Iterator[str]:
    """Every suggestion is what its spec, seed and number give from the history at its stored revision."""
    for number, version, revision, parameters, reason, stage in memory().rows(
        "SELECT number, spec_version, history_revision, parameters, reason, stage FROM trial ORDER BY number"
    ):
        if reason == "enqueued by a person":
            continue
        known = world.watch.histories.get(revision)
        decision: Any = decide.next(known, spec_of(version)) if known is not None else None
        stored = number, json.loads(parameters), reason, stage
        if isinstance(decision, decide.Suggest):
            said = decision.suggestion
            again = decision.number, dict(said.parameters), said.reason, said.stage
        else:
            again = decision
        if stored != again:
            yield f"trial {number} was {stored}, the history at revision {revision} gives {again}"


def spec_of(version: int) -> StudySpec:
    """One version of the world's spec."""
    ((spec,),) = memory().rows("SELECT spec FROM study_spec WHERE version = ?", version)
    return StudySpec.model_validate_json(spec)
