"""Warm start: selects prior trials from earlier studies and stores an unchanging copy of them with a new study."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from service.contract.problem import ErrorCode, FieldError
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.contract.validation_errors import nearest
from service.domain.errors import DamagedRowError, DomainError
from service.domain.history import TrialRecord
from service.domain.other_data import stages_on_other_data
from service.domain.space import check_parameters
from service.search.warm_start import select_spread
from service.storage import tables
from service.storage.queries import prior_trials, studies
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class PriorTrials:
    """The prior trials for a new study's first suggestions, worst first, and a sentence on how they were chosen."""

    trials: tuple[TrialRecord, ...]
    summary: str


def find_prior_trials(connection: Connection, spec: StudySpec) -> PriorTrials | None:
    """Choose the prior trials for a checked spec; None if it requests no warm start.

    Raises:
        DomainError: A study does not exist or has another objective, or none of the trials is usable.
    """
    fit: list[TrialRecord] = []
    unfit: Counter[str] = Counter()
    for index, name in enumerate(spec.warm_start):
        source, theirs = _source(connection, spec, name, path=f"warm_start.{index}")
        for row in prior_trials.ended(connection, source.id):
            rejection = _rejection_reason(row, spec, theirs)
            if rejection is None:
                fit.append(prior_trials.record(row.number, row.id, row.parameters, row.value))
            else:
                unfit[rejection] += 1
    if not spec.warm_start:
        return None
    num, why = len(fit) + unfit.total(), ", ".join(f"{num} {rejection}" for rejection, num in unfit.items())
    summary = f"of the {num} trials of {', '.join(spec.warm_start)} that have ended"
    if not fit:
        hint = f" ({why})" if why else ""
        raise _refused("warm_start", f"{summary}, none can be a prior trial{hint}; leave it out, or widen the space")
    taken = select_spread(fit, spec.primary_objective.direction)
    if len(taken) < len(fit):
        why = ", ".join(filter(None, [why, f"{len(fit) - len(taken)} similar to those taken"]))
    return PriorTrials(
        taken, f"warm start: {summary}, {len(taken)} are prior trials" + (f"; left out: {why}" if why else "")
    )


def store_prior_trials(unit_of_work: UnitOfWork, prior: PriorTrials) -> None:
    """Store the prior trials with the study that this transaction creates, and record how they were chosen."""
    for ordinal, trial in enumerate(prior.trials):
        unit_of_work.insert(
            tables.prior_trial,
            study_id=unit_of_work.study.id,
            ordinal=ordinal,
            trial_id=trial.notes["trial"],
            parameters=dict(trial.parameters),
            value=trial.value,
        )
    unit_of_work.set_study(notice=prior.summary)
    unit_of_work.record("warm_started", data={"num_trials": len(prior.trials), "reason": prior.summary})


def _source(connection: Connection, spec: StudySpec, name: str, *, path: str) -> tuple[Row, StudySpec]:
    """Return the named study and its spec; it must have the same objective as the new one."""
    row = studies.find(connection, f"{spec.project}/{name}")
    if row is None:
        hint = nearest(name, studies.names(connection))
        raise _refused(path, f"there is no study {name!r} in project {spec.project!r}; {hint}")
    try:
        source = studies.spec(connection, row.id, row.spec_version)
    except DamagedRowError as error:
        raise _refused(path, f"{error}; or name another study") from None
    theirs, ours = source.primary_objective, spec.primary_objective
    if (theirs.metric, theirs.direction) != (ours.metric, ours.direction):
        message = (
            f"the objective of {name} is to {theirs.direction} {theirs.metric}, and that of this study to "
            f"{ours.direction} {ours.metric}; "
            "name studies of the same objective"
        )
        raise _refused(path, message)
    return row, source


def _rejection_reason(row: Row, spec: StudySpec, theirs: StudySpec) -> str | None:
    """Return why an ended trial is not usable as a prior trial, or None."""
    if row.state != TrialState.COMPLETED or row.value is None:
        return "did not complete"
    if theirs.resource is not None and row.run_until is not None and row.run_until < theirs.resource.max:
        return "trained in an early stage"
    if row.stage in stages_on_other_data(theirs):
        return "were validated on other data in an early stage"
    return "lie outside this space" if check_parameters(spec.space, row.parameters) else None


def _refused(path: str, message: str) -> DomainError:
    return DomainError(ErrorCode.INVALID_SPEC, f"{path}: {message}", [FieldError(path=path, message=message)])
