"""Runs calls in several forked processes at once, so that nothing is imported again."""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0


def in_processes(
    num: int, folder: Path, call: Callable[[int], Any], *, patience_seconds: float = PATIENCE_SECONDS
) -> list[Any]:
    """What `call` returns in each of `num` processes, called with its number; `folder` is for their use.

    Where it raises, that is the error in words; of a process that was killed, its exit status. One that does not end
    within `patience_seconds` is killed.
    """
    pids = [_forked(folder / f"answer-{number}", call, number) for number in range(num)]
    deadline = time.monotonic() + patience_seconds
    answers = []
    for number, pid in enumerate(pids):
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        answer = folder / f"answer-{number}"
        # The processes are this test's own.
        answers.append(pickle.loads(answer.read_bytes()) if answer.exists() else os.waitstatus_to_exitcode(ended[1]))
    return answers


def _forked(answer: Path, call: Callable[[int], Any], number: int) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest's threads hold nothing that is needed there
        pid = os.fork()
    if pid:
        return pid
    try:
        try:
            said = call(number)
        except Exception as error:
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}"
        answer.write_bytes(pickle.dumps(said))
    finally:
        os._exit(0)
