"""Checks that every acknowledged write is stored, that nothing else is, and that answers equal what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.contract.attempt import CheckpointRequest, FailureClass, FinishRequest
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import ReportRequest, Verdict, from_wire
from service.domain.objective import final_value
from tests.simulation.client_record import Answer, Key
from tests.simulation.oracles import database_view

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario


def check(world: Scenario) -> Iterator[str]:
    """Compare the database with what its clients did and were told."""
    stored = _stored()
    yield from _attempts(world)
    yield from _reports(world, stored)
    yield from _checkpoints(world, stored)
    yield from _answered(world, stored)
    yield from _verdicts(world)
    yield from _values(world)


def _attempts(world: Scenario) -> Iterator[str]:
    claims = database_view.rows("SELECT request_id, trial_id, attempt FROM claim")
    attempts = database_view.rows("SELECT trial_id, number, failure, outcome FROM attempt")
    begun = world.watch.state.begun
    if sorted(row[1:] for row in claims) != sorted(key for key in begun if begun[key].epoch == world.watch.epoch):
        yield "attempts and claims are not one to one"
    if {row[:2] for row in attempts} != begun.keys():
        yield "attempts are there that nobody saw begin, or are gone"
    if invented := {row[0] for row in claims} - world.record.request_ids:
        yield f"granted to requests that nobody sent: {invented}"
    for trial, number, failure, outcome in attempts:
        told = json.loads(outcome) if outcome else None
        by_service = told is None or told["failure"] == FailureClass.WORKER_LOST
        if not by_service and told not in world.record.outcomes.get(world.watch.token_of((trial, number)), []):
            yield f"attempt {number} of {trial} ended {told} ({failure}), which its worker never said"


def _stored() -> dict[Key, dict[int, float]]:
    stored: dict[Key, dict[int, float]] = {}
    query = "SELECT trial_id, attempt, step, value, status FROM report ORDER BY step"
    for trial, attempt, step, value, status in database_view.rows(query):
        stored.setdefault((trial, attempt), {})[step] = float(status) if value is None else value
    return stored


def _reports(world: Scenario, stored: dict[Key, dict[int, float]]) -> Iterator[str]:
    """Nothing invented, nothing changed, no hole, and nothing accepted once a newer attempt had begun."""
    for key, values in stored.items():
        produced = world.record.produced.get(world.watch.token_of(key), {})
        for step, value in values.items():
            if repr(produced.get(step)) != repr(value):
                yield f"{key} has {value} at step {step}, its worker had {produced.get(step)}"
        if missing := [step for step in produced if step < max(values) and step not in values]:
            yield f"{key} has step {max(values)}, but not {missing}"
    for table in ("report", "verdict", "checkpoint"):
        for trial, attempt, revision in database_view.rows(
            f"SELECT trial_id, attempt, max(revision) FROM {table} GROUP BY 1, 2"
        ):
            later = world.watch.state.begun.get((trial, attempt + 1))
            if later is not None and revision >= later.revision:
                yield f"{table} of attempt {attempt} of {trial} was accepted after attempt {attempt + 1} had begun"


def _checkpoints(world: Scenario, stored: dict[Key, dict[int, float]]) -> Iterator[str]:
    """No metric is missing below a step from which a later attempt resumes, or could."""
    for trial, attempt, step in database_view.rows("SELECT trial_id, attempt, step FROM checkpoint"):
        produced = world.record.produced.get(world.watch.token_of((trial, attempt)), {})
        if missing := [at for at in produced if at <= step and at not in stored.get((trial, attempt), {})]:
            yield f"{trial} attempt {attempt} has a checkpoint of step {step} without the metrics of {missing}"


def _answered(world: Scenario, stored: dict[Key, dict[int, float]]) -> Iterator[str]:
    """Every write that was acknowledged, whether or not the answer arrived, is there."""
    attempts = {
        row[:2]: row[2:] for row in database_view.rows("SELECT trial_id, number, num_reports, outcome FROM attempt")
    }
    checkpoints = set(database_view.rows("SELECT trial_id, attempt, step, batch FROM checkpoint"))
    granted = set(database_view.rows("SELECT request_id, trial_id, attempt FROM claim"))
    for index, answer in enumerate(world.record.answers):
        request, reply = answer.call.request, answer.reply
        if reply is None or answer.call.is_foreign:
            continue
        if isinstance(reply, Grant) and isinstance(request, ClaimRequest):
            is_forgotten = index < world.record.num_before
            if not is_forgotten and (request.request_id, reply.trial, reply.attempt) not in granted:
                yield f"the grant of {reply.trial} attempt {reply.attempt} is gone"
        if answer.call.token is None:
            continue
        key = answer.call.token[:2]
        num_reports, outcome = attempts.get(key, (0, None))
        for batch in _batches(answer):
            yield from _holds(stored.get(key, {}), batch, key)
            if num_reports < batch.sequence:
                yield f"{key} counts {num_reports} reports, report {batch.sequence} was acknowledged"
        if isinstance(request, CheckpointRequest) and (*key, request.step, request.batch) not in checkpoints:
            yield f"the checkpoint of step {request.step}, batch {request.batch} of {key} was acknowledged and is gone"
        if isinstance(request, FinishRequest) and database_view.outcome_of(outcome) != request.outcome:
            yield f"{key} was acknowledged as {request.outcome.result}, stored is {outcome}"


def _batches(answer: Answer) -> list[ReportRequest]:
    request = answer.call.request
    if isinstance(request, CheckpointRequest):
        return request.reports
    return [request] if isinstance(request, ReportRequest) else []


def _verdicts(world: Scenario) -> Iterator[str]:
    """What was answered is what is stored: a replay after a restart of everything gets the same."""
    query = "SELECT trial_id, attempt, sequence, action, reason FROM verdict"
    stored = {row[:3]: row[3:] for row in database_view.rows(query)}
    for answer in world.record.answers:
        if isinstance(answer.reply, Verdict) and isinstance(answer.call.request, ReportRequest):
            assert answer.call.token is not None
            kept = stored.get((*answer.call.token[:2], answer.call.request.sequence))
            if kept is not None and kept != (answer.reply.action, answer.reply.reason):
                yield f"{answer.call.token}: a report was answered {answer.reply}, stored is {kept}"


def _holds(values: dict[int, float], batch: ReportRequest, key: Key) -> Iterator[str]:
    for point in batch.points:
        told = from_wire(point.metrics["loss"])
        if repr(values.get(point.step)) != repr(told):
            yield f"{key}: step {point.step} was acknowledged with {told}, stored is {values.get(point.step)}"


def _values(world: Scenario) -> Iterator[str]:
    """A completed trial's value is the objective of what its last attempt, and those it resumed from, measured."""
    resumes = {row[:2]: row[2] for row in database_view.rows("SELECT trial_id, number, resume_step FROM attempt")}
    for trial, study, num_attempts, value in database_view.rows(
        "SELECT trial.id, name, num_attempts, value FROM trial JOIN study ON study.id = study_id"
        " WHERE trial.state = 'completed'"
    ):
        series: dict[int, float] = {}
        for attempt in range(1, num_attempts + 1):
            resume = resumes[trial, attempt] or 0
            series = {step: known for step, known in series.items() if step <= resume}
            series |= world.record.produced.get(world.watch.token_of((trial, attempt)), {})
        wanted = final_value(world.plan.specs[study].primary_objective, tuple(sorted(series.items())))
        if wanted != value:
            yield f"{trial} has value {value}, its series says {wanted}"
