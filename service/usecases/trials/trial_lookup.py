"""Trial queries for viewers: changed trials, one trial in detail, the best trial or the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.contract.claim import Grant, ResumePoint
from service.contract.problem import ErrorCode
from service.contract.study import ParetoFront, StudySpec
from service.contract.trial import TrialDetail, TrialList, TrialView
from service.contract.validation_errors import quote
from service.domain.errors import DomainError
from service.domain.pareto import LossVector, losses, nadir
from service.storage.queries import checkpoints, pareto, studies, trials, views
from service.storage.tables import Connection, Row
from service.usecases import stored_findings
from service.usecases.blobs import is_stored
from service.usecases.context import Context
from service.usecases.dispatch.grants import grant_of, task_of
from service.usecases.studies.study_lookup import find_study


async def list_trials(context: Context, name: str, since: int, limit: int) -> TrialList:
    """Return the search trials that changed after a revision, and the revision to continue from."""

    def read(connection: Connection) -> TrialList:
        study = find_study(connection, name)
        rows = trials.changed(connection, study.id, since, limit)
        # A truncated list reflects the study only up to the revision of its last row. It may hold fewer rows than
        # `limit`, as one revision can change several trials and is never split.
        is_cut_off = rows and trials.changed(connection, study.id, rows[-1].revision, 1)
        revision = rows[-1].revision if is_cut_off else study.revision
        found, damaged = views.trial_views(rows)
        return TrialList(revision=revision, trials=found, damaged=damaged)

    return await context.database.read_for_viewer(read)


def find_trial(connection: Connection, study: Row, key: str) -> Row:
    """Return the study's trial with this number or id; forks have only an id.

    Raises:
        DomainError: The study has no such trial.
    """
    row = trials.find(connection, study.id, key)
    if row is None:
        shown = quote(key).strip("'")
        message = (
            f"study {study.name!r} has no trial {shown}; it has {study.next_number}, numbered from 0, and forks by id"
        )
        raise DomainError(ErrorCode.UNKNOWN_TRIAL, message)
    return row


async def get_trial(context: Context, name: str, key: str) -> TrialDetail:
    """Return one trial in detail, by number or id.

    Raises:
        DomainError: The study has no such trial.
    """

    def read(connection: Connection) -> TrialDetail:
        study = find_study(connection, name)
        return _detail(connection, context, study, find_trial(connection, study, key))

    return await context.database.read_for_viewer(read)


async def get_grant(context: Context, name: str, key: str) -> Grant:
    """Return what a worker would get to start this trial from scratch, to try it by hand; no lease is granted.

    Raises:
        DomainError: The study has no such trial.
    """

    def read(connection: Connection) -> Grant:
        return grant_of(connection, context, find_trial(connection, find_study(connection, name), key))

    return await context.database.read_for_viewer(read)


async def get_checkpoint(context: Context, name: str, key: str) -> ResumePoint:
    """Return the newest available checkpoint of a trial.

    Raises:
        DomainError: The study has no such trial, or none of its checkpoints is kept.
    """

    def read(connection: Connection) -> ResumePoint:
        study = find_study(connection, name)
        row = find_trial(connection, study, key)
        saved = checkpoints.canonical(connection, row.id)
        kept = next((each for each in saved if is_stored(context, each)), None)
        if kept is None:
            lacks = "has no checkpoint any more" if saved else "has saved no checkpoint"
            message = (
                f"{trials.title(row)} of {study.name} {lacks}; checkpoints are kept for open trials and the best one"
            )
            raise DomainError(ErrorCode.UNKNOWN_BLOB, message)
        return ResumePoint(step=kept.step, batch=kept.batch, sha256=kept.sha256, size=kept.size, uri=kept.uri)

    return await context.database.read_for_viewer(read)


async def get_best(context: Context, name: str) -> TrialDetail:
    """Return the completed trial with the best value.

    Raises:
        DomainError: No trial is completed yet, or the study has several objectives.
    """

    def read(connection: Connection) -> TrialDetail:
        study = find_study(connection, name)
        spec = studies.spec(connection, study.id, study.spec_version)
        if len(spec.objectives) > 1:
            message = (
                f"study {study.name!r} has {len(spec.objectives)} objectives and no best trial; use its Pareto front"
            )
            raise DomainError(ErrorCode.UNKNOWN_TRIAL, message)
        row = views.best_trial(connection, study.id, spec)
        if row is None:
            raise DomainError(ErrorCode.UNKNOWN_TRIAL, f"study {study.name!r} has no completed trial yet")
        return _detail(connection, context, study, row)

    return await context.database.read_for_viewer(read)


async def get_front(context: Context, name: str) -> ParetoFront:
    """Return the completed trials that no other one dominates, with their hypervolume."""

    def read(connection: Connection) -> tuple[StudySpec, list[TrialView], list[LossVector]]:
        study = find_study(connection, name)
        spec = studies.spec(connection, study.id, study.spec_version)
        on_front, points = pareto.of_study(connection, study.id, spec.directions)
        found = trials.of_ids(connection, [row.id for row in on_front])
        return spec, views.trial_views(found)[0], points

    spec, found, points = await context.database.read_for_viewer(read)
    corner = losses(spec.reference_point, spec.directions) if spec.reference_point else nadir(points)
    if corner is None:
        return ParetoFront(objectives=list(spec.objectives), trials=[], reference_point=None, hypervolume=None)
    volume = await context.database.run_for_viewer(lambda: _hypervolume(points, corner))
    return ParetoFront(
        objectives=list(spec.objectives),
        trials=found,
        # `losses` is its own inverse, so this turns losses back into values.
        reference_point=list(losses(corner, spec.directions)),
        hypervolume=volume if math.isfinite(volume) else None,
    )


def _hypervolume(points: Sequence[LossVector], corner: LossVector) -> float:
    # Import on demand: Optuna takes a fifth of a second to import.
    from service.search.optuna_bridge.pareto import hypervolume  # noqa: PLC0415

    return hypervolume(points, corner)


def _detail(connection: Connection, context: Context, study: Row, row: Row) -> TrialDetail:
    spec = studies.spec(connection, study.id, row.spec_version)
    detail = views.trial_detail(connection, row)
    config, _ = task_of(connection, context, spec, row)
    stored = stored_findings.of_trial(connection, context, row.id)
    findings = [] if stored is None else list(stored.findings)
    return detail.model_copy(update={"config": config, "findings": findings})
