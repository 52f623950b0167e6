"""Shared answers to viewers: concurrent identical requests to this replica are computed and encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response
from pydantic import BaseModel

from service.usecases.context import Context

Compute = Callable[[], Awaitable[bytes]]


@dataclass
class _Flight:
    """A running computation, and the next one if somebody waits for it."""

    task: asyncio.Task[bytes]
    following: asyncio.Task[bytes] | None = None


class SharedAnswers:
    """At most two computations per question: the running one, and one for everybody who asked since it began.

    An answer is therefore never older than its question, and twenty readers cost no more than two.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def answer(self, question: str, compute: Compute) -> bytes:
        """Return the result of `compute`, from a computation that began after this call."""
        flight = self._flights.get(question)
        if flight is None:
            task = self._start(question, compute)
        else:
            if flight.following is None:
                flight.following = asyncio.create_task(self._follow(flight, question, compute))
            task = flight.following
        # Shielded, so that a reader that disconnects does not cancel the computation for the others.
        return await asyncio.shield(task)

    def _start(self, question: str, compute: Compute) -> asyncio.Task[bytes]:
        task = asyncio.create_task(self._compute(question, compute))
        # Retrieve the exception here too, because everybody who waited for it may have disconnected.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._flights[question] = _Flight(task)
        return task

    async def _compute(self, question: str, compute: Compute) -> bytes:
        try:
            return await compute()
        finally:
            if self._flights[question].following is None:
                del self._flights[question]

    async def _follow(self, before: _Flight, question: str, compute: Compute) -> bytes:
        await asyncio.wait([before.task])
        return await self._start(question, compute)


async def shared(request: Request, context: Context, ask: Callable[[], Awaitable[BaseModel]]) -> Response:
    """Answer a viewer's GET request with the result of `ask` as JSON, encoded outside the event loop.

    Requests for the same path and query share one answer.
    """
    shared_answers: SharedAnswers = request.app.state.shared_answers

    async def compute() -> bytes:
        answer = await ask()
        return await context.database.run_for_viewer(lambda: answer.model_dump_json(by_alias=True).encode())

    content = await shared_answers.answer(f"{request.url.path}?{request.url.query}", compute)
    return Response(content, media_type="application/json")
