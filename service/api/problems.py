"""Answers errors as RFC 9457 problems, and maps each error code to its HTTP status."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from service.api.body import INVALID_JSON
from service.contract.problem import ErrorCode, FieldError, Problem
from service.contract.storable import to_storable
from service.contract.validation_errors import field_errors, models_in
from service.domain.errors import DamagedRowError, DomainError, UnserializableError

log = logging.getLogger(__name__)

STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.INVALID_REQUEST: 422,
    ErrorCode.INVALID_SPEC: 422,
    ErrorCode.INCOMPARABLE_LOSS: 422,
    ErrorCode.CONTRARY_DIRECTION: 422,
    ErrorCode.INVALID_PARAMETERS: 422,
    ErrorCode.UNKNOWN_STUDY: 404,
    ErrorCode.UNKNOWN_TRIAL: 404,
    ErrorCode.UNKNOWN_ATTEMPT: 404,
    ErrorCode.UNKNOWN_WORKER: 404,
    ErrorCode.UNKNOWN_PREDICTIONS: 404,
    ErrorCode.STUDY_EXISTS: 409,
    ErrorCode.STUDY_STATE: 409,
    ErrorCode.STUDY_CHANGED: 409,
    ErrorCode.ALREADY_TRIED: 409,
    ErrorCode.LEASE_SUPERSEDED: 409,
    ErrorCode.ATTEMPT_ENDED: 409,
    ErrorCode.REPORT_CONFLICT: 409,
    ErrorCode.REPORT_ORDER: 409,
    ErrorCode.CLAIM_CONFLICT: 409,
    ErrorCode.UNKNOWN_BLOB: 404,
    ErrorCode.BLOB_MISMATCH: 422,
    ErrorCode.BLOB_MISSING: 409,
    ErrorCode.STORAGE_FULL: 507,
    ErrorCode.DATABASE_FULL: 507,
    ErrorCode.ENTRY_TAKEN: 409,
    ErrorCode.DATA_DIFFERS: 409,
    ErrorCode.PROTOCOL_VERSION: 409,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.TOO_MANY_REQUESTS: 429,
    ErrorCode.HOST_REFUSED: 421,
    ErrorCode.ORIGIN_REFUSED: 403,
    ErrorCode.MEDIA_TYPE: 415,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.BODY_TIMEOUT: 408,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.DAMAGED_DATA: 500,
    ErrorCode.UNSERIALIZABLE: 500,
    ErrorCode.INTERNAL: 500,
}

_HEADERS: Mapping[ErrorCode, dict[str, str]] = {
    ErrorCode.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    ErrorCode.TOO_MANY_REQUESTS: {"Retry-After": "10"},
    ErrorCode.BODY_TIMEOUT: {"Connection": "close"},
}
"""Additional headers of an answer, by error code."""

FAILURES: dict[int | str, dict[str, Any]] = {
    500: {
        "model": Problem,
        "description": "The service failed, or what it stored is damaged: internal, unserializable, damaged_data",
    },
    503: {"model": Problem, "description": "The service or its database is busy or away: busy, unavailable"},
    507: {"model": Problem, "description": "A disk of the service is full: database_full, storage_full"},
}
"""OpenAPI declaration of the errors of every route that the request does not cause."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "What is wrong, by code"},
    **FAILURES,
}
"""OpenAPI declaration of the errors of every route."""

_MEDIA_TYPE = "application/problem+json"


def problem_response(code: ErrorCode, detail: str, errors: Iterable[FieldError] = ()) -> JSONResponse:
    """Build the response that carries a problem."""
    problem = Problem(
        type=f"urn:assayer:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=STATUS[code],
        detail=detail,
        code=code,
        errors=list(errors),
    )
    return JSONResponse(problem.model_dump(mode="json"), STATUS[code], _HEADERS.get(code), _MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Register exception handlers that answer every error as a problem."""

    @app.exception_handler(DomainError)
    async def _domain(_: Request, error: DomainError) -> JSONResponse:
        return problem_response(error.code, error.detail, error.errors)

    @app.exception_handler(DamagedRowError)
    async def _damaged(request: Request, error: DamagedRowError) -> JSONResponse:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return problem_response(ErrorCode.DAMAGED_DATA, str(error))

    @app.exception_handler(UnserializableError)
    async def _unserializable(request: Request, error: UnserializableError) -> JSONResponse:
        log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return problem_response(ErrorCode.UNSERIALIZABLE, to_storable(str(error)))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = _mistakes(request, error)
        detail = "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in errors[:3])
        return problem_response(ErrorCode.INVALID_REQUEST, detail, errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        call = f"{request.method} {request.url.path}"
        if error.status_code == STATUS[ErrorCode.NOT_FOUND]:
            return problem_response(ErrorCode.NOT_FOUND, f"there is no {call}; /docs lists what there is")
        if error.status_code == STATUS[ErrorCode.METHOD_NOT_ALLOWED]:
            allowed = ", ".join(_methods_at(app, request.url.path))
            response = problem_response(
                ErrorCode.METHOD_NOT_ALLOWED,
                f"there is no {call}; this path takes {allowed}, and /docs lists all calls",
            )
            response.headers["Allow"] = allowed
            return response
        return problem_response(ErrorCode.INVALID_REQUEST, str(error.detail))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(ErrorCode.INTERNAL, "the service failed; its log says more")


def _methods_at(app: FastAPI, path: str) -> list[str]:
    """Return the methods of all routes of the first matching path. Starlette returns only those of the first route."""
    matching = [route for route in iter_route_contexts(app.routes) if route.methods and route.path_regex.match(path)]
    return sorted({method for each in matching if each.path == matching[0].path for method in each.methods or ()})


def declare(document: dict[str, Any]) -> None:
    """Set the media type of problems in an OpenAPI document. FastAPI declares all models as application/json."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    answer["content"] = {_MEDIA_TYPE: answer["content"].pop("application/json")}


def _mistakes(request: Request, error: RequestValidationError) -> list[FieldError]:
    """Return every mistake with its path.

    FastAPI's paths begin with the part of the request: body, query, path or header.
    """
    details: list[Any] = list(error.errors())
    elsewhere = [
        FieldError(path=".".join(map(str, each["loc"][1:])), message=each["msg"])
        for each in details
        if each["loc"][0] != "body" or each["type"] == INVALID_JSON
    ]
    in_body: list[Any] = [{**each, "loc": each["loc"][1:]} for each in details if each["loc"][0] == "body"]
    model = _body_model(request)
    if elsewhere or model is None:
        return elsewhere
    return field_errors(in_body, error.body, model)


def _body_model(request: Request) -> type[BaseModel] | None:
    """Return the model of the route's body. None if the route takes no body."""
    field = request.scope["route"].body_field
    return None if field is None else next(iter(models_in(field.field_info.annotation)), None)
