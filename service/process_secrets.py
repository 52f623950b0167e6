"""Hides a process's secrets from other processes of its user: from /proc/PID/environ and from reads of its memory.

The kernel shows the environment that a process was started with for the process's whole life, even after the process
deletes a variable. So the process replaces itself by one that is started without the secrets and gets them through a
pipe. Uses the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from typing import Never

_DESCRIPTOR = "assayer_secrets_descriptor"
"""The environment variable with the pipe's descriptor, which the second process reads."""
_PR_SET_DUMPABLE = 4
_MOST_BYTES = 1 << 16
"""The capacity of a pipe that nobody reads yet."""


def take_secrets(names: Sequence[str]) -> dict[str, str]:
    """Remove secrets from this process's environment and return those that are set, by name.

    Call it first in a program, before anything else is loaded. If there are secrets, the program restarts once from its
    own command line. Afterwards no other process of this user can read this one's memory, environment or open files,
    and it leaves no core dump. On systems other than Linux only `os.environ` changes.
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
    # Repeat this process's exact command line with the same interpreter.
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
    """Deny other processes of this user access by /proc and ptrace. Root keeps its access."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
