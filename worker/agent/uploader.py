"""One thread that uploads checkpoints and registers them once the reports before them have been taken."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError, ServiceFailure, Unauthorized
from service.contract.problem import ErrorCode
from worker.agent.background import Courier
from worker.agent.contact import Contact
from worker.agent.held import AttemptKey
from worker.agent.outbox import Outbox, Upload
from worker.protocol import Checkpointed

log = logging.getLogger(__name__)

_REPORTS_SECONDS = 0.1
"""How often it is asked whether the reports before a checkpoint have been taken."""


class Uploader(Courier):
    """Apart from the sender, so that no report waits behind a large file; `on_settled` hears that one is dealt with."""

    def __init__(self, client: Client, outbox: Outbox, contact: Contact, on_settled: Callable[[], None]) -> None:
        super().__init__("uploader", contact)
        self._client = client
        self._outbox = outbox
        self._on_settled = on_settled

    def checkpoint(self, key: AttemptKey, saved: Checkpointed) -> None:
        """Keep in mind that the attempt has saved a checkpoint, and upload it as soon as may be."""
        if self._outbox.add_checkpoint(key, saved):
            self.wake()

    def _tell(self) -> float | None:
        uploads = self._outbox.uploads()
        num_settled = sum(self._settle(upload) for upload in uploads if not self._closed)
        if num_settled:
            return 0.0
        return _REPORTS_SECONDS if uploads else None

    def _settle(self, upload: Upload) -> bool:
        """Upload, and register where its turn has come; whether nothing is left to do for it."""
        reason = None
        try:
            if not self._client.has_blob(upload.request.sha256):
                with Path(upload.path).open("rb") as file:
                    self._client.put_blob(upload.request.sha256, file)
            if not upload.is_next:
                return False
            self._client.checkpoint(*upload.key, upload.request)
        except OSError as error:  # newer ones have taken its place on the disk
            reason = f"its file cannot be read: {error}"
        except ApiError as error:
            if error.code is ErrorCode.BLOB_MISSING:  # collected since, while the reports before it had to wait
                return False
            if isinstance(error, ServiceFailure | Unauthorized) and error.code is not ErrorCode.STORAGE_FULL:
                raise
            # Without this checkpoint a later attempt repeats some steps; that is all that is lost.
            reason = str(error)
            log.warning("the service did not take a checkpoint of trial %s: %s", upload.key.trial, reason)
        self._contact.made()
        self._outbox.settle_checkpoint(upload, reason)
        self._on_settled()
        return True
