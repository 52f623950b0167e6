"""The agent: starts and stops this worker's slots and the background threads that they share."""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from service.client import Client
from service.contract.attempt import FailureClass, FinishReply, Outcome
from service.contract.trial import TrialState
from worker.agent.agent_context import AgentContext, Lifetime, ServiceLink, Storage, Uploads, WorkerIdentity
from worker.agent.agent_settings import AcceptedWork, ProcessSettings, SlotPlan, StorageSettings
from worker.agent.attempts import ActiveAttempts, AttemptKey
from worker.agent.checkpoints.fetch import Checkpoints, teacher_key
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.checkpoints.shared_directory import SharedDirectory
from worker.agent.connectivity import ServiceStatus
from worker.agent.heartbeat import Heartbeat
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.slots.slot import Slot
from worker.agent.time_limit import TimeLimit
from worker.agent.uploads.checkpoint_upload import CheckpointUploader
from worker.agent.uploads.log_upload import LogUploader
from worker.agent.uploads.prediction_upload import PredictionUploader

log = logging.getLogger(__name__)

_OPEN = frozenset({TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED})
_DRAIN_SECONDS = 3.0
"""How long a stopping worker waits for its training processes to save a checkpoint from which the trials resume."""
_FLUSH_SECONDS = 5.0
"""How long a stopping worker tries to send its outbox; the next worker on this host sends the rest."""


class Agent:
    """Works for one service under one worker name.

    Args:
        client: The connection to the service.
        name: The worker's name.
        slots: The slots, each with its devices and CPU threads.
        work: The trials to claim.
        processes: The settings of training processes.
        storage: Where files are kept.
        work_seconds: How long to work; None: until stopped.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        slots: Sequence[SlotPlan],
        work: AcceptedWork,
        processes: ProcessSettings,
        storage: StorageSettings,
        work_seconds: float | None = None,
    ) -> None:
        self._time_limit = TimeLimit(work_seconds)
        self._stopping = threading.Event()
        self._attempts = ActiveAttempts()
        status = ServiceStatus(client.server)
        self._outbox = Outbox(storage.directory / "outbox.sqlite")
        self._storage = LocalStorage(storage.directory / "attempts", storage.disk_bytes)
        shared = SharedDirectory(storage.shared_directory) if storage.shared_directory is not None else None
        self._shared_directory = shared
        self._sender = Sender(client, self._outbox, self._attempts, status, self._delete_checkpoints)
        self._heartbeat = Heartbeat(client, name, self._attempts, status)
        self._uploads = Uploads(
            checkpoints=CheckpointUploader(client, self._outbox, status, self._sender.wake, shared),
            predictions=PredictionUploader(client, self._outbox, self._storage, status),
            logs=LogUploader(client, self._outbox, self._storage, status),
        )
        context = AgentContext(
            identity=WorkerIdentity(
                name=name,
                host=socket.gethostname(),
                slots={plan.name: [local.device for local in plan.devices] for plan in slots},
                directories=[shared.uri] if shared is not None else [],
            ),
            work=work,
            processes=processes,
            service=ServiceLink(client, status, self._heartbeat, self._outbox, self._sender),
            uploads=self._uploads,
            storage=Storage(
                directory=storage.directory,
                attempts=self._storage,
                checkpoints=Checkpoints(self._storage, client, status),
                fit_to_budget=self._fit_to_budget,
            ),
            lifetime=Lifetime(self._stopping, self._time_limit),
        )
        self._slots = [Slot(plan, context) for plan in slots]

    def work(self) -> None:
        """Execute trials until `stop` is called, the time is over or, with `until_done`, the studies are done.

        Raises:
            WorkerRefused: The service refuses this worker.
            ZygoteFailed: Training processes cannot start on this host, or not with these modules.
        """
        if num_abandoned := self._outbox.finish_abandoned():
            log.warning("gave back %d trials of an earlier worker that died on this host", num_abandoned)
        self._storage.clear(self._outbox.trials())
        self._fit_to_budget()
        uploads = self._uploads
        with self._sender, uploads.checkpoints, self._heartbeat, uploads.logs, uploads.predictions:
            with ThreadPoolExecutor(len(self._slots), thread_name_prefix="slot") as pool:
                slots = [pool.submit(slot.work) for slot in self._slots]
                self._wait(slots)
                if any(slot.done() and slot.exception() for slot in slots):
                    self.stop()
            if not self._sender.wait_until_sent(None, _FLUSH_SECONDS):
                log.warning("some messages to the service are unsent; the next worker on this host sends them")
            elif not uploads.logs.wait_until_sent(_FLUSH_SECONDS):
                log.warning("some output of trials is not uploaded; it stays on this host")
            elif not uploads.predictions.wait_until_sent(_FLUSH_SECONDS):
                log.warning("some predictions are not uploaded; the next worker on this host uploads them")
        for slot in slots:
            slot.result()

    def _wait(self, slots: Sequence[Future[None]]) -> None:
        """Wait for the slots. When the worker's time is over, give the running trials back."""
        seconds = self._time_limit.seconds_to_drain
        unfinished = wait(slots, seconds if seconds < math.inf else None, FIRST_EXCEPTION).not_done
        if unfinished and self._time_limit.seconds_to_drain <= 0:
            log.info("the worker's time is over: giving the running trials back to the service")
            self.stop()

    def stop(self) -> None:
        """Stop claiming and give the running trials back, so that `work` returns; a signal handler may call this."""
        self._stopping.set()
        for attempt in self._attempts.all():
            attempt.release("the worker was stopped", _DRAIN_SECONDS)

    def abandon(self) -> None:
        """Record the running trials as released without waiting for them, right before the process exits.

        The next worker on this host sends these outcomes.
        """
        for attempt in self._attempts.all():
            outcome = Outcome(result="released", failure=FailureClass.PREEMPTED, message="the worker was stopped")
            self._outbox.add_outcome(attempt.key, outcome)

    def _delete_checkpoints(self, key: AttemptKey, reply: FinishReply) -> None:
        """Delete the checkpoints of a finished trial; keep those of an open one, which may resume on this host."""
        if reply.trial_state in _OPEN:
            return
        self._storage.remove_trial(key.trial)
        if self._shared_directory is not None:
            self._shared_directory.remove_trial(key.trial)

    def _fit_to_budget(self) -> None:
        """Delete checkpoints beyond the disk budget, except those of active attempts and of their teachers."""
        attempts = self._attempts.all()
        in_use = {attempt.key for attempt in attempts}
        in_use |= {teacher_key(attempt.grant.teacher) for attempt in attempts if attempt.grant.teacher is not None}
        self._storage.fit(in_use, self._outbox.unsent_checkpoints())
