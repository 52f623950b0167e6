"""Uploads the training process's stdout and stderr to the service from a background thread, every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError
from service.contract.log import MAX_CHUNK_BYTES, MAX_LOG_BYTES, LogRequest, Stream
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.threads import RETRYABLE, SenderThread

log = logging.getLogger(__name__)

_ROUND_SECONDS = 2.0


class _Tail:
    """The output files of one attempt, and up to which offset the service has them."""

    def __init__(self, key: AttemptKey, nonce: str, files: dict[Stream, Path], *, ended: bool) -> None:
        self.key = key
        self.nonce = nonce
        self.files = files
        self.offsets = dict.fromkeys(files, 0)
        self.ended = ended

    def unsent(self, stream: Stream) -> LogRequest | None:
        """Return the next bytes to send; of a backlog longer than the service stores, only the newest part."""
        offset, path = self.offsets[stream], self.files[stream]
        try:
            with path.open("rb") as file:
                offset = max(offset, path.stat().st_size - MAX_LOG_BYTES)
                file.seek(offset)
                content = file.read(MAX_CHUNK_BYTES)
        except OSError:  # not created yet, or deleted
            return None
        return LogRequest.of(self.nonce, offset, content) if content else None


class LogUploader(SenderThread):
    """Reads the output files and uploads what is new. The next agent on this host uploads what this one could not."""

    def __init__(self, client: Client, outbox: Outbox, storage: LocalStorage, service_status: ServiceStatus) -> None:
        super().__init__("logs", service_status)
        self._client = client
        self._outbox = outbox
        self._storage = storage
        # The agent that ran these attempts is dead, and so are its training processes: the files are complete.
        self._tails = {key: self._tail(key, nonce, ended=True) for key, nonce in outbox.unsent_outputs()}

    def follow(self, key: AttemptKey, nonce: str) -> None:
        """Upload what the attempt writes to its output files, until it ends."""
        self._outbox.add_output(key, nonce)
        with self._changed:
            self._tails[key] = self._tail(key, nonce, ended=False)

    def _tail(self, key: AttemptKey, nonce: str, *, ended: bool) -> _Tail:
        stdout, stderr = self._storage.output_files(key)
        return _Tail(key, nonce, {Stream.STDOUT: stdout, Stream.STDERR: stderr}, ended=ended)

    def end(self, key: AttemptKey) -> None:
        """Upload the rest soon and then stop following the attempt, because its process has exited."""
        with self._changed:
            if key in self._tails:
                self._tails[key].ended = True
                self.wake()

    def wait_until_sent(self, timeout_seconds: float) -> bool:
        """Wait until the output of all ended attempts is uploaded; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(tail.ended for tail in self._tails.values()), timeout_seconds)

    def _send_next(self) -> float:
        self._send_all()
        return _ROUND_SECONDS

    def _send_all(self) -> None:
        with self._changed:
            tails = list(self._tails.values())
        for tail in tails:
            ended = tail.ended  # read this before the files: nothing is written after the end
            try:
                for stream, request in _requests(tail):
                    if self._closed:
                        return
                    tail.offsets[stream] = self._client.append_log(*tail.key, stream, request).offset
            except RETRYABLE:
                raise
            except ApiError as error:
                log.warning("the output of trial %s is not uploaded and stays on this host: %s", tail.key.trial, error)
                self._stop_following(tail)
            else:
                if ended:
                    self._storage.remove_output(tail.key)
                    self._stop_following(tail)

    def _stop_following(self, tail: _Tail) -> None:
        self._outbox.ack_output(tail.key)
        with self._changed:
            self._tails.pop(tail.key, None)
            self._changed.notify_all()


def _requests(tail: _Tail) -> Iterator[tuple[Stream, LogRequest]]:
    """Yield the requests that are due; the caller must advance the offsets between them."""
    for stream in tail.files:
        while (request := tail.unsent(stream)) is not None:
            yield stream, request
