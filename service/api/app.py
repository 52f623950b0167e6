"""The FastAPI application and the router of the whole API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp

from service.api import attempts, blobs, catalogue, health, problems, stream, studies, trials, workers
from service.api.access import AccessRules
from service.api.auth import bearer
from service.api.gate import Gate
from service.api.parameters import check_text
from service.api.shared_answers import SharedAnswers
from service.usecases.context import Context

PREFIX = "/api/v1"


class App(FastAPI):
    """A FastAPI application behind the gate.

    If there is a token, every path under PREFIX but the health check requires it.
    """

    def __init__(self, token: str | None, rules: AccessRules, **settings: Any) -> None:
        super().__init__(**settings)
        self._token = token
        self._rules = rules

    def build_middleware_stack(self) -> ASGIApp:
        """Put the gate around all other middleware."""
        return Gate(super().build_middleware_stack(), PREFIX, self._token, self._rules)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with problems declared by their own media type."""
        if self.openapi_schema is None:
            problems.declare(super().openapi())  # FastAPI caches the document, so the declaration is kept
        assert self.openapi_schema is not None
        return self.openapi_schema


def attach(app: FastAPI, context: Context) -> None:
    """Have the application's routes serve this context."""
    app.state.context = context
    app.state.watch = stream.RevisionPoller(context)
    app.state.shared_answers = SharedAnswers()


def mount(app: FastAPI, context: Context | None) -> None:
    """Add the API's routes under PREFIX. Without a context the application can only describe itself."""
    if context is not None:
        attach(app, context)
    problems.install(app)
    guarded = APIRouter(dependencies=[Depends(bearer), Depends(check_text)], responses=problems.RESPONSES)
    for room in (studies, trials, attempts, blobs, catalogue, workers, stream):
        guarded.include_router(room.router)
    app.include_router(health.router, prefix=PREFIX, responses=problems.FAILURES)
    app.include_router(guarded, prefix=PREFIX)
