"""One thread that tells the service what training processes print, some seconds later; nobody ever waits for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError
from service.contract.log import MAX_CHUNK_BYTES, MAX_LOG_BYTES, LogRequest, Stream
from worker.agent.background import AWAY, Courier
from worker.agent.contact import Contact
from worker.agent.held import AttemptKey

log = logging.getLogger(__name__)

_ROUND_SECONDS = 2.0


class _Tail:
    """The files that one attempt prints to, and how far the service knows them."""

    def __init__(self, key: AttemptKey, nonce: str, files: dict[Stream, Path]) -> None:
        self.key = key
        self.nonce = nonce
        self.files = files
        self.offsets = dict.fromkeys(files, 0)
        self.ended = False

    def unsent(self, stream: Stream) -> LogRequest | None:
        """The next bytes to tell; of a backlog longer than the service keeps, the newest only."""
        offset, path = self.offsets[stream], self.files[stream]
        try:
            with path.open("rb") as file:
                offset = max(offset, path.stat().st_size - MAX_LOG_BYTES)
                file.seek(offset)
                content = file.read(MAX_CHUNK_BYTES)
        except OSError:  # not made yet, or tidied away
            return None
        return LogRequest.of(self.nonce, offset, content) if content else None


class LogSender(Courier):
    """Reads the files; what it has not told when this process dies stays in them, on this host."""

    def __init__(self, client: Client, contact: Contact) -> None:
        super().__init__("logs", contact)
        self._client = client
        self._tails: dict[AttemptKey, _Tail] = {}

    def follow(self, key: AttemptKey, nonce: str, *, stdout: Path, stderr: Path) -> None:
        """Tell what is written to these files, until the attempt ends."""
        with self._changed:
            self._tails[key] = _Tail(key, nonce, {Stream.STDOUT: stdout, Stream.STDERR: stderr})

    def end(self, key: AttemptKey) -> None:
        """The process has exited: tell the rest soon, then let go."""
        with self._changed:
            if key in self._tails:
                self._tails[key].ended = True
                self.wake()

    def wait_until_sent(self, timeout_seconds: float) -> bool:
        """Wait until all is told of the attempts that ended; False when that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(tail.ended for tail in self._tails.values()), timeout_seconds)

    def _tell(self) -> float:
        self._send_all()
        return _ROUND_SECONDS

    def _send_all(self) -> None:
        with self._changed:
            tails = list(self._tails.values())
        for tail in tails:
            ended = tail.ended  # asked before reading: what comes after the end is nothing
            try:
                for stream, request in _requests(tail):
                    if self._closed:
                        return
                    tail.offsets[stream] = self._client.append_log(*tail.key, stream, request).offset
            except AWAY:
                raise
            except ApiError as error:
                log.warning("what trial %s printed stays on this host: %s", tail.key.trial, error)
                ended = True
            if ended:
                self._let_go(tail)

    def _let_go(self, tail: _Tail) -> None:
        with self._changed:
            self._tails.pop(tail.key, None)
            self._changed.notify_all()


def _requests(tail: _Tail) -> Iterator[tuple[Stream, LogRequest]]:
    """What is to be told now, as long as the one who asks moves the offsets on."""
    for stream in tail.files:
        while (request := tail.unsent(stream)) is not None:
            yield stream, request
