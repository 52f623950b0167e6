"""A mapping becomes a StudySpec, or one sentence per mistake; apart from study files, which need a YAML reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.client.errors import InvalidStudy
from service.contract.mistakes import mistakes_in
from service.contract.study import StudySpec


def parse(mapping: Mapping[str, Any], source: str = "the study") -> StudySpec:
    """Check the shape of a study; what its parameters reach in the task, the service checks.

    Raises:
        InvalidStudy: something is missing, unknown or out of range; `source` opens each sentence.
    """
    try:
        return StudySpec.model_validate(dict(mapping))
    except ValidationError as error:
        raise InvalidStudy(source, mistakes_in(error.errors(), mapping, StudySpec)) from None
