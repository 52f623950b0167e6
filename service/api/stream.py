"""Server-sent events: tell open pages that a study's revision moved, so that they fetch what changed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from service.api.dependencies import Uses
from service.api.parameters import After, LastEventId
from service.clock import monotonic, sleep
from service.domain.errors import DomainError
from service.domain.states import FINISHED_STUDIES
from service.usecases.context import Context
from service.usecases.studies import find_study_id, list_revisions

router = APIRouter(tags=["stream"])
_EVENTS = {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events, without end"}

POLL_SECONDS = 0.25
WOKEN_PER_POLL = 3
"""How many readers one poll may send to read what changed: so twelve events a second, however many pages are open.

Twenty pages then hear of a busy study every 1.7 seconds, in turn, and three hear at every poll.
"""
HEARTBEAT_SECONDS = 15.0
"""A reader that heard nothing for so long gets a comment line; the dashboard waits for two of them."""

HEARTBEAT = ": heartbeat\n\n"

log = logging.getLogger(__name__)

Revisions = dict[str, tuple[int, str]]
"""Study id -> revision and state."""


class Reader:
    """One open stream: the revisions it has to tell next, and the event that wakes it.

    A reader that is slow to send finds the newest revisions when it comes back: those between are never queued.
    """

    def __init__(self, study_id: str | None) -> None:
        self.revisions: Revisions | None = None
        self.is_ended = False
        self._study_id = study_id
        self._woken = asyncio.Event()

    def has_news(self, revisions: Revisions) -> bool:
        """Whether its study moved, or any study where it reads of all, since it was last woken."""
        return self._of_interest(revisions) != self.revisions

    def wake(self, revisions: Revisions) -> None:
        """Let it send these revisions."""
        self.revisions = self._of_interest(revisions)
        self._woken.set()

    def _of_interest(self, revisions: Revisions) -> Revisions:
        if self._study_id is None:
            return revisions
        return {study_id: moved for study_id, moved in revisions.items() if study_id == self._study_id}

    def end(self) -> None:
        """Wake the reader for the last time."""
        self.is_ended = True
        self._woken.set()

    async def is_woken(self) -> bool:
        """Wait for news; False after HEARTBEAT_SECONDS without any."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Watch:
    """Polls the revisions of all studies for all readers of this replica, while there is one.

    Readers share no lock: each has an event of its own, so one that goes away can leave nothing behind for the others.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._readers: dict[Reader, None] = {}
        """In the order in which they were last woken."""
        self._poll: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._is_closed = False

    def close(self) -> None:
        """End every stream, as the service stops."""
        self._is_closed = True
        for reader in self._readers:
            reader.end()

    async def changes(self, study_id: str | None = None) -> AsyncGenerator[Revisions | None, None]:
        """Yield the revisions of one study or of all, then again whenever one moved; None is a heartbeat."""
        if self._is_closed:
            return
        reader = Reader(study_id)
        self._readers[reader] = None
        if self._poll is None:
            self._poll = asyncio.create_task(self._polling())
        try:
            while True:
                is_woken = await reader.is_woken()
                if reader.is_ended:
                    return
                if is_woken:
                    yield reader.revisions
                elif monotonic() - self._read_at < HEARTBEAT_SECONDS:
                    yield None
                # Otherwise the database is away: a page that heard a heartbeat now would call itself live.
        finally:
            del self._readers[reader]
            if not self._readers and self._poll is not None:
                self._poll.cancel()
                self._poll = None

    def _wake(self, readers: Iterable[Reader], revisions: Revisions) -> None:
        """Wake those who are new and, of the others with news, the few who wait longest."""
        num_woken = 0
        for reader in readers:
            is_new = reader.revisions is None
            if reader not in self._readers or not reader.has_news(revisions):
                continue
            if is_new or num_woken < WOKEN_PER_POLL:
                num_woken += not is_new
                reader.wake(revisions)
                del self._readers[reader]
                self._readers[reader] = None

    async def _polling(self) -> None:
        while True:
            try:
                # A reader that joins during the query waits for the next one: this one may not know its study yet.
                readers = tuple(self._readers)
                revisions = await list_revisions(self._context)
                self._read_at = monotonic()
                self._wake(readers, revisions)
            except DomainError as error:
                log.warning("the revisions are read again: %s", error.detail)
            except Exception:
                log.exception("the revisions could not be read; it is tried again")
            await sleep(POLL_SECONDS)


@router.get("/studies/{study}/stream", response_class=StreamingResponse, responses={200: _EVENTS})
async def stream_study(
    request: Request,
    context: Uses,
    study: str,
    after: After = 0,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Send an event whenever the study's revision moves; the stream ends when the study is over."""
    study_id = await find_study_id(context, study)
    told = after if last_event_id is None else last_event_id
    return _stream(_study_events(request.app.state.watch, study_id, told))


@router.get("/stream", response_class=StreamingResponse, responses={200: _EVENTS})
async def stream_all(request: Request) -> StreamingResponse:
    """Send an event whenever the revision of any study moves."""
    return _stream(_all_events(request.app.state.watch))


async def _study_events(watch: Watch, study_id: str, told: int) -> AsyncIterator[str]:
    is_first = True
    # Closed with its reader at once: the poll ends with the last one.
    async with aclosing(watch.changes(study_id)) as changes:
        async for revisions in changes:
            if revisions is None:
                yield HEARTBEAT
                continue
            if study_id not in revisions:  # it was deleted
                return
            revision, state = revisions[study_id]
            if revision > told:
                told = revision
                yield _event({"revision": revision, "state": state}, event_id=revision)
            elif is_first and state not in FINISHED_STUDIES:
                yield HEARTBEAT  # says that the stream is open, where nothing has happened since `told`
            is_first = False
            if state in FINISHED_STUDIES:
                return


async def _all_events(watch: Watch) -> AsyncIterator[str]:
    told: Revisions = {}
    async with aclosing(watch.changes()) as changes:
        async for revisions in changes:
            if revisions is None or revisions == told:
                yield HEARTBEAT
                continue
            for study_id, (revision, state) in revisions.items():
                if told.get(study_id) != (revision, state):
                    yield _event({"study": study_id, "revision": revision, "state": state})
            for study_id in told.keys() - revisions.keys():
                yield _event({"study": study_id, "revision": told[study_id][0], "state": "deleted"})
            told = revisions


def _event(data: dict[str, object], event_id: int | None = None) -> str:
    numbered = f"id: {event_id}\n" if event_id is not None else ""
    return f"{numbered}event: changed\ndata: {json.dumps(data)}\n\n"


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
