"""Server-sent events: tells open pages that a study's revision moved, so that they fetch what changed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from service.api.dependencies import Uses
from service.clock import sleep
from service.domain.errors import DomainError
from service.domain.states import FINISHED_STUDIES
from service.usecases.context import Context
from service.usecases.studies import get_study, list_revisions

router = APIRouter(tags=["stream"])

POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15.0

log = logging.getLogger(__name__)

Revisions = dict[str, tuple[int, str]]


class Watch:
    """One poll of all revisions per replica, however many pages are open, and none while none is."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._num_readers = 0
        self._latest: Revisions = {}
        self._moved = asyncio.Condition()
        self._poll: asyncio.Task[None] | None = None
        self._closed = False

    async def close(self) -> None:
        """End every stream: the service stops."""
        async with self._moved:
            self._closed = True
            self._moved.notify_all()

    async def changes(self) -> AsyncGenerator[Revisions | None, None]:
        """Yield the revisions now, then whenever one moved; None after a silence of KEEP_ALIVE_SECONDS."""
        self._num_readers += 1
        if self._poll is None:
            self._poll = asyncio.create_task(self._polling())
        try:
            await self._look()
            while not self._closed:
                seen = self._latest
                yield seen
                while self._latest == seen and not self._closed:
                    try:
                        async with self._moved:
                            await asyncio.wait_for(self._moved.wait_for(self._moves_on(seen)), KEEP_ALIVE_SECONDS)
                    except TimeoutError:
                        yield None
        finally:
            self._num_readers -= 1
            if self._num_readers == 0 and self._poll is not None:
                self._poll.cancel()
                self._poll = None

    async def _polling(self) -> None:
        while True:
            await sleep(POLL_SECONDS)
            try:
                await self._look()
            except DomainError as error:
                log.warning("the revisions are read again: %s", error.detail)
            except Exception:
                log.exception("the revisions could not be read; it is tried again")

    async def _look(self) -> None:
        latest = await list_revisions(self._context)
        async with self._moved:
            self._latest = latest
            self._moved.notify_all()

    def _moves_on(self, seen: Revisions) -> Callable[[], bool]:
        return lambda: self._closed or self._latest != seen


@router.get("/studies/{study}/stream")
async def stream_study(
    request: Request,
    context: Uses,
    study: str,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[int | None, Header()] = None,
) -> StreamingResponse:
    """Tell of every move of one study's revision; ends when the study is over and all is told."""
    study_id = (await get_study(context, study)).id
    told = after if last_event_id is None else last_event_id
    return _stream(_study_events(request.app.state.watch, study_id, told))


@router.get("/stream")
async def stream_all(request: Request) -> StreamingResponse:
    """Tell of every move of any study's revision."""
    return _stream(_all_events(request.app.state.watch))


async def _study_events(watch: Watch, study_id: str, told: int) -> AsyncIterator[str]:
    # Closed with its reader at once: the poll ends with the last one.
    async with aclosing(watch.changes()) as changes:
        async for revisions in changes:
            if revisions is None:
                yield ": still here\n\n"
                continue
            if study_id not in revisions:
                return
            revision, state = revisions[study_id]
            if revision > told:
                told = revision
                yield _event({"revision": revision, "state": state}, event_id=revision)
            if state in FINISHED_STUDIES:
                return


async def _all_events(watch: Watch) -> AsyncIterator[str]:
    told: Revisions = {}
    async with aclosing(watch.changes()) as changes:
        async for revisions in changes:
            if revisions is None:
                yield ": still here\n\n"
                continue
            for study_id, (revision, state) in revisions.items():
                if told.get(study_id) != (revision, state):
                    yield _event({"study": study_id, "revision": revision, "state": state})
            told = revisions


def _event(data: dict[str, object], event_id: int | None = None) -> str:
    numbered = f"id: {event_id}\n" if event_id is not None else ""
    return f"{numbered}event: changed\ndata: {json.dumps(data)}\n\n"


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
