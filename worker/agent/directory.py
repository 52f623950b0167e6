"""The directory of one worker, for its outbox, its logs and its attempts' output; one live agent per directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_MAX_WORKERS = 100


class DirectoryError(Exception):
    """The directory cannot be used; says why and what to do in one sentence."""


def take(state_dir: Path, name: str, *, exactly: bool) -> tuple[str, Path]:
    """Take the directory of worker `name`, or of the first of name-2, name-3, … whose name is free on this host.

    The lock lasts as long as the process. With `exactly` no other name will do. A name that an earlier worker left is
    taken up again, and with it whatever its outbox still holds.
    """
    for candidate in [name] if exactly else [name, *(f"{name}-{number}" for number in range(2, _MAX_WORKERS + 1))]:
        directory = state_dir / candidate
        try:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)  # this one alone: the state directory may be shared, as /tmp
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
