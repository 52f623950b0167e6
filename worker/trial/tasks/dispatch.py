"""Dispatches a grant to its kind of task."""

from __future__ import annotations

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from worker.protocol import Start
from worker.trial.channel import Channel
from worker.trial.classify import UnknownTask
from worker.trial.tasks import command, estimator, function, train


def dispatch(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Execute a task of any kind; raises what the task raises."""
    if grant.fork_at is not None and grant.resume is None:
        message = f"the checkpoint of step {grant.fork_at}, from which this trial forks, no longer exists"
        return Outcome(result="failed", failure=FailureClass.INVALID, message=message)
    match grant.task_kind:
        case TaskKind.TRAIN:
            return train.run(grant, start, channel)
        case TaskKind.ESTIMATOR:
            return estimator.run(grant, start, channel)
        case TaskKind.FUNCTION:
            return function.run(grant, start, channel)
        case TaskKind.COMMAND:
            return command.run(grant, start, channel)
        case TaskKind.EXTERNAL:
            raise UnknownTask("the study has no task; a caller of the service executes its trials, not a worker")
