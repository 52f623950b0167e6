"""Dispatches a grant to its kind of task, and turns every end of the task into an outcome."""

from __future__ import annotations

import contextlib
import traceback

import torch

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from worker.protocol import Ended, Start
from worker.trial.channel import AgentGone, Channel
from worker.trial.classify import UnknownTask, failure_outcome
from worker.trial.ranks import RankFailed
from worker.trial.tasks import command, function, train
from worker.trial.tensorboard import run_with_event_files


def execute(start: Start, channel: Channel) -> None:
    """Execute the grant and send its outcome; returns however the task ended."""
    torch.set_num_threads(start.threads)
    with contextlib.suppress(AgentGone):
        channel.send_outcome(Ended(_outcome(start, channel).model_dump(mode="json")))


def _outcome(start: Start, channel: Channel) -> Outcome:
    try:
        return run_with_event_files(Grant.model_validate(start.grant), start, channel, dispatch)
    except AgentGone:
        raise
    except RankFailed as error:
        return error.outcome
    except BaseException as error:  # anything that custom code raises, even SystemExit, becomes its outcome
        traceback.print_exc()
        return failure_outcome(error)


def dispatch(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Execute a task of any kind; raises what the task raises."""
    if grant.fork_at is not None and grant.resume is None:
        message = f"the checkpoint of step {grant.fork_at}, from which this trial forks, no longer exists"
        return Outcome(result="failed", failure=FailureClass.INVALID, message=message)
    match grant.task_kind:
        case TaskKind.TRAIN:
            return train.run(grant, start, channel)
        case TaskKind.FUNCTION:
            return function.run(grant, start, channel)
        case TaskKind.COMMAND:
            return command.run(grant, start, channel)
        case TaskKind.EXTERNAL:
            raise UnknownTask("the study has no task; a caller of the service executes its trials, not a worker")
