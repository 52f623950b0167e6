"""The checkpoint to resume from: this host's own copy where it is the same, else a shared file, or the service's."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from service.client import Client
from service.client.errors import NotFound
from service.contract.lease import BLOB, FailureClass, Grant, Outcome, ResumePoint
from worker.agent.background import AWAY
from worker.agent.contact import Contact, delays
from worker.agent.disk import Disk
from worker.agent.held import AttemptKey
from worker.agent.shared import path_of

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1


class CheckpointUnavailable(Exception):
    """The checkpoint to resume from cannot be had here; `outcome` is what becomes of the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Checkpoints:
    """Brings an attempt the checkpoint that its grant names: this host's own copy, a shared file, or the service's."""

    def __init__(self, disk: Disk, client: Client, contact: Contact) -> None:
        self._disk = disk
        self._client = client
        self._contact = contact

    def fetch(self, grant: Grant, resume: ResumePoint, is_over: Callable[[], bool]) -> Path | None:
        """Bring the checkpoint to resume from here, waiting for the service where it is away; None when it `is_over`.

        Raises:
            CheckpointUnavailable: it is not where it should be.
        """
        directory = self._disk.folder_of(AttemptKey(grant.trial, grant.attempt))
        path = directory / "resume.pt"
        if any(_copy(known, path, resume) for known in directory.parent.glob("*/step-*.pt")):
            return path
        if not resume.uri.startswith(BLOB):
            return _read_shared(path, resume)
        waits = delays()
        while not is_over():
            try:
                if _write(path, resume, self._client.get_blob(resume.sha256)):
                    return path
                log.warning("the checkpoint of trial %s came damaged; asking again", grant.trial)
            except AWAY:
                self._contact.lost()
            except NotFound as error:
                # Free of charge: the service gives the next attempt an older one, or none.
                message = f"its checkpoint is gone: {error}"
                raise CheckpointUnavailable(
                    Outcome(result="released", failure=FailureClass.PREEMPTED, message=message)
                ) from None
            _wait(next(waits), is_over)
        return None


def _copy(known: Path, path: Path, resume: ResumePoint) -> bool:
    """Take a file of this host for the checkpoint, if it is the same."""
    try:
        if known.stat().st_size != resume.size:
            return False
        with known.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != resume.sha256:
                return False
        path.unlink(missing_ok=True)
        os.link(known, path)
    except OSError:  # it was cleared this instant
        return False
    return True


def _read_shared(path: Path, resume: ResumePoint) -> Path:
    """Take the checkpoint from a directory that workers share."""
    source = path_of(resume.uri)
    try:
        if source is not None:
            with source.open("rb") as file:
                if _write(path, resume, iter(lambda: file.read(1 << 20), b"")):
                    return path
        why = "is not the one that was registered"
    except OSError as error:
        why = f"cannot be read here ({error.strerror}); share its directory with this worker too, by --checkpoints"
    message = f"the checkpoint at {resume.uri} {why}"
    outcome = Outcome(result="failed", failure=FailureClass.HOST_FAULT, message=message, unreadable=resume.uri)
    raise CheckpointUnavailable(outcome)


def _write(path: Path, resume: ResumePoint, pieces: Iterable[bytes]) -> bool:
    """Write a file; False, and no file, if it is not the checkpoint."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() == resume.sha256:
        return True
    path.unlink()
    return False


def _wait(seconds: float, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not is_over() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
