"""Parses a mapping to a StudySpec, with one sentence per mistake. Kept apart from `study_file`, which needs PyYAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.client.errors import InvalidStudy
from service.contract.study import StudySpec
from service.contract.validation_errors import field_errors


def parse(mapping: Mapping[str, Any], source: str = "the study") -> StudySpec:
    """Validate the structure of a study. The service checks later which settings of the task its parameters change.

    Args:
        mapping: the study, as a study file would hold it.
        source: name of the source, with which each error begins.

    Raises:
        InvalidStudy: a setting is missing, unknown or out of range.
    """
    try:
        return StudySpec.model_validate(dict(mapping))
    except ValidationError as error:
        raise InvalidStudy(source, field_errors(error.errors(), mapping, StudySpec)) from None
