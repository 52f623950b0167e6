"""From an exception in a task to the outcome that the service hears; the only place that decides failure classes."""

from __future__ import annotations

import traceback

import torch

from service.contract.lease import FailureClass, Outcome
from worker.training import ConfigError, Diverged, Infeasible

_MAX_MESSAGE = 500
_MAX_TRACEBACK = 20_000
"""Characters; the end is kept, where the cause stands. The whole of it is in the attempt's stderr file."""


class UnknownTask(Exception):
    """The grant asks for a kind of task that this worker does not carry out."""


def failure_class(error: BaseException) -> FailureClass:
    """The class of a failure, told from its exception alone."""
    match error:
        case Infeasible():
            return FailureClass.INFEASIBLE
        case ConfigError() | UnknownTask():
            return FailureClass.INVALID
        case Diverged():
            return FailureClass.DIVERGED
        case torch.OutOfMemoryError() | MemoryError():
            return FailureClass.OUT_OF_MEMORY
        case RuntimeError() if "can't allocate memory" in str(error):  # how torch's CPU allocator says it
            return FailureClass.OUT_OF_MEMORY
        case _:
            return FailureClass.USER_EXCEPTION


def failed(error: BaseException) -> Outcome:
    """The outcome of a task that raised: class, one sentence, and the traceback where the code is at fault."""
    failure = failure_class(error)
    if failure in (FailureClass.INFEASIBLE, FailureClass.INVALID, FailureClass.DIVERGED):
        return Outcome(result="failed", failure=failure, message=str(error)[:_MAX_MESSAGE])
    first_line = (str(error).splitlines() or [""])[0]
    name = type(error).__name__
    return Outcome(
        result="failed",
        failure=failure,
        message=(f"{name}: {first_line}" if first_line else name)[:_MAX_MESSAGE],
        traceback="".join(traceback.format_exception(error))[-_MAX_TRACEBACK:],
    )
