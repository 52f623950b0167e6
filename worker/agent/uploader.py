"""One thread that uploads checkpoints and registers them once the reports before them have been taken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from service.client import Client
from service.client.errors import ApiError, ServiceFailure, ServiceUnreachable, Unauthorized
from service.contract.problem import ErrorCode
from worker.agent.contact import Contact, delays
from worker.agent.held import AttemptKey
from worker.agent.outbox import Outbox, Upload
from worker.protocol import Checkpointed

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_REPORTS_SECONDS = 0.1
"""How often it is asked whether the reports before a checkpoint have been taken."""


class Uploader:
    """Apart from the sender, so that no report waits behind a large file; `on_settled` hears that one is dealt with."""

    def __init__(self, client: Client, outbox: Outbox, contact: Contact, on_settled: Callable[[], None]) -> None:
        self._client = client
        self._outbox = outbox
        self._contact = contact
        self._on_settled = on_settled
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._changed.set()
        self._thread.join(_CLOSE_SECONDS)  # what hangs is left behind: the next agent uploads it

    def checkpoint(self, key: AttemptKey, saved: Checkpointed) -> None:
        """Keep in mind that the attempt has saved a checkpoint, and upload it as soon as may be."""
        if self._outbox.add_checkpoint(key, saved):
            self._changed.set()

    def _work(self) -> None:
        outage = delays()
        while not self._closed.is_set():
            self._changed.clear()
            uploads = self._outbox.uploads()
            try:
                num_settled = sum(self._settle(upload) for upload in uploads if not self._closed.is_set())
            except (ServiceUnreachable, ServiceFailure, Unauthorized):
                self._contact.lost()
                self._closed.wait(next(outage))
                continue
            outage = delays()
            if uploads and not num_settled:
                self._closed.wait(_REPORTS_SECONDS)
            elif not uploads:
                self._changed.wait()

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
