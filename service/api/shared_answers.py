"""Answers to viewers: computed and encoded once for all readers of this replica that ask the same at the same time."""

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
    """A computation under way, and the one that follows it, where somebody waits for that."""

    task: asyncio.Task[bytes]
    following: asyncio.Task[bytes] | None = None


class SharedAnswers:
    """At most two computations per question: one under way, and one for all who asked since it began.

    So an answer is never older than its question, and twenty readers cost what two do.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def answer(self, question: str, compute: Compute) -> bytes:
        """Return what `compute` returns, from a computation that began after this call."""
        flight = self._flights.get(question)
        if flight is None:
            task = self._begin(question, compute)
        else:
            if flight.following is None:
                flight.following = asyncio.create_task(self._follow(flight, question, compute))
            task = flight.following
        # Shielded: a reader that goes away takes nothing from the others.
        return await asyncio.shield(task)

    def _begin(self, question: str, compute: Compute) -> asyncio.Task[bytes]:
        task = asyncio.create_task(self._compute(question, compute))
        # Read here too, as all who wait for it may have gone away.
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
        return await self._begin(question, compute)


async def shared(request: Request, context: Context, ask: Callable[[], Awaitable[BaseModel]]) -> Response:
    """Answer a GET of a viewer by its address: what `ask` returns, as JSON, encoded outside the event loop."""
    shared_answers: SharedAnswers = request.app.state.shared_answers

    async def compute() -> bytes:
        answer = await ask()
        return await context.database.run_for_viewer(lambda: answer.model_dump_json(by_alias=True).encode())

    content = await shared_answers.answer(f"{request.url.path}?{request.url.query}", compute)
    return Response(content, media_type="application/json")
