"""Types of path, query and header parameters, with bounds that every database can store."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query, Request

from service.contract.problem import ErrorCode, FieldError
from service.contract.storable import MAX_INTEGER, find_flaw
from service.domain.errors import DomainError

_MAX_NUMBER = 2**31 - 1
"""The largest number of an attempt or a stage. Their columns have 32 bits."""

AttemptNumber = Annotated[int, Path(ge=1, le=_MAX_NUMBER, description="number of the attempt in its trial, from 1")]
StageNumber = Annotated[int, Path(ge=0, le=_MAX_NUMBER, description="number of the stage, from 0")]
Attempt = Annotated[int | None, Query(ge=1, le=_MAX_NUMBER, description="number of the attempt; default: the newest")]
After = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="revision or offset after which the answer begins")]
LastEventId = Annotated[int | None, Header(ge=0, le=MAX_INTEGER, description="id of the last event that was received")]


def check_text(request: Request) -> None:
    """Refuse a path or a query with text that no database can hold.

    Raises:
        DomainError: invalid_request, with the parameter's name.
    """
    for name, value in (*request.path_params.items(), *request.query_params.multi_items()):
        if (flaw := find_flaw(value) or find_flaw(name)) is not None:
            error = FieldError(path=name.replace("\0", "\ufffd"), message=flaw.reason)
            raise DomainError(ErrorCode.INVALID_REQUEST, f"{error.path}: {error.message}", [error])
