"""Changes of a spec by dotted path: applies them, and names the spec of a follow-up study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from service.contract import spec_paths
from service.contract.problem import ErrorCode, FieldError
from service.contract.study import StudySpec
from service.contract.validation_errors import field_errors, quote
from service.domain.errors import DomainError

_MAX_NAME = 64


def changed_spec(spec: StudySpec, changes: Mapping[str, Any]) -> StudySpec:
    """Return the spec with settings changed by dotted path. None removes a setting.

    Raises:
        DomainError: A path leads into a value that has no settings, or the result is not a study.
    """
    document = spec.model_dump(mode="json", exclude_none=True)
    for path, value in changes.items():
        try:
            if value is None:
                spec_paths.remove(document, path)
            else:
                spec_paths.put(document, path, value)
        except LookupError as error:
            message = f"there is nothing called {quote(error.args[0])} there"
            raise _invalid([FieldError(path=path, message=message)]) from None
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        raise _invalid(field_errors(error.errors(), document, StudySpec)) from None


def next_name(name: str, taken: Collection[str]) -> str:
    """Return the name of a study's next follow-up study: NAME-2, or NAME-3 if that one is taken, and so on.

    Args:
        name: the study's name. The follow-up of NAME-2 is NAME-3.
        taken: the names of the project's studies.
    """
    stem, _, last = name.rpartition("-")
    is_follow_up = bool(stem) and last.isdecimal() and 2 <= int(last) < 1_000 and str(int(last)) == last
    stem, number = (stem, int(last)) if is_follow_up else (name, 1)
    while True:
        number += 1
        following = f"{stem[: _MAX_NAME - len(str(number)) - 1]}-{number}"
        if following not in taken:
            return following


def _invalid(errors: list[FieldError]) -> DomainError:
    first = errors[0]
    detail = f"{first.path}: {first.message}" if first.path else first.message
    return DomainError(ErrorCode.INVALID_SPEC, detail, errors)
