"""Stored diagnoses: converts their rows to values, and values to the columns of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.contract.decomposition import Decomposition
from service.contract.diagnosis import TrialFindings
from service.contract.finding import Finding
from service.storage.damage import reading

_FINDINGS = TypeAdapter(list[Finding])
_TRIAL_FINDINGS = TypeAdapter(list[TrialFindings])


@dataclass(frozen=True, slots=True)
class StoredTrialDiagnosis:
    """What is stored about one trial.

    Attributes:
        trial_id: the id of the trial.
        trial_revision: the revision of the trial that was judged.
        rules: the version of the rules that judged it.
        findings: what they found, the gravest first.
        error: why the trial could not be judged.
    """

    trial_id: str
    trial_revision: int
    rules: str
    findings: Sequence[Finding] = ()
    error: str | None = None

    @property
    def key(self) -> tuple[int, str]:
        """What was judged, and by which rules: an equal key means an equal result."""
        return self.trial_revision, self.rules

    def columns(self, study_id: str) -> dict[str, Any]:
        """Return the columns of its row."""
        return {
            "trial_id": self.trial_id,
            "study_id": study_id,
            "trial_revision": self.trial_revision,
            "rules": self.rules,
            "error": self.error,
            "findings": _FINDINGS.dump_python(list(self.findings), mode="json"),
        }


@dataclass(frozen=True, slots=True)
class StoredStudyDiagnosis:
    """What is stored about one study.

    Attributes:
        study_id: the id of the study.
        judged_revision: the revision of the study whose trials were all judged by these rules. 0: none yet.
        rules: the version of the rules.
        judged_at: when the findings were computed, in microseconds.
        findings: what the rules found about the study, the gravest first.
        trial_findings: what they found about its trials, by rule.
        decomposition: the parts of the test error of its best trial, if they are known.
        error: why the study, or the first of its trials, could not be judged.
    """

    study_id: str
    judged_revision: int
    rules: str
    judged_at: int
    findings: Sequence[Finding] = ()
    trial_findings: Sequence[TrialFindings] = ()
    decomposition: Decomposition | None = None
    error: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of its row."""
        return {
            "study_id": self.study_id,
            "judged_revision": self.judged_revision,
            "rules": self.rules,
            "judged_at": self.judged_at,
            "error": self.error,
            "findings": _FINDINGS.dump_python(list(self.findings), mode="json"),
            "trial_findings": _TRIAL_FINDINGS.dump_python(list(self.trial_findings), mode="json"),
            "decomposition": None if self.decomposition is None else self.decomposition.model_dump(mode="json"),
        }


def read_trial_diagnosis(row: sa.Row[Any]) -> StoredTrialDiagnosis:
    """Return the stored diagnosis of a trial.

    Raises:
        DamagedRowError: the row cannot be read.
    """
    with reading(f"the diagnosis of trial {row.trial_id}", row):
        return StoredTrialDiagnosis(
            trial_id=row.trial_id,
            trial_revision=_whole(row.trial_revision),
            rules=row.rules,
            findings=_FINDINGS.validate_python(row.findings),
            error=row.error,
        )


def read_study_diagnosis(row: sa.Row[Any]) -> StoredStudyDiagnosis:
    """Return the stored diagnosis of a study.

    Raises:
        DamagedRowError: the row cannot be read.
    """
    with reading(f"the diagnosis of study {row.study_id}", row):
        return StoredStudyDiagnosis(
            study_id=row.study_id,
            judged_revision=_whole(row.judged_revision),
            rules=row.rules,
            judged_at=_whole(row.judged_at),
            findings=_FINDINGS.validate_python(row.findings),
            trial_findings=_TRIAL_FINDINGS.validate_python(row.trial_findings),
            decomposition=None if row.decomposition is None else Decomposition.model_validate(row.decomposition),
            error=row.error,
        )


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
