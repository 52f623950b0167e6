"""Stored findings for viewers. A damaged diagnosis counts as none, and the next round of the diagnosis replaces it."""

from __future__ import annotations

from service.domain.errors import DamagedRowError
from service.storage.diagnosis_rows import (
    StoredStudyDiagnosis,
    StoredTrialDiagnosis,
    read_study_diagnosis,
    read_trial_diagnosis,
)
from service.storage.queries import diagnoses
from service.storage.tables import Connection
from service.usecases.context import Context


def of_study(connection: Connection, context: Context, study_id: str) -> StoredStudyDiagnosis | None:
    """Return the stored diagnosis of a study; None: there is none that can be read."""
    row = diagnoses.of_study(connection, study_id)
    try:
        return None if row is None else read_study_diagnosis(row)
    except DamagedRowError:
        context.diagnoses.note_damaged(study_id)
        return None


def of_trial(connection: Connection, context: Context, trial_id: str) -> StoredTrialDiagnosis | None:
    """Return the stored diagnosis of a trial; None: there is none that can be read."""
    row = diagnoses.of_trial(connection, trial_id)
    try:
        return None if row is None else read_trial_diagnosis(row)
    except DamagedRowError:
        if row is not None:
            context.diagnoses.note_damaged(row.study_id)
        return None
