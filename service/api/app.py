"""The API as one router, and what an application needs to carry it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI

from service.api import attempts, blobs, catalogue, health, problems, stream, studies, trials, workers
from service.api.auth import authorize
from service.usecases.context import Context

PREFIX = "/api/v1"


def mount(app: FastAPI, context: Context | None, token: str | None) -> None:
    """Put the API under PREFIX; where there is a token, everything but the health check wants it.

    Without a context the application can describe itself, and no more.
    """
    if context is not None:
        app.state.context = context
        app.state.token = token
        app.state.watch = stream.Watch(context)
    problems.install(app)
    guarded = APIRouter(dependencies=[Depends(authorize)], responses=problems.RESPONSES)
    for room in (studies, trials, attempts, blobs, catalogue, workers, stream):
        guarded.include_router(room.router)
    app.include_router(health.router, prefix=PREFIX)
    app.include_router(guarded, prefix=PREFIX)
