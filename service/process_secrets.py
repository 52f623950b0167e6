"""Keeps a process's secrets from other processes of its user: out of /proc/PID/environ, and its memory unreadable.

The kernel shows the environment that a process was started with for as long as it lives, whatever the process deletes
of it. So the process replaces itself by one without the secrets, which come through a pipe. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from typing import Never

_DESCRIPTOR = "assayer_secrets_descriptor"
"""The environment variable that tells the second process which pipe to read."""
_PR_SET_DUMPABLE = 4
_MOST_BYTES = 1 << 16
"""What a pipe holds while nobody reads it."""


def take_secrets(names: Sequence[str]) -> dict[str, str]:
    """Take secrets out of this process's environment and return those that are there, by name.

    Call it first in a program, before anything else is loaded: where there are secrets, the program starts again from
    its own command line, once. Afterwards no other process of this user can read this one's memory, environment or
    open files, and it leaves no core dump. On other systems than Linux nothing but `os.environ` changes.
    """
    descriptor = os.environ.pop(_DESCRIPTOR, None)
    secrets = {name: value for name in names if (value := os.environ.pop(name, ""))}
    if not sys.platform.startswith("linux"):
        return secrets
    if secrets and descriptor is None:
        _start_again(secrets)
    _close_to_others()
    return secrets if descriptor is None else _received(int(descriptor)) | secrets


def _start_again(secrets: dict[str, str]) -> Never:
    content = json.dumps(secrets).encode()
    if len(content) > _MOST_BYTES:
        sys.exit(f"{' and '.join(secrets)} together are longer than {_MOST_BYTES} bytes; shorten them")
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    os.set_inheritable(reading, True)
    # The very command line of this process, by the interpreter that it found.
    os.execve(  # noqa: S606 - no shell is wanted
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _DESCRIPTOR: str(reading)}
    )


def _received(descriptor: int) -> dict[str, str]:
    try:
        with open(descriptor, "rb") as pipe:
            secrets: dict[str, str] = json.loads(pipe.read())
    except (OSError, ValueError):
        sys.exit(f"the secrets did not arrive; unset {_DESCRIPTOR}, and start again")
    return secrets


def _close_to_others() -> None:
    """Deny other processes of this user what /proc and ptrace give; root is denied nothing."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
