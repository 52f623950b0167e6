"""Invariants of diagnoses: they are of no later revision than what they are about, and a judged study lacks none."""

from __future__ import annotations

import sqlalchemy as sa

from service.contract.trial import TrialKind
from service.storage.fsck.violations import Violation, of_studies, of_trials
from service.storage.tables import study, study_diagnosis, trial, trial_diagnosis

_of_study = study_diagnosis.c.study_id == study.c.id
_of_trial = trial_diagnosis.c.trial_id == trial.c.id


def wrong_diagnoses(connection: sa.Connection) -> list[Violation]:
    """Return studies and trials with a diagnosis of a later revision, and judged trials without a current one."""
    queries = (
        of_studies(study.c.revision, study_diagnosis.c.judged_revision)
        .select_from(study.join(study_diagnosis, _of_study))
        .where(study_diagnosis.c.judged_revision > study.c.revision),
        of_trials(trial.c.revision, trial_diagnosis.c.trial_revision)
        .join(trial_diagnosis, _of_trial)
        .where(sa.or_(trial_diagnosis.c.trial_revision > trial.c.revision, trial_diagnosis.c.study_id != study.c.id)),
        of_trials(trial.c.revision, study_diagnosis.c.judged_revision)
        .join(study_diagnosis, _of_study)
        .outerjoin(trial_diagnosis, _of_trial)
        .where(
            trial.c.kind == TrialKind.SEARCH,
            trial.c.revision <= study_diagnosis.c.judged_revision,
            study_diagnosis.c.error.is_(None),
            sa.func.coalesce(trial_diagnosis.c.trial_revision, -1) < trial.c.revision,
        ),
    )
    return [dict(row) for query in queries for row in connection.execute(query).mappings()]
