"""Stores the versions of a study's spec."""

from __future__ import annotations

from service.contract.study import StudySpec
from service.storage import tables
from service.storage.unit_of_work import UnitOfWork


def store_spec(unit_of_work: UnitOfWork, study_id: str, version: int, spec: StudySpec) -> None:
    """Store a version of the study's spec; the study's `spec_version` says which one is in force."""
    unit_of_work.insert(
        tables.study_spec,
        study_id=study_id,
        version=version,
        spec=spec.model_dump(mode="json", exclude_none=True),
        created_at=unit_of_work.now(),
        revision=unit_of_work.revision,
    )
