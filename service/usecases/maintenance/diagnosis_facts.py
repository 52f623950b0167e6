"""Reads what a round of the diagnosis needs about one study: the trials to judge, and the facts about the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.analysis.diagnosis.facts import AttemptFacts, StudyFacts, TrialFacts
from service.analysis.reference_summary import ordered_references
from service.clock import monotonic
from service.contract.attempt import FailureClass
from service.contract.base import TaskKind
from service.contract.importance import Importance
from service.contract.predictions import Confusion
from service.contract.study import StudySpec
from service.contract.trial import TrialState, TrialView
from service.domain.errors import DamagedRowError
from service.domain.history import Series
from service.domain.states import FINISHED_STUDIES
from service.storage.damage import reading
from service.storage.diagnosis_rows import (
    StoredStudyDiagnosis,
    StoredTrialDiagnosis,
    read_study_diagnosis,
    read_trial_diagnosis,
)
from service.storage.queries import diagnoses, preflights, series, studies, tallies, trials
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS
from service.usecases.context import Context
from service.usecases.diagnosis_state import KnownFacts
from service.usecases.dispatch.grants import task_of

MAX_TRIALS = 200
"""The largest number of trials that one round judges of one study."""

MAX_VALUES = 200_000
"""The largest number of reported values that one round reads of one study. A trial with more is not judged."""

_CHUNK = 500
"""Number of stored diagnoses that one query reads."""


@dataclass(frozen=True)
class TrialToJudge:
    """A trial to judge: its facts, or why they cannot be read."""

    trial_id: str
    number: int
    revision: int
    facts: TrialFacts | None
    error: str | None = None


@dataclass(frozen=True)
class Material:
    """Everything that a round reads about one study, from one snapshot.

    Attributes:
        study_id: the study.
        epoch: the epoch of the database.
        revision: the study's revision.
        spec_version: the version of the study's spec.
        is_over: whether the study has ended.
        stored: the study's stored diagnosis, unless there is none or it is damaged.
        to_judge: the trials that this round may judge, the longest unchanged first.
        has_more: whether there are more such trials.
        damaged: the ids of the trials whose stored diagnosis is damaged.
        known: the facts about all trials that are not in the history.
        study: the facts about the study, without findings about its trials and without the importance.
        importance: the importance of its parameters, if it was computed for this revision.
    """

    study_id: str
    epoch: int
    revision: int
    spec_version: int
    is_over: bool
    stored: StoredStudyDiagnosis | None
    to_judge: Sequence[TrialToJudge]
    has_more: bool
    damaged: frozenset[str]
    known: KnownFacts
    study: StudyFacts
    importance: Importance | None


def read_material(connection: Connection, context: Context, study_id: str, rules: str) -> Material | None:
    """Return what a round needs about a study; None: there is no such study any more.

    Args:
        connection: a connection, whose transaction is one snapshot.
        context: the context of this replica.
        study_id: the study.
        rules: the version of this replica's rules.

    Raises:
        DamagedRowError: the study's row or its spec is damaged.
    """
    study = studies.find(connection, study_id)
    if study is None:
        return None
    epoch = tallies.epoch(connection)
    spec = studies.spec(connection, study_id, study.spec_version)
    clock = context.database.dialect.now(connection)
    known, damaged = _refresh(connection, study, epoch, context.diagnoses.facts(study_id), clock)
    stored = _stored(connection, study_id)
    since = stored.judged_revision if stored is not None and stored.rules == rules else 0
    waiting = diagnoses.unjudged(connection, study_id, rules, since, MAX_TRIALS + 1)
    candidates = [*waiting[:MAX_TRIALS], *_missing(connection, damaged, waiting)]
    num_values = diagnoses.num_values(connection, [row.id for row in candidates])
    rows = _within_limits(candidates, num_values)
    view = context.views.latest(connection, study, clock)
    known = _with_num_examples(connection, known, view.best)
    facts = StudyFacts(
        spec=spec,
        history=context.histories.latest(connection, study_id, spec.primary_objective.metric),
        metrics=known.metrics,
        attempts=[each for number in sorted(known.attempts) for each in known.attempts[number]],
        references=ordered_references(spec.reference, view.references),
        num_validation=known.num_examples.get("val"),
        num_test=known.num_examples.get("test"),
        num_test_val=known.num_examples.get("test_val"),
    )
    return Material(
        study_id=study_id,
        epoch=epoch,
        revision=study.revision,
        spec_version=study.spec_version,
        is_over=study.state in FINISHED_STUDIES,
        stored=stored,
        to_judge=_trials_to_judge(connection, context, study, rows, num_values),
        has_more=len(rows) < len({*(row.id for row in waiting), *damaged}),
        damaged=frozenset(damaged),
        known=known,
        study=facts,
        importance=context.importances.find(epoch, study, monotonic()),
    )


def _stored(connection: Connection, study_id: str) -> StoredStudyDiagnosis | None:
    row = diagnoses.of_study(connection, study_id)
    try:
        return None if row is None else read_study_diagnosis(row)
    except DamagedRowError:
        return None


def _missing(connection: Connection, damaged: Iterable[str], waiting: Sequence[Row]) -> Sequence[Row]:
    """Return the trials with a damaged diagnosis that are not among those that wait."""
    missing = set(damaged) - {row.id for row in waiting}
    return trials.of_ids(connection, sorted(missing)[:MAX_TRIALS]) if missing else []


def _within_limits(rows: Sequence[Row], num_values: Mapping[str, int]) -> list[Row]:
    """Return the first trials whose values together are at most MAX_VALUES, and at least one trial."""
    chosen: list[Row] = []
    total = 0
    for row in rows:
        num = num_values.get(row.id, 0)
        # A trial with too many values is not read, so it takes none of the room.
        total += num if num <= MAX_VALUES else 0
        if chosen and total > MAX_VALUES:
            break
        chosen.append(row)
    return chosen


def _refresh(
    connection: Connection, study: Row, epoch: int, known: KnownFacts, clock: int
) -> tuple[KnownFacts, set[str]]:
    """Return the current facts, reading only what changed after `known`, and the trials with a damaged diagnosis."""
    if epoch != known.epoch or study.revision < known.revision:
        known = KnownFacts(epoch=epoch)
    metrics, attempts = dict(known.metrics), dict(known.attempts)
    for row in diagnoses.finals_since(connection, study.id, known.revision):
        metrics.pop(row.number, None)
        attempts.pop(row.number, None)
        if row.state == TrialState.COMPLETED:
            metrics[row.number] = _final_metrics(row)
    for row in diagnoses.attempts_since(connection, study.id, known.revision):
        attempts[row.trial] = (*attempts.get(row.trial, ()), _attempt(row, clock))
    found, damaged = _refresh_diagnoses(connection, study, known.diagnoses)
    fresh = replace(known, revision=study.revision, metrics=metrics, attempts=attempts, diagnoses=found)
    return fresh, damaged


def _refresh_diagnoses(
    connection: Connection, study: Row, known: Mapping[int, StoredTrialDiagnosis]
) -> tuple[dict[int, StoredTrialDiagnosis], set[str]]:
    """Return the stored diagnoses of all trials, reading only those with another key than the known ones."""
    numbers: dict[str, int] = {}
    found: dict[int, StoredTrialDiagnosis] = {}
    for row in diagnoses.judged(connection, study.id):
        before = known.get(row.number)
        if before is not None and before.key == (row.trial_revision, row.rules):
            found[row.number] = before
        else:
            numbers[row.trial_id] = row.number
    damaged: set[str] = set()
    ids = list(numbers)
    for start in range(0, len(ids), _CHUNK):
        for row in diagnoses.of_trials(connection, ids[start : start + _CHUNK]):
            try:
                found[numbers[row.trial_id]] = read_trial_diagnosis(row)
            except DamagedRowError:
                damaged.add(row.trial_id)
    return found, damaged


def _with_num_examples(connection: Connection, known: KnownFacts, best: TrialView | None) -> KnownFacts:
    """Add the number of examples of each split: the sums of the confusion matrices of the best trial."""
    if best is None or best.id == known.measured_trial:
        return known
    outcome = next((each.outcome for each in reversed(trials.attempts(connection, best.id)) if each.outcome), None)
    try:
        confusion = Confusion.model_validate(outcome["confusion"]) if isinstance(outcome, dict) else None
    except (LookupError, ValueError):
        confusion = None
    splits = {} if confusion is None else confusion.splits
    num_examples = {split: sum(map(sum, rows)) for split, rows in splits.items()}
    return replace(known, measured_trial=best.id, num_examples=num_examples)


def _final_metrics(row: Row) -> dict[str, float]:
    try:
        with reading(f"trial {row.number}", row):
            return series.measured(row.metrics)
    except DamagedRowError:
        return {}


def _attempt(row: Row, clock: int) -> AttemptFacts:
    ended_at = clock if row.ended_at is None else row.ended_at
    lines = (row.message or "").splitlines()
    return AttemptFacts(
        trial=row.trial,
        host=row.host,
        failure=FailureClass(row.failure) if row.failure else None,
        message=lines[0] if row.failure and lines else None,
        num_steps=max(0, (row.last_step or 0) - (row.resume_step or 0)),
        seconds=max(0, ended_at - row.started_at) / MICROSECONDS,
    )


def _trials_to_judge(
    connection: Connection, context: Context, study: Row, rows: Sequence[Row], num_values: Mapping[str, int]
) -> list[TrialToJudge]:
    read = [row.id for row in rows if num_values.get(row.id, 0) <= MAX_VALUES]
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for point in series.canonical(connection, read):
        of_trial = curves.setdefault(point.trial_id, {})
        of_trial.setdefault(point.metric, []).append((point.step, series.value_of(point)))
    chance = _chance(connection, study.id)
    specs: dict[int, StudySpec] = {}
    found = []
    for row in rows:
        if row.id not in read:
            error = f"it reported {num_values[row.id]:,} values, and at most {MAX_VALUES:,} are read"
            found.append(TrialToJudge(row.id, row.number, row.revision, None, error))
            continue
        try:
            with reading(trials.title(row), row):
                if row.spec_version not in specs:
                    specs[row.spec_version] = studies.spec(connection, study.id, row.spec_version)
                series_of = {metric: tuple(points) for metric, points in curves.get(row.id, {}).items()}
                facts = _trial_facts(connection, context, specs[row.spec_version], row, series_of)
            found.append(TrialToJudge(row.id, row.number, row.revision, replace(facts, chance=chance)))
        except DamagedRowError as error:
            found.append(TrialToJudge(row.id, row.number, row.revision, None, f"it is damaged: {error.reason}"))
    return found


def _trial_facts(
    connection: Connection, context: Context, spec: StudySpec, row: Row, curves: Mapping[str, Series]
) -> TrialFacts:
    is_training = spec.task_kind is TaskKind.TRAIN
    config: Mapping[str, Any] = (task_of(connection, context, spec, row)[0] or {}) if is_training else {}
    epochs = config.get("epochs")
    last_step = spec.resource.max if spec.resource is not None else epochs if isinstance(epochs, int) else None
    attempts = trials.attempts(connection, row.id) if row.num_failures or row.state == TrialState.FAILED else []
    failure = attempts[-1].failure if attempts else None
    return TrialFacts(
        number=row.number,
        state=TrialState(row.state),
        objective=spec.primary_objective.metric,
        direction=spec.primary_objective.direction,
        curves=curves,
        last_step=last_step,
        config=config,
        parameters=row.parameters,
        metrics=series.measured(row.metrics),
        failure=FailureClass(failure) if failure else None,
    )


def _chance(connection: Connection, study_id: str) -> dict[str, float]:
    """Return what a constant prediction reaches: a baseline of the study's preflight."""
    constant = (each for each in preflights.baselines(connection, study_id) if each.name == "majority")
    metrics = next((each.metrics for each in constant), {})
    return {metric: value for metric, value in metrics.items() if value is not None}
