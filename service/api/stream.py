"""Server-sent events that notify open pages of a study's new revision, so that they fetch the changes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from service.api.dependencies import ContextDep
from service.api.parameters import After, LastEventId
from service.clock import monotonic, sleep
from service.domain.errors import DomainError
from service.domain.states import FINISHED_STUDIES
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study_id, list_revisions

router = APIRouter(tags=["stream"])
_EVENTS = {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events, without end"}

POLL_SECONDS = 0.25
WOKEN_PER_POLL = 3
"""The largest number of readers that one poll wakes. This limits events to twelve a second for any number of pages.

Twenty open pages then get an event of a busy study every 1.7 seconds, in turn. Up to three get one at every poll.
"""
HEARTBEAT_SECONDS = 15.0
"""A reader without an event for this long gets a comment line. The dashboard waits for two such intervals."""

HEARTBEAT = ": heartbeat\n\n"

log = logging.getLogger(__name__)

Revisions = dict[str, tuple[int, str]]
"""Study id -> revision and state."""


class Reader:
    """One open stream: the revisions to send next, and the event that wakes the stream.

    Revisions are not queued. A reader that sends slowly skips to the newest revisions.
    """

    def __init__(self, study_id: str | None) -> None:
        self.revisions: Revisions | None = None
        self.is_ended = False
        self._study_id = study_id
        self._woken = asyncio.Event()

    def has_news(self, revisions: Revisions) -> bool:
        """Return whether a study that this reader follows has changed since the reader was last woken."""
        return self._of_interest(revisions) != self.revisions

    def wake(self, revisions: Revisions) -> None:
        """Wake the reader to send these revisions."""
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
        """Wait until the reader is woken. Return False after HEARTBEAT_SECONDS without an event."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class RevisionPoller:
    """Polls the revisions of all studies for all readers of this replica, while there is at least one reader.

    Readers share no lock. Each has its own event, so a reader that disconnects cannot block the others.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._readers: dict[Reader, None] = {}
        """Ordered by the time at which they were last woken, the longest ago first."""
        self._poll: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._is_closed = False

    def close(self) -> None:
        """End every stream, because the service stops."""
        self._is_closed = True
        for reader in self._readers:
            reader.end()

    async def changes(self, study_id: str | None = None) -> AsyncGenerator[Revisions | None, None]:
        """Yield the revisions of one study or of all, once at first and then after each change. None is a heartbeat."""
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
                # Otherwise the database is unavailable, and a page that got a heartbeat now would wrongly show itself
                # as live.
        finally:
            del self._readers[reader]
            if not self._readers and self._poll is not None:
                self._poll.cancel()
                self._poll = None

    def _wake(self, readers: Iterable[Reader], revisions: Revisions) -> None:
        """Wake all new readers and, of the others with changes, the WOKEN_PER_POLL that have waited longest."""
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
                # A reader that joins during the query waits for the next query, because this one may not include its
                # study.
                readers = tuple(self._readers)
                revisions = await list_revisions(self._context)
                self._read_at = monotonic()
                self._wake(readers, revisions)
            except DomainError as error:
                log.warning("the revisions will be read again: %s", error.detail)
            except Exception:
                log.exception("the revisions could not be read; the service will try again")
            await sleep(POLL_SECONDS)


@router.get("/studies/{study}/stream", response_class=StreamingResponse, responses={200: _EVENTS})
async def stream_study(
    request: Request,
    context: ContextDep,
    study: str,
    after: After = 0,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Stream an event for each new revision of the study. The stream ends when the study is finished or deleted."""
    study_id = await find_study_id(context, study)
    sent = after if last_event_id is None else last_event_id
    return _stream(_study_events(request.app.state.watch, study_id, sent))


@router.get("/stream", response_class=StreamingResponse, responses={200: _EVENTS})
async def stream_all(request: Request) -> StreamingResponse:
    """Stream an event for each new revision of any study."""
    return _stream(_all_events(request.app.state.watch))


async def _study_events(watch: RevisionPoller, study_id: str, sent: int) -> AsyncIterator[str]:
    is_first = True
    # aclosing removes the reader at once, so that the poll ends with the last reader.
    async with aclosing(watch.changes(study_id)) as changes:
        async for revisions in changes:
            if revisions is None:
                yield HEARTBEAT
                continue
            if study_id not in revisions:  # the study was deleted
                yield _event({"revision": sent, "state": "deleted"})
                return
            revision, state = revisions[study_id]
            if revision > sent:
                sent = revision
                yield _event({"revision": revision, "state": state}, event_id=revision)
            elif is_first and state not in FINISHED_STUDIES:
                yield HEARTBEAT  # shows the client that the stream is open although nothing has changed since `sent`
            is_first = False
            if state in FINISHED_STUDIES:
                return


async def _all_events(watch: RevisionPoller) -> AsyncIterator[str]:
    sent: Revisions = {}
    async with aclosing(watch.changes()) as changes:
        async for revisions in changes:
            if revisions is None or revisions == sent:
                yield HEARTBEAT
                continue
            for study_id, (revision, state) in revisions.items():
                if sent.get(study_id) != (revision, state):
                    yield _event({"study": study_id, "revision": revision, "state": state})
            for study_id in sent.keys() - revisions.keys():
                yield _event({"study": study_id, "revision": sent[study_id][0], "state": "deleted"})
            sent = revisions


def _event(data: dict[str, object], event_id: int | None = None) -> str:
    numbered = f"id: {event_id}\n" if event_id is not None else ""
    return f"{numbered}event: changed\ndata: {json.dumps(data)}\n\n"


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
