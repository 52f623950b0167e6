"""Uploads checkpoints from a background thread, and registers each once the reports before it have been accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.client import Client
from service.client.errors import ApiError, Conflict, Invalid, NotFound, PermanentFailure, ServiceFailure, Unauthorized
from service.contract.attempt import BLOB
from service.contract.problem import ErrorCode
from service.contract.provenance import WarningRequest
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.shared_directory import CheckpointReplaced, SharedDirectory, keep_newest, path_of, share
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox, Upload
from worker.agent.threads import SenderThread
from worker.protocol import CheckpointSaved

log = logging.getLogger(__name__)

_MAX_WARNING = 500
_REPORTS_SECONDS = 0.1
"""How often to check whether the service has accepted the reports before a checkpoint."""


class Uploader(SenderThread):
    """Uploads in a thread separate from the sender, so that no report waits behind a large file.

    `on_settled` is called after each checkpoint that was registered or given up. With a `shared` directory, checkpoints
    are copied there instead of uploaded.
    """

    def __init__(
        self,
        client: Client,
        outbox: Outbox,
        contact: ServiceStatus,
        on_settled: Callable[[], None],
        shared: SharedDirectory | None = None,
    ) -> None:
        super().__init__("uploader", contact)
        self._client = client
        self._outbox = outbox
        self._on_settled = on_settled
        self._shared = shared

    def checkpoint(self, key: AttemptKey, saved: CheckpointSaved) -> None:
        """Store a checkpoint that the attempt has saved, to be uploaded as soon as possible."""
        uri = f"{BLOB}{saved.sha256}" if self._shared is None else self._shared.uri_of(key, saved)
        if self._outbox.add_checkpoint(key, saved, uri):
            self.wake()

    def _send_next(self) -> float | None:
        uploads = self._outbox.uploads()
        num_settled = sum(self._settle(upload) for upload in uploads if not self._closed)
        if num_settled:
            return 0.0
        return _REPORTS_SECONDS if uploads else None

    def _settle(self, upload: Upload) -> bool:
        """Upload the checkpoint, and register it if its turn has come; return whether nothing is left to do for it."""
        reason, place = None, path_of(upload.request.uri)
        try:
            if not self._register(upload, place):
                return False
        except CheckpointReplaced as error:
            reason = str(error)
        except OSError as error:
            reason = f"{place or upload.path}: {error.strerror}"
            self._warn(upload, reason)
        except ApiError as error:
            reason = str(error)
            if error.code is ErrorCode.STORAGE_FULL:
                self._warn(upload, reason)
            elif isinstance(error, ServiceFailure | Unauthorized):
                raise
            else:
                log.warning("the service did not take a checkpoint of trial %s: %s", upload.key.trial, reason)
        if reason is not None and place is not None:
            place.unlink(missing_ok=True)
        self._contact.up()
        self._outbox.ack_checkpoint(upload, reason)
        self._on_settled()
        return True

    def _register(self, upload: Upload, place: Path | None) -> bool:
        """Upload or copy the file, then register it; return False if the checkpoint's turn has not come."""
        file, sha256 = Path(upload.path), upload.request.sha256
        if place is not None:
            if upload.is_next:  # copy only a checkpoint that is registered right after
                share(file, place, sha256)
        elif not self._client.has_blob(sha256):
            try:
                content = file.open("rb")
            except OSError as error:
                raise CheckpointReplaced(f"its file cannot be read: {error}") from None
            with content:
                self._client.put_blob(sha256, content)
        if not upload.is_next:
            return False
        try:
            self._client.checkpoint(*upload.key, upload.request)
        except ApiError as error:
            if error.code is ErrorCode.BLOB_MISSING:  # the service deleted the unreferenced blob meanwhile
                return False
            raise
        if place is not None:
            keep_newest(place)
        return True

    def _warn(self, upload: Upload, reason: str) -> None:
        """Warn in the log and at the trial that a checkpoint is not kept.

        Training continues, and later checkpoints are tried.
        """
        log.warning("a checkpoint of trial %s is not kept: %s", upload.key.trial, reason)
        message = f"checkpoints were not kept: {reason}; a later attempt begins with the last one that was"
        with suppress(Conflict, NotFound, Invalid, PermanentFailure):  # the trial may be superseded, or its row damaged
            self._client.warn(*upload.key, WarningRequest(nonce=upload.request.nonce, message=message[:_MAX_WARNING]))
