"""Reads the database independently of the service's own queries."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from service.contract.attempt import Outcome
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, RungResult, Series, StageBox, TrialRecord
from tests.simulation.memory import memory

_TRIALS = (
    "SELECT id, number, state, parameters, value, infeasible, stage, notes, run_until, rung_results,"
    " finished_at FROM trial"
    " WHERE study_id = ?"
)


def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Ask the database."""
    return memory().rows(query, *parameters)


def spec_of(study_id: str, version: int) -> StudySpec:
    """One version of a study's spec."""
    ((text,),) = rows("SELECT spec FROM study_spec WHERE study_id = ? AND version = ?", study_id, version)
    return _spec(text)


@lru_cache(maxsize=64)
def _spec(text: str) -> StudySpec:
    return StudySpec.model_validate_json(text)


def outcome_of(text: str | None) -> Outcome | None:
    """A stored outcome."""
    # An attempt that was attached again and lost by a restore has JSON's null.
    return Outcome.model_validate_json(text) if text and text != "null" else None


def canonical(trial_id: str) -> Series:
    """A trial's series: what an attempt measured counts up to the step at which any later one began."""
    resumes = [
        step or 0 for (step,) in rows("SELECT resume_step FROM attempt WHERE trial_id = ? ORDER BY number", trial_id)
    ]
    series: dict[int, float] = {}
    query = "SELECT attempt, step, value, status FROM report WHERE trial_id = ? AND metric = 'loss' ORDER BY attempt"
    for attempt, step, value, status in rows(query, trial_id):
        if all(step <= resume for resume in resumes[attempt:]):
            series[step] = float(status) if value is None else value
    return tuple(sorted(series.items()))


def history(study_id: str, known: History, revision: int) -> History:
    """The study's history at `revision`, given the one before it: only what is stamped with it has moved."""
    records = list(known.trials)
    for row in rows(f"{_TRIALS} AND revision = ? ORDER BY number", study_id, revision):
        record = _record(row)
        records[record.number : record.number + 1] = [record]
    stages = {**known.stages, **_stages(study_id, revision)}
    return History(revision, tuple(records), epoch(), stages=stages)


def whole_history(study_id: str, revision: int) -> History:
    """The study's history as of now, from all of its trials and stages."""
    records = tuple(_record(row) for row in rows(f"{_TRIALS} ORDER BY number", study_id))
    return History(revision, records, epoch(), stages=_stages(study_id, 0))


def epoch() -> int:
    """The database's epoch; 0: none has begun."""
    return max((number for (number,) in rows("SELECT epoch FROM deployment")), default=0)


def _stages(study_id: str, since: int) -> dict[int, StageBox]:
    query = (
        "SELECT number, box, reason FROM stage"
        " WHERE study_id = ? AND revision >= ? AND coalesce(review, '') != 'proposed' ORDER BY number"
    )
    found = rows(query, study_id, since)
    return {number: StageBox(number, json.loads(box), reason) for number, box, reason in found}


def _record(row: tuple[Any, ...]) -> TrialRecord:
    trial_id, number, state, parameters, value, infeasible, stage, notes, run_until, arrivals, finished_at = row
    return TrialRecord(
        number=number,
        state=TrialState(state),
        parameters=json.loads(parameters),
        series=canonical(trial_id),
        value=value,
        infeasible=bool(infeasible),
        stage=stage,
        notes=json.loads(notes),
        run_until=run_until,
        rung_results=tuple(RungResult(**arrival) for arrival in json.loads(arrivals)),
        finished_at=finished_at,
    )
