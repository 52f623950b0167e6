"""The state directory of one worker, for its outbox, logs and attempts; a lock allows one live agent per directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_MAX_WORKERS = 100


class DirectoryError(Exception):
    """The directory cannot be used; the message is one sentence with the cause and the remedy."""


def acquire(state_dir: Path, name: str, *, exactly: bool) -> tuple[str, Path]:
    """Lock and return the directory of worker `name`, or of the first of name-2, name-3, … that is free on this host.

    The lock lasts as long as the process. A directory of an earlier worker is reused, together with the unsent messages
    in its outbox.

    Args:
        state_dir: The directory that contains the workers' directories.
        name: The requested worker name.
        exactly: Whether to accept no other name.

    Returns:
        The worker's name and its directory.

    Raises:
        DirectoryError: The directory is not writable, or live workers use all of these names.
    """
    for candidate in [name] if exactly else [name, *(f"{name}-{number}" for number in range(2, _MAX_WORKERS + 1))]:
        directory = state_dir / candidate
        try:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)  # not the state directory: it may be shared, like /tmp
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DirectoryError(f"cannot write to {directory} ({error.strerror}); name another --state-dir") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return candidate, directory
    if exactly:
        raise DirectoryError(f"a worker named {name} already works in {state_dir}; choose another --name")
    raise DirectoryError(f"{_MAX_WORKERS} workers already work in {state_dir}; name another --state-dir")
