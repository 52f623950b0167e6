"""Executes a grant, a trial or a preflight, and turns every end of it into an outcome."""

from __future__ import annotations

import contextlib
import traceback

import torch

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from worker.protocol import Ended, Start
from worker.trial.channel import AgentGone, Channel
from worker.trial.classify import failure_outcome
from worker.trial.ranks import RankFailed
from worker.trial.tasks.dispatch import dispatch
from worker.trial.tensorboard import run_with_event_files


def execute(start: Start, channel: Channel) -> None:
    """Execute the grant and send its outcome; returns however the task ended."""
    torch.set_num_threads(start.threads)
    with contextlib.suppress(AgentGone):
        channel.send_outcome(Ended(_outcome(start, channel).model_dump(mode="json")))


def _outcome(start: Start, channel: Channel) -> Outcome:
    try:
        grant = Grant.model_validate(start.grant)
        if grant.preflight is not None:
            from worker.trial.preflight import granted  # noqa: PLC0415 - its forests of scikit-learn are slow to load

            return granted.run(grant, grant.preflight, start, channel)
        return run_with_event_files(grant, start, channel, dispatch)
    except AgentGone:
        raise
    except RankFailed as error:
        return error.outcome
    except BaseException as error:  # anything that custom code raises, even SystemExit, becomes its outcome
        traceback.print_exc()
        return failure_outcome(error)
