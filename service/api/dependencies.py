"""FastAPI dependencies of the routes: the context of the use cases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.usecases.context import Context


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
"""The context, as a parameter of a route."""
