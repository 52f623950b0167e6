"""The agent: the slots of this worker with the lease keeper and the sender they share, started and stopped together."""

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
from service.contract.base import TaskKind
from service.contract.lease import FailureClass, FinishReply, Outcome
from service.contract.trial import TrialState
from worker.agent.checkpoints import Checkpoints, teacher_key
from worker.agent.contact import Contact
from worker.agent.disk import Disk
from worker.agent.held import AttemptKey, HeldAttempts
from worker.agent.leasekeeper import Leasekeeper
from worker.agent.logs import LogSender
from worker.agent.loop import Slot
from worker.agent.outbox import Outbox
from worker.agent.predictions import PredictionsSender
from worker.agent.sender import Sender
from worker.agent.shared import SharedDirectory
from worker.agent.surroundings import SlotPlan, Surroundings
from worker.agent.uploader import Uploader
from worker.agent.watchdog import PATIENCE_SECONDS
from worker.agent.worktime import WorkTime

log = logging.getLogger(__name__)

_OPEN = frozenset({TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED})
_DRAIN_SECONDS = 3.0
"""How long a stopping worker waits until its trainings have saved where they stand, so that they resume from there."""
_FLUSH_SECONDS = 5.0
"""How long a stopping worker tries to send what is left; the rest waits in the outbox for the next worker."""


class Agent:
    """Works for one service under one name; `directory` is its own, with outbox and logs."""

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
        self._work_time = WorkTime(work_seconds)
        self._outbox = Outbox(directory / "outbox.sqlite")
        self._held = HeldAttempts()
        self._stopping = threading.Event()
        contact = Contact(client.server)
        self._disk = Disk(directory / "attempts", disk_bytes)
        self._shared = SharedDirectory(shared_directory) if shared_directory is not None else None
        self._sender = Sender(client, self._outbox, self._held, contact, self._finished)
        self._uploader = Uploader(client, self._outbox, contact, self._sender.wake, self._shared)
        self._leasekeeper = Leasekeeper(client, name, self._held, contact)
        self._logs = LogSender(client, self._outbox, self._disk, contact)
        self._predictions = PredictionsSender(client, self._outbox, self._disk, contact)
        shared = Surroundings(
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
        """Carry out trials until told to stop, or until the studies are done; raises what ends a slot.

        Raises:
            WorkerRefused: the service does not take this worker.
            ZygoteFailed: training processes cannot start on this host, or not with these modules.
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
        """Wait for the slots, or until the worker's time is over: then what runs is given back."""
        left = self._work_time.seconds_to_drain
        unfinished = wait(slots, left if left < math.inf else None, FIRST_EXCEPTION).not_done
        if unfinished and self._work_time.seconds_to_drain <= 0:
            log.info("the worker's time is over: running trials go back to the service")
            self.stop()

    def stop(self) -> None:
        """Claim no more, end the running trials and give them back; `work` then returns. May be called by a signal."""
        self._stopping.set()
        for attempt in self._held.all():
            attempt.release("the worker was stopped", _DRAIN_SECONDS)

    def abandon(self) -> None:
        """Give the running trials back as they are, for the next worker here to say; the process ends right after."""
        for attempt in self._held.all():
            outcome = Outcome(result="released", failure=FailureClass.PREEMPTED, message="the worker was stopped")
            self._outbox.add_finish(attempt.key, outcome)

    def _finished(self, key: AttemptKey, reply: FinishReply) -> None:
        """Delete the checkpoints of a trial that is over; one that goes on may do so here."""
        if reply.trial_state in _OPEN:
            return
        self._disk.remove_trial(key.trial)
        if self._shared is not None:
            self._shared.remove_trial(key.trial)

    def _fit_disk(self) -> None:
        held = {attempt.key for attempt in self._held.all()}
        held |= {teacher_key(each.grant.teacher) for each in self._held.all() if each.grant.teacher is not None}
        self._disk.fit(held, self._outbox.unsent_checkpoints())
