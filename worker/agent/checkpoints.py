"""The checkpoints on this host: where an attempt keeps its own, how it gets the one to resume from, what is cleared."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.client import Client
from service.client.errors import NotFound
from service.contract.lease import BLOB, FailureClass, Grant, Outcome, ResumePoint
from worker.agent.background import AWAY
from worker.agent.contact import Contact, delays

log = logging.getLogger(__name__)

_LEFTOVER_SECONDS = 86_400.0
"""A trial that this host gave back may come again and find its checkpoint here; after a day it is cleared."""
_POLL_SECONDS = 0.1


class CheckpointUnavailable(Exception):
    """The checkpoint to resume from cannot be had here; `outcome` is what becomes of the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Checkpoints:
    """One directory per attempt under `directory`, `TRIAL/ATTEMPT/`."""

    def __init__(self, directory: Path, client: Client, contact: Contact) -> None:
        self._directory = directory
        self._client = client
        self._contact = contact

    def directory_of(self, grant: Grant) -> Path:
        """Where an attempt saves its checkpoints; nobody else does."""
        directory = self._of_trial(grant.trial) / str(grant.attempt)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def fetch(self, grant: Grant, resume: ResumePoint, is_over: Callable[[], bool]) -> Path | None:
        """Bring the checkpoint to resume from here, waiting for the service where it is away; None when it `is_over`.

        Raises:
            CheckpointUnavailable: it is not where it should be.
        """
        directory = self.directory_of(grant)
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

    def remove(self, trial: str) -> None:
        """Delete what the trial's attempts saved here."""
        for directory in self._of_trial(trial).glob("*/"):
            shutil.rmtree(directory, ignore_errors=True)

    def clear(self, in_use: Collection[str]) -> None:
        """Delete what trials left here that are not in use and were not touched for a day."""
        before = time.time() - _LEFTOVER_SECONDS
        for directory in self._directory.glob("*/*/"):
            trial = directory.parent.name
            if trial not in in_use and directory.stat().st_mtime < before:
                shutil.rmtree(directory, ignore_errors=True)

    def _of_trial(self, trial: str) -> Path:
        return self._directory / trial


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
    place = urlsplit(resume.uri)
    try:
        if place.scheme == "file":
            with Path(unquote(place.path)).open("rb") as file:
                if _write(path, resume, iter(lambda: file.read(1 << 20), b"")):
                    return path
        message = f"the checkpoint at {resume.uri} is not the one that was registered, or cannot be read from here"
    except OSError as error:
        message = f"the checkpoint at {resume.uri} cannot be read here: {error.strerror}"
    raise CheckpointUnavailable(Outcome(result="failed", failure=FailureClass.HOST_FAULT, message=message))


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
