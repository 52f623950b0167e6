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
from worker.agent.checkpoints.shared_directory import (
    CheckpointReplaced,
    SharedDirectory,
    copy_to_shared,
    delete_old,
    path_from_uri,
)
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox, Upload
from worker.agent.threads import SenderThread
from worker.protocol import CheckpointSaved

log = logging.getLogger(__name__)

_MAX_WARNING = 500
_REPORTS_SECONDS = 0.1
"""How often to check whether the service has accepted the reports before a checkpoint."""


class CheckpointUploader(SenderThread):
    """Uploads in a thread separate from the sender, so that no report waits behind a large file.

    `on_upload_end` is called after each checkpoint that was registered or given up. With a `shared` directory,
    checkpoints are copied there instead of uploaded.
    """

    def __init__(
        self,
        client: Client,
        outbox: Outbox,
        service_status: ServiceStatus,
        on_upload_end: Callable[[], None],
        shared: SharedDirectory | None = None,
    ) -> None:
        super().__init__("uploader", service_status)
        self._client = client
        self._outbox = outbox
        self._on_upload_end = on_upload_end
        self._shared = shared

    def add(self, key: AttemptKey, saved: CheckpointSaved) -> None:
        """Store a checkpoint that the attempt has saved, to be uploaded as soon as possible."""
        uri = f"{BLOB}{saved.sha256}" if self._shared is None else self._shared.uri_of(key, saved)
        if self._outbox.add_checkpoint(key, saved, uri):
            self.wake()

    def _send_next(self) -> float | None:
        uploads = self._outbox.uploads()
        num_done = sum(self._upload(upload) for upload in uploads if not self._closed)
        if num_done:
            return 0.0
        return _REPORTS_SECONDS if uploads else None

    def _upload(self, upload: Upload) -> bool:
        """Upload a checkpoint, and register it once the reports before it are accepted; return whether it is done."""
        reason, target = None, path_from_uri(upload.request.uri)
        try:
            if not self._register(upload, target):
                return False
        except CheckpointReplaced as error:
            reason = str(error)
        except OSError as error:
            reason = f"{target or upload.path}: {error.strerror}"
            self._warn(upload, reason)
        except ApiError as error:
            reason = str(error)
            if error.code is ErrorCode.STORAGE_FULL:
                self._warn(upload, reason)
            elif isinstance(error, ServiceFailure | Unauthorized):
                raise
            else:
                log.warning("the service refused a checkpoint of trial %s: %s", upload.key.trial, reason)
        if reason is not None and target is not None:
            target.unlink(missing_ok=True)
        self._service_status.up()
        self._outbox.ack_checkpoint(upload, reason)
        self._on_upload_end()
        return True

    def _register(self, upload: Upload, target: Path | None) -> bool:
        """Upload or copy the file, then register it; return False if reports before it are unsent."""
        file, sha256 = Path(upload.path), upload.request.sha256
        if target is not None:
            if upload.is_next:  # copy only a checkpoint that is registered right after
                copy_to_shared(file, target, sha256)
        elif not self._client.has_blob(sha256):
            try:
                content = file.open("rb")
            except OSError as error:
                raise CheckpointReplaced(f"cannot read the file: {error}") from None
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
        if target is not None:
            delete_old(target)
        return True

    def _warn(self, upload: Upload, reason: str) -> None:
        """Warn in the log and at the trial that a checkpoint is not kept.

        Training continues, and later checkpoints are tried.
        """
        log.warning("a checkpoint of trial %s was not saved: %s", upload.key.trial, reason)
        message = f"a checkpoint was not saved: {reason}; a later attempt resumes from the last saved one"
        with suppress(Conflict, NotFound, Invalid, PermanentFailure):  # the trial may be superseded, or its row damaged
            self._client.warn(*upload.key, WarningRequest(nonce=upload.request.nonce, message=message[:_MAX_WARNING]))
