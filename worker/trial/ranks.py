"""Training on several devices: the training process forks one more process per further device and supervises them.

All processes are in one process group and end together. The process that fails first ends the attempt and determines
its outcome.
"""

from __future__ import annotations

import os
import selectors
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Never, Self, TypeVar

import torch

from service.contract.attempt import Outcome
from worker.training import ProcessGroupError
from worker.training.distributed.group import rendezvous
from worker.trial.classify import failure_outcome
from worker.trial.outcome import end_by_signal

T = TypeVar("T")

_GRACE_SECONDS = 5.0
"""How long this process has to notice itself that another one failed; on GPUs it may wait for that one forever."""


class RankFailed(Exception):
    """Another process of the training failed; its outcome is the attempt's."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def launch(num: int, folder: Path, work: Callable[[], T], on_failure: Callable[[Outcome], None]) -> T:
    """Run `work` in `num` processes at once, of which this is the first.

    Call it before anything has initialised CUDA or started a thread, because a fork copies neither.

    Args:
        num: The number of processes; they share this process's CPU threads.
        folder: Where the file for the rendezvous of the processes is created.
        work: Called in each process.
        on_failure: Called with the outcome of another process that failed, if this process hangs and cannot raise it.

    Returns:
        What `work` returns in this process.

    Raises:
        RankFailed: Another process raised. If another process was killed by a signal, this process ends by it too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, torch.get_num_threads() // num))
    rendezvous_file = folder / "rendezvous"
    rendezvous_file.unlink(missing_ok=True)

    def run_rank(rank: int) -> T:
        with rendezvous(rendezvous_file, rank, num):
            return work()

    peers = [_fork(rank, run_rank) for rank in range(1, num)]
    with _PeerWatch(peers, on_failure) as watch:
        try:
            return run_rank(0)
        except ProcessGroupError:
            watch.end_like_failed_peer()
            raise


@dataclass(frozen=True)
class _PeerProcess:
    """Another process of the training, and the pipe through which it sends the outcome if it fails."""

    pid: int
    outcome_pipe: int


def _fork(rank: int, run_rank: Callable[[int], object]) -> _PeerProcess:
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _run_and_exit(rank, run_rank, write)
    os.close(write)
    return _PeerProcess(pid, read)


def _run_and_exit(rank: int, run_rank: Callable[[int], object], outcome_pipe: int) -> Never:
    try:
        run_rank(rank)
    except ProcessGroupError:
        pass  # another process is the cause
    except BaseException as error:  # nothing may propagate into the first process's code
        traceback.print_exc()
        os.write(outcome_pipe, failure_outcome(error).model_dump_json().encode())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)


class _PeerWatch:
    """A thread that waits for the first other process to fail, and ends this process if it does not end by itself."""

    def __init__(self, peers: Sequence[_PeerProcess], on_failure: Callable[[Outcome], None]) -> None:
        self._peers = peers
        self._on_failure = on_failure
        self._failed = threading.Event()
        self._closed = threading.Event()
        self._cause: Outcome | int | None = None
        """The outcome of the process that failed first, or the number of the signal that ended it."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch_peers, name="ranks", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()

    def end_like_failed_peer(self) -> None:
        """End by the signal that ended another process, or raise RankFailed with its outcome; return if none failed."""
        self._failed.wait(_GRACE_SECONDS)
        match self._cause:
            case int() as number:
                end_by_signal(number)
            case Outcome() as outcome:
                raise RankFailed(outcome)

    def _watch_peers(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.outcome_pipe, selectors.EVENT_READ, peer)
            while selector.get_map():
                for key, _ in selector.select():
                    selector.unregister(key.fileobj)
                    if (cause := _cause(key.data)) is not None:
                        self._cause = cause
                        self._failed.set()
                        if not self._closed.wait(2 * _GRACE_SECONDS):
                            self._end(cause)
                        return

    def _end(self, cause: Outcome | int) -> None:
        if isinstance(cause, int):
            end_by_signal(cause)
        else:
            self._on_failure(cause)
        os._exit(1)


def _cause(peer: _PeerProcess) -> Outcome | int | None:
    """Return the outcome or signal that another process failed with, after its pipe closed; None if it succeeded."""
    with os.fdopen(peer.outcome_pipe, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(peer.pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return Outcome.model_validate_json(content) if content else None
