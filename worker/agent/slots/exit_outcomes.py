"""Outcomes of training processes that exited without sending an outcome."""

from __future__ import annotations

from signal import Signals

from service.contract.attempt import FailureClass, MemoryShortage, Outcome
from service.contract.base import TaskKind
from worker.agent.devices import cpu


def not_allowed_outcome(kind: TaskKind, module: str = "") -> Outcome:
    """Return the outcome of a trial whose kind of task, or whose function's module, this worker does not allow."""
    what = f"functions of {module}" if module else f"{kind}s"
    message = f"this worker does not execute {what}; start one with --allow-{kind}s{module and f' {module}'}"
    return Outcome(result="failed", failure=FailureClass.HOST_FAULT, scope="study", message=message)


def hung_outcome(seconds: float) -> Outcome:
    """Return the outcome of a training process that was ended because it made no progress for `seconds`."""
    message = f"the training process reported no step for {seconds:.0f} s and was terminated"
    return Outcome(result="failed", failure=FailureClass.HUNG, message=message)


def exit_outcome(status: int, *, is_short_of_memory: bool = False) -> Outcome:
    """Return the outcome of a training process that exited without sending one.

    Args:
        status: The exit status; -n means killed by signal n.
        is_short_of_memory: Whether the kernel killed processes on this host for lack of memory while the process ran.
    """
    if status == -Signals.SIGKILL and is_short_of_memory:
        return Outcome(
            result="failed",
            failure=FailureClass.OUT_OF_MEMORY,
            message="the training process was killed while the host was out of memory",
            shortage=MemoryShortage(place="host", total_gib=cpu().device.memory_gib),
        )
    if status == -Signals.SIGTERM:
        message = "the training process received SIGTERM"
        return Outcome(result="released", failure=FailureClass.PREEMPTED, message=message)
    if status < 0:
        message = f"the training process was killed by {Signals(-status).name}"
        return Outcome(result="failed", failure=FailureClass.PROCESS_KILLED, message=message)
    message = f"the training process exited with status {status} and sent no outcome"
    return Outcome(result="failed", failure=FailureClass.USER_EXCEPTION, message=message)
