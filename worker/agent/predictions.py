"""One thread that brings predictions to the service once their trial is finished; nobody ever waits for it."""

from __future__ import annotations

import logging
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError
from service.contract.problem import ErrorCode
from worker.agent.background import AWAY, Courier
from worker.agent.contact import Contact
from worker.agent.disk import Disk
from worker.agent.held import AttemptKey
from worker.agent.outbox import Outbox, PredictionsEntry
from worker.protocol import Predicted

log = logging.getLogger(__name__)

_FINISH_SECONDS = 0.1
"""How often it is asked whether an outcome has been taken."""


class PredictionsSender(Courier):
    """What it has not brought when this process dies the next agent here brings.

    The outcome goes first: only then does the service know whether a trial is among the best, whose predictions alone
    it wants. So most of them are never uploaded, and no finish waits for a file.
    """

    def __init__(self, client: Client, outbox: Outbox, disk: Disk, contact: Contact) -> None:
        super().__init__("predictions", contact)
        self._client = client
        self._outbox = outbox
        self._disk = disk

    def keep(self, key: AttemptKey, saved: Predicted) -> None:
        """Take an attempt's file over, and bring it to the service after the attempt's outcome."""
        path = self._disk.predictions_of(key)
        try:
            Path(saved.path).replace(path)
        except OSError as error:
            log.warning("the predictions of trial %s are not kept: %s", key.trial, error)
            return
        if self._outbox.add_predictions(key, saved.sha256, saved.size):
            self.wake()
        else:
            self._disk.remove_predictions(key)

    def wait_until_sent(self, timeout_seconds: float) -> bool:
        """Wait until all are dealt with; False when that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outbox.predictions(), timeout_seconds)

    def _tell(self) -> float | None:
        entries = self._outbox.predictions()
        due = [entry for entry in entries if entry.is_finished]
        for entry in due:
            if self._closed:
                return None
            self._settle(entry)
        return _FINISH_SECONDS if len(due) < len(entries) else None

    def _settle(self, entry: PredictionsEntry) -> None:
        """Bring one file, where it is wanted; then nothing of it is kept here."""
        path = self._disk.predictions_of(entry.key)
        try:
            self._bring(entry, path)
        except AWAY as error:
            if not isinstance(error, ApiError) or error.code is not ErrorCode.STORAGE_FULL:
                raise
            log.warning("the predictions of trial %s are not kept: %s", entry.key.trial, error)
        except (ApiError, OSError) as error:
            log.warning("the predictions of trial %s are not kept: %s", entry.key.trial, error)
        self._contact.made()
        self._outbox.settle_predictions(entry.key)
        self._disk.remove_predictions(entry.key)

    def _bring(self, entry: PredictionsEntry, path: Path) -> None:
        def register() -> None:
            reply = self._client.register_predictions(*entry.key, entry.request)
            if not reply.kept:
                log.debug("the predictions of trial %s are not wanted: %s", entry.key.trial, reply.reason)

        try:
            register()
        except ApiError as error:
            if error.code is not ErrorCode.BLOB_MISSING:
                raise
            with path.open("rb") as content:
                self._client.put_blob(entry.request.sha256, content)
            register()
