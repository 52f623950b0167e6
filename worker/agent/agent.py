"""The agent: starts and stops this worker's slots and the background threads that they share."""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import MappingProxyType

from service.client import Client
from service.contract.attempt import FailureClass, FinishReply, Outcome
from service.contract.base import TaskKind
from service.contract.trial import TrialState
from worker.agent.agent_context import AgentContext, SlotPlan
from worker.agent.attempts import ActiveAttempts, AttemptKey
from worker.agent.checkpoints.fetch import Checkpoints, teacher_key
from worker.agent.checkpoints.local_storage import Disk
from worker.agent.checkpoints.shared_directory import SharedDirectory
from worker.agent.connectivity import ServiceStatus
from worker.agent.heartbeat import Heartbeat
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.slots.slot import Slot
from worker.agent.slots.watchdog import PATIENCE_SECONDS
from worker.agent.time_limit import TimeLimit
from worker.agent.uploads.checkpoint_upload import Uploader
from worker.agent.uploads.log_upload import LogSender
from worker.agent.uploads.prediction_upload import PredictionsSender

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
        studies: Names of the studies to claim trials of; empty: all.
        until_done: Whether to end when these studies are done.
        directory: The worker's own directory, which holds its outbox, its logs and its attempts' files.
        checkpoint_seconds: The shortest time between two checkpoints of a training.
        disk_bytes: Disk budget for checkpoints, in bytes.
        shared_directory: Where checkpoints are kept; None uploads them to the service.
        tensorboard: Where TensorBoard event files are written; None writes none.
        labels: Labels that studies may require.
        work_seconds: How long to work; None: until stopped.
        tasks: The kinds of task that may be executed.
        functions: Modules and packages whose functions may be called; None: any.
        modules: Custom modules to register.
        pass_env: Environment variables that training processes see beside the default ones.
        umask: The umask of training processes; None: that of this process.
        readable: Folders below which the paths in a training configuration must lie; None: any path is allowed.
        patience_seconds: How long a training process may always take for one step.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        slots: Sequence[SlotPlan],
        studies: Sequence[str],
        until_done: bool,
        directory: Path,
        checkpoint_seconds: float,
        disk_bytes: int,
        shared_directory: Path | None = None,
        tensorboard: Path | None = None,
        labels: Mapping[str, str] = MappingProxyType({}),
        work_seconds: float | None = None,
        tasks: Sequence[TaskKind] = (TaskKind.TRAIN,),
        functions: Sequence[str] | None = None,
        modules: Sequence[str] = (),
        pass_env: Sequence[str] = (),
        umask: int | None = None,
        readable: Sequence[Path] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._work_time = TimeLimit(work_seconds)
        self._outbox = Outbox(directory / "outbox.sqlite")
        self._held = ActiveAttempts()
        self._stopping = threading.Event()
        contact = ServiceStatus(client.server)
        self._disk = Disk(directory / "attempts", disk_bytes)
        self._shared = SharedDirectory(shared_directory) if shared_directory is not None else None
        self._sender = Sender(client, self._outbox, self._held, contact, self._finished)
        self._uploader = Uploader(client, self._outbox, contact, self._sender.wake, self._shared)
        self._leasekeeper = Heartbeat(client, name, self._held, contact)
        self._logs = LogSender(client, self._outbox, self._disk, contact)
        self._predictions = PredictionsSender(client, self._outbox, self._disk, contact)
        shared = AgentContext(
            client=client,
            worker=name,
            host=socket.gethostname(),
            studies=studies,
            tasks=tasks,
            functions=functions,
            modules=modules,
            pass_env=pass_env,
            umask=umask,
            slots={plan.name: [each.device for each in plan.devices] for plan in slots},
            until_done=until_done,
            directory=directory,
            outbox=self._outbox,
            sender=self._sender,
            uploader=self._uploader,
            disk=self._disk,
            fit_disk=self._fit_disk,
            checkpoints=Checkpoints(self._disk, client, contact),
            directories=[self._shared.uri] if self._shared is not None else [],
            checkpoint_seconds=checkpoint_seconds,
            readable=readable,
            tensorboard=tensorboard,
            leasekeeper=self._leasekeeper,
            logs=self._logs,
            predictions=self._predictions,
            contact=contact,
            stopping=self._stopping,
            labels=labels,
            patience_seconds=patience_seconds,
            work_time=self._work_time,
        )
        self._slots = [Slot(plan, shared) for plan in slots]

    def work(self) -> None:
        """Execute trials until `stop` is called, the time is over or, with `until_done`, the studies are done.

        Raises:
            WorkerRefused: The service refuses this worker.
            ZygoteFailed: Training processes cannot start on this host, or not with these modules.
        """
        if num_abandoned := self._outbox.finish_abandoned():
            log.warning("%d trials of a worker that died here go back to the service", num_abandoned)
        self._disk.clear(self._outbox.trials())
        self._fit_disk()
        with self._sender, self._uploader, self._leasekeeper, self._logs, self._predictions:
            with ThreadPoolExecutor(len(self._slots), thread_name_prefix="slot") as pool:
                slots = [pool.submit(slot.work) for slot in self._slots]
                self._wait(slots)
                if any(slot.done() and slot.exception() for slot in slots):
                    self.stop()
            if not self._sender.wait_until_sent(None, _FLUSH_SECONDS):
                log.warning("the service could not be told everything; the next worker here will tell the rest")
            elif not self._logs.wait_until_sent(_FLUSH_SECONDS):
                log.warning("the service could not be told all that was printed; it stays on this host")
            elif not self._predictions.wait_until_sent(_FLUSH_SECONDS):
                log.warning(
                    "the service could not be brought all predictions; the next worker here will bring the rest"
                )
        for slot in slots:
            slot.result()

    def _wait(self, slots: Sequence[Future[None]]) -> None:
        """Wait for the slots. When the worker's time is over, give the running trials back."""
        left = self._work_time.seconds_to_drain
        unfinished = wait(slots, left if left < math.inf else None, FIRST_EXCEPTION).not_done
        if unfinished and self._work_time.seconds_to_drain <= 0:
            log.info("the worker's time is over: running trials go back to the service")
            self.stop()

    def stop(self) -> None:
        """Stop claiming and give the running trials back, so that `work` returns; a signal handler may call this."""
        self._stopping.set()
        for attempt in self._held.all():
            attempt.release("the worker was stopped", _DRAIN_SECONDS)

    def abandon(self) -> None:
        """Record the running trials as released without waiting for them, right before the process exits.

        The next worker on this host sends these outcomes.
        """
        for attempt in self._held.all():
            outcome = Outcome(result="released", failure=FailureClass.PREEMPTED, message="the worker was stopped")
            self._outbox.add_finish(attempt.key, outcome)

    def _finished(self, key: AttemptKey, reply: FinishReply) -> None:
        """Delete the checkpoints of a finished trial; keep those of an open one, which may resume on this host."""
        if reply.trial_state in _OPEN:
            return
        self._disk.remove_trial(key.trial)
        if self._shared is not None:
            self._shared.remove_trial(key.trial)

    def _fit_disk(self) -> None:
        held = {attempt.key for attempt in self._held.all()}
        held |= {teacher_key(each.grant.teacher) for each in self._held.all() if each.grant.teacher is not None}
        self._disk.fit(held, self._outbox.unsent_checkpoints())
