"""Fetches the checkpoints that an attempt needs: a local copy with the same content, a shared file, or a download."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from service.client import Client
from service.client.download import write_verified
from service.client.errors import NotFound
from service.contract.attempt import BLOB, FailureClass, Outcome
from service.contract.claim import Artifact, Grant, ResumePoint
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.checkpoints.shared_directory import path_from_uri
from worker.agent.connectivity import ServiceStatus, backoff
from worker.agent.threads import RETRYABLE

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1


class CheckpointUnavailable(Exception):
    """A checkpoint that the attempt needs cannot be fetched here; `outcome` is the attempt's outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Checkpoints:
    """Fetches the checkpoints that a grant names, from this host's disk, a shared directory or the service."""

    def __init__(self, storage: LocalStorage, client: Client, service_status: ServiceStatus) -> None:
        self._storage = storage
        self._client = client
        self._service_status = service_status
        self._teacher_lock = threading.Lock()

    def fetch(self, grant: Grant, resume: ResumePoint, is_over: Callable[[], bool]) -> Path | None:
        """Fetch the checkpoint to resume from, retrying while the service cannot be reached.

        Returns:
            The file, or None if `is_over` returned True first.

        Raises:
            CheckpointUnavailable: The checkpoint is gone from the service, or the shared file is unreadable or
                different.
        """
        directory = self._storage.checkpoint_folder(AttemptKey(grant.trial, grant.attempt))
        path = directory / "resume.pt"
        if any(_link_if_same(candidate, path, resume) for candidate in directory.parent.glob("*/step-*.pt")):
            return path
        if not resume.uri.startswith(BLOB):
            return _read_shared(path, resume)
        return self._download(grant, resume, path, is_over)

    def fetch_teacher(self, grant: Grant, teacher: Artifact, is_over: Callable[[], bool]) -> Path | None:
        """Fetch the teacher's checkpoint, downloading it once for all attempts on this host.

        Returns:
            The file, or None if `is_over` returned True first.

        Raises:
            CheckpointUnavailable: The service no longer has the checkpoint.
        """
        while not self._teacher_lock.acquire(
            timeout=_POLL_SECONDS
        ):  # another slot is downloading, perhaps the same file
            if is_over():
                return None
        try:
            path = self._storage.checkpoint_folder(teacher_key(teacher)) / "teacher.pt"
            if not _matches(path, teacher):
                return self._download(grant, teacher, path, is_over)
            for touched in (path, path.parent):
                os.utime(touched)  # the disk budget deletes the least recently used first
            return path
        finally:
            self._teacher_lock.release()

    def _download(self, grant: Grant, artifact: Artifact, path: Path, is_over: Callable[[], bool]) -> Path | None:
        """Download a checkpoint from the service, retrying until it arrives intact or `is_over` returns True."""
        waits = backoff()
        while not is_over():
            try:
                if self._client.save_blob(artifact.sha256, path):
                    return path
                log.warning("checksum mismatch in a checkpoint for trial %s; downloading it again", grant.trial)
            except RETRYABLE:
                self._service_status.down()
            except NotFound as error:
                # A released attempt costs no retry: the service grants the next attempt an older checkpoint, or none.
                message = f"the service no longer has its checkpoint: {error}"
                raise CheckpointUnavailable(
                    Outcome(result="released", failure=FailureClass.PREEMPTED, message=message)
                ) from None
            _wait(next(waits), is_over)
        return None


def teacher_key(teacher: Artifact) -> AttemptKey:
    """Return the key under which the disk stores a teacher's checkpoint, so that the disk budget covers it too."""
    return AttemptKey(teacher.sha256, 0)


def _matches(path: Path, artifact: Artifact) -> bool:
    """Return whether the file exists and has the size and hash of the artifact."""
    try:
        if path.stat().st_size != artifact.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
    except OSError:  # there is no such file, or it was deleted just now
        return False


def _link_if_same(candidate: Path, path: Path, resume: ResumePoint) -> bool:
    """Link a local file as the checkpoint if it has the same content; return whether it has."""
    if not _matches(candidate, resume):
        return False
    try:
        path.unlink(missing_ok=True)
        os.link(candidate, path)
    except OSError:  # the file was deleted just now
        return False
    return True


def _read_shared(path: Path, resume: ResumePoint) -> Path:
    """Copy the checkpoint from a directory that workers share."""
    source = path_from_uri(resume.uri)
    try:
        if source is not None:
            with source.open("rb") as file:
                if write_verified(path, resume.sha256, iter(lambda: file.read(1 << 20), b"")):
                    return path
        problem = "is not the registered one"
    except OSError as error:
        problem = f"cannot be read here ({error.strerror}); share its directory with this worker by --checkpoints"
    message = f"the checkpoint at {resume.uri} {problem}"
    # The directory holds this study's checkpoints; other studies may have theirs elsewhere.
    outcome = Outcome(
        result="failed", failure=FailureClass.HOST_FAULT, scope="study", message=message, unreadable=resume.uri
    )
    raise CheckpointUnavailable(outcome)


def _wait(seconds: float, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not is_over() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
