"""Diagnosis of changed studies: reads a study, applies the rules on a strategy thread, and stores the findings.

A diagnosis is not a change of the study: it does not increment the study's revision and writes no journal row.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from service.clock import monotonic
from service.contract.problem import ErrorCode
from service.contract.storable import to_storable
from service.domain.errors import DamagedRowError, DomainError
from service.storage import tables
from service.storage.database import DATABASE_ERRORS
from service.storage.diagnosis_rows import StoredStudyDiagnosis, StoredTrialDiagnosis, read_study_diagnosis
from service.storage.queries import diagnoses, tallies
from service.storage.tables import Connection
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.importance_cache import Computed
from service.usecases.isolation import StudyFault, attempt_to
from service.usecases.maintenance.diagnosis_facts import Material, read_material
from service.usecases.maintenance.judgement import Judgement, Rules, judge
from service.usecases.suggestions import Late, StrategyTimeoutError, Work

STUDY_SECONDS = 5.0
"""A study is judged at most once in this time."""

ABANDONED_SECONDS = 60.0
"""A study that was judged by other rules is left to the replica that has them, until it has not judged it for so long.

During an upgrade two versions of the rules run side by side. Without this they would replace each other's findings.
"""

ROUND_SECONDS = 0.5
"""After this time a round begins with no further study; the next round continues."""

WAIT_SECONDS = 10.0
"""A round waits this long for the rules on one study, and then goes on with the next one."""

_SHARE = 20
"""A study rests for this many times the time that its last round took."""

_MAX_REST_SECONDS = 60.0
"""But at most this long."""

_MAX_DUE = 1_000
_DIAGNOSIS = Work("diagnosis", "round")

log = logging.getLogger(__name__)


async def diagnose_due(context: Context, rules: Rules | None = None) -> int:
    """Judge the studies that changed since they were judged last; return how many. A study that fails blocks no other.

    Raises:
        DomainError: The database is unavailable.
    """
    rules = rules or Rules()
    state, began = context.diagnoses, monotonic()
    damaged = state.take_damaged()
    found = await context.database.read(partial(_due, context=context, rules=rules))
    num_judged = 0
    for study_id in dict.fromkeys([*sorted(damaged), *found]):
        started = monotonic()
        if started - began > ROUND_SECONDS:
            break
        if study_id not in damaged and state.is_resting(study_id, started):
            continue
        if study_id in damaged:
            state.forget(study_id)
        is_judged = await _diagnose_isolated(context, study_id, rules)
        num_judged += is_judged
        # A round that is still computing is asked again soon: its thread computes nothing else for the study.
        took = monotonic() - started if is_judged else 0.0
        state.rest(study_id, monotonic() + max(STUDY_SECONDS, min(_MAX_REST_SECONDS, _SHARE * took)))
    return num_judged


def _due(connection: Connection, context: Context, rules: Rules) -> list[str]:
    now = context.database.dialect.now(connection)
    return diagnoses.due(
        connection,
        rules.version,
        before=now - int(STUDY_SECONDS * MICROSECONDS),
        abandoned_before=now - int(ABANDONED_SECONDS * MICROSECONDS),
        limit=_MAX_DUE,
    )


async def _diagnose_isolated(context: Context, study_id: str, rules: Rules) -> bool:
    """Judge one study; return whether its findings were stored. What goes wrong is logged once and stored."""
    try:
        result = await attempt_to(study_id, "diagnosis", partial(_diagnose, context, study_id, rules))
        if not isinstance(result, StudyFault):
            return result
        if isinstance(result.error, StrategyTimeoutError):
            _log_once(context, study_id, f"the diagnosis takes too long: {result.error}")
            return False
        _log_once(context, study_id, f"the diagnosis failed: {result.summary}", result.traceback)
        await context.transact(study_id, partial(_store_fault, rules=rules, message=result.summary))
    except DomainError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        if error.code is not ErrorCode.UNKNOWN_STUDY:  # otherwise it was deleted in the meantime
            _log_once(context, study_id, f"the diagnosis will be repeated: {error.detail}")
    except (*DATABASE_ERRORS, OSError) as error:
        _log_once(context, study_id, f"the diagnosis will be repeated: {error}")
    except Exception as error:  # the fault itself could not be stored; the other studies must not wait
        _log_once(context, study_id, f"the diagnosis failed: {type(error).__name__}: {error}")
    return False


def _log_once(context: Context, study_id: str, message: str, details: str = "") -> None:
    if context.diagnoses.is_news(study_id, message):
        log.warning("study %s: %s%s", study_id, message, f"\n{details}" if details else "")


async def _diagnose(context: Context, study_id: str, rules: Rules) -> bool:
    version = rules.version
    material = await context.database.read(lambda connection: read_material(connection, context, study_id, version))
    if material is None:
        return False
    judgement = await context.suggestions.compute(
        study_id,
        (material.epoch, material.revision, version),
        partial(judge, material, rules),
        limit_seconds=context.limits.suggest_seconds,
        wait_seconds=min(WAIT_SECONDS, context.limits.suggest_seconds),
        of=_DIAGNOSIS,
    )
    if isinstance(judgement, Late):
        _log_once(context, study_id, "the diagnosis takes long; its study is skipped until it ends")
        return False
    return await _keep(context, material, judgement, rules)


async def _keep(context: Context, material: Material, judgement: Judgement, rules: Rules) -> bool:
    """Store what a round found, and remember the facts for the next one."""
    study_id = material.study_id
    ranking = judgement.of_study.importance
    if ranking is not None and ranking is not material.importance:
        computed = Computed(material.epoch, material.spec_version, ranking, monotonic())
        context.importances.keep(study_id, computed)
    is_stored = await context.transact(study_id, partial(_store, material=material, judgement=judgement, rules=rules))
    if judgement.is_complete and material.is_over:
        context.diagnoses.forget(study_id)
        context.histories.forget(study_id)
    else:
        context.diagnoses.keep(study_id, material.known)
    if judgement.error is not None:
        _log_once(context, study_id, f"a part of it could not be judged: {judgement.error}")
    return is_stored


def _store(unit_of_work: UnitOfWork, material: Material, judgement: Judgement, rules: Rules) -> bool:
    """Store a judgement, unless a newer one is stored, or the database was restored since it was read."""
    study, connection = unit_of_work.study, unit_of_work.connection
    if tallies.epoch(connection) != material.epoch or study.revision < material.revision:
        return False
    stored = _stored(connection, study.id)
    is_own = stored is not None and stored.rules == rules.version
    if stored is not None and is_own and stored.judged_revision > material.revision:
        return False
    _replace_trials(unit_of_work, material, judgement.trials)
    judged_before = stored.judged_revision if stored is not None and is_own else 0
    _replace_study(
        unit_of_work,
        StoredStudyDiagnosis(
            study_id=study.id,
            judged_revision=material.revision if judgement.is_complete else judged_before,
            rules=rules.version,
            judged_at=unit_of_work.now(),
            findings=judgement.of_study.findings,
            trial_findings=judgement.trial_findings,
            decomposition=judgement.of_study.decomposition,
            error=judgement.error,
        ),
    )
    return True


def _store_fault(unit_of_work: UnitOfWork, rules: Rules, message: str) -> None:
    """Store why a study cannot be judged; it is tried again once the study has changed."""
    study = unit_of_work.study
    stored = _stored(unit_of_work.connection, study.id)
    _replace_study(
        unit_of_work,
        StoredStudyDiagnosis(
            study_id=study.id,
            judged_revision=study.revision,
            rules=rules.version,
            judged_at=unit_of_work.now(),
            trial_findings=stored.trial_findings if stored is not None else (),
            error=to_storable(message),
        ),
    )


def _stored(connection: Connection, study_id: str) -> StoredStudyDiagnosis | None:
    """Return the stored diagnosis of a study; None: there is none, or it is damaged and may be replaced."""
    row = diagnoses.of_study(connection, study_id)
    try:
        return None if row is None else read_study_diagnosis(row)
    except DamagedRowError:
        return None


def _replace_study(unit_of_work: UnitOfWork, diagnosis: StoredStudyDiagnosis) -> None:
    table = tables.study_diagnosis
    unit_of_work.connection.execute(table.delete().where(table.c.study_id == diagnosis.study_id))
    unit_of_work.insert(table, **diagnosis.columns())


def _replace_trials(unit_of_work: UnitOfWork, material: Material, judged: Sequence[StoredTrialDiagnosis]) -> None:
    """Store the diagnoses of trials, except where the stored one is of a newer revision by the same rules."""
    table, connection = tables.trial_diagnosis, unit_of_work.connection
    stored = {
        row.trial_id: (row.trial_revision, row.rules)
        for row in diagnoses.keys_of(connection, [each.trial_id for each in judged])
        if row.trial_id not in material.damaged
    }
    new = [each for each in judged if not _is_newer(stored.get(each.trial_id), each)]
    connection.execute(table.delete().where(table.c.trial_id.in_([each.trial_id for each in new])))
    if new:
        connection.execute(table.insert(), [each.columns(material.study_id) for each in new])


def _is_newer(stored: tuple[int, str] | None, judged: StoredTrialDiagnosis) -> bool:
    return stored is not None and stored[1] == judged.rules and stored[0] > judged.trial_revision
