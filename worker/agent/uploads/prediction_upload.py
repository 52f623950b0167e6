"""Uploads predictions from a background thread, once the outcome of their attempt has been sent."""

from __future__ import annotations

import logging
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError
from service.contract.problem import ErrorCode
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox, PredictionsEntry
from worker.agent.threads import RETRYABLE, SenderThread
from worker.protocol import PredictionsSaved

log = logging.getLogger(__name__)

_FINISH_SECONDS = 0.1
"""How often to check whether the service has accepted the attempt's outcome."""


class PredictionUploader(SenderThread):
    """Uploads and registers files of predictions; the next agent on this host uploads what this one could not.

    The outcome is sent first, because the service stores only the predictions of the best trials and knows a trial's
    rank only from its outcome. Most predictions are therefore never uploaded, and no outcome waits for a file.
    """

    def __init__(self, client: Client, outbox: Outbox, storage: LocalStorage, service_status: ServiceStatus) -> None:
        super().__init__("predictions", service_status)
        self._client = client
        self._outbox = outbox
        self._storage = storage

    def add(self, key: AttemptKey, saved: PredictionsSaved) -> None:
        """Move the attempt's file to its place, to be uploaded after the attempt's outcome."""
        path = self._storage.predictions_file(key)
        try:
            Path(saved.path).replace(path)
        except OSError as error:
            log.warning("the predictions of trial %s were not saved: %s", key.trial, error)
            return
        if self._outbox.add_predictions(key, saved.sha256, saved.size):
            self.wake()
        else:
            self._storage.remove_predictions(key)

    def wait_until_sent(self, timeout_seconds: float) -> bool:
        """Wait until all predictions are uploaded or declined; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outbox.predictions(), timeout_seconds)

    def _send_next(self) -> float | None:
        entries = self._outbox.predictions()
        due = [entry for entry in entries if entry.is_finished]
        for entry in due:
            if self._closed:
                return None
            self._upload(entry)
        return _FINISH_SECONDS if len(due) < len(entries) else None

    def _upload(self, entry: PredictionsEntry) -> None:
        """Upload one file if the service asks for it, then delete it."""
        path = self._storage.predictions_file(entry.key)
        try:
            self._register(entry, path)
        except RETRYABLE as error:
            if not isinstance(error, ApiError) or error.code is not ErrorCode.STORAGE_FULL:
                raise
            log.warning("the predictions of trial %s were not saved: %s", entry.key.trial, error)
        except (ApiError, OSError) as error:
            log.warning("the predictions of trial %s were not saved: %s", entry.key.trial, error)
        self._service_status.up()
        self._outbox.ack_predictions(entry.key)
        self._storage.remove_predictions(entry.key)

    def _register(self, entry: PredictionsEntry, path: Path) -> None:
        """Register the predictions; upload their file only if the service asks for it, then register them again."""

        def register() -> None:
            reply = self._client.register_predictions(*entry.key, entry.request)
            if not reply.kept:
                log.debug("the service declined the predictions of trial %s: %s", entry.key.trial, reply.reason)

        try:
            register()
        except ApiError as error:
            if error.code is not ErrorCode.BLOB_MISSING:
                raise
            with path.open("rb") as content:
                self._client.put_blob(entry.request.sha256, content)
            register()
