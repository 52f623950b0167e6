"""The claim loop of one slot: claims a trial, executes it, and claims the next one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.client.errors import (
    ApiError,
    Conflict,
    Invalid,
    NotFound,
    PermanentFailure,
    ServiceFailure,
    ServiceUnreachable,
)
from service.contract.base import PROTOCOL_VERSION
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.custom_entries import EntriesRequest, EntryFingerprints
from service.contract.validation_errors import field_errors
from worker.agent.agent_context import AgentContext
from worker.agent.agent_settings import SlotPlan
from worker.agent.connectivity import backoff
from worker.agent.slots.execution import Execution
from worker.agent.slots.process import RegistrationRefused, Zygote
from worker.protocol import Ready

log = logging.getLogger(__name__)

_UNKNOWN_STUDY_SECONDS = 5.0

_RETRYABLE = (ServiceUnreachable, ServiceFailure, PermanentFailure)
"""Errors after which the worker retries. A permanent failure affects one study; a later claim may get another one."""


class WorkerRefused(Exception):
    """The service refuses this worker, for example for a wrong token or another protocol; the message says why."""


class Slot:
    """One slot, in its own thread; it uses the service and the disk only through objects that all slots share."""

    def __init__(self, plan: SlotPlan, context: AgentContext) -> None:
        self._plan = plan
        self._context = context
        self._idle_reason = ""

    def work(self) -> None:
        """Execute trials until the worker stops, its time is over or, with `until_done`, its studies are done.

        Raises:
            WorkerRefused: The service refuses this worker.
            ZygoteFailed: Training processes cannot start on this host, or not with these modules.
        """
        processes = self._context.processes
        while not self._context.lifetime.stopping.is_set():
            log_path = self._context.storage.directory / f"zygote-{self._plan.name}.log"
            with Zygote(
                self._plan.devices,
                self._plan.threads,
                log_path,
                modules=processes.modules,
                pass_env=processes.pass_env,
                umask=processes.umask,
            ) as zygote:
                ready = zygote.wait_ready()
                entries = self._register_entries(ready.entries)
                if entries is None or not self._work_with(zygote, ready, entries):
                    return
            log.warning("the zygote of slot %s died; starting a new one", self._plan.name)

    def _register_entries(self, entries: Mapping[str, Mapping[str, Any]]) -> EntryFingerprints | None:
        """Register the custom entries with the service, retrying until it answers; None if the worker stopped first.

        Returns:
            The entries to offer in claims, with their fingerprints.
        """
        context, service = self._context, self._context.service
        if not entries:
            return {}
        waits = backoff()
        while not context.lifetime.stopping.is_set():
            try:
                reply = service.client.register_entries(context.identity.name, entries)
            except _RETRYABLE:
                service.status.down()
                context.lifetime.stopping.wait(next(waits))
            except ValidationError as error:
                [first, *_] = field_errors(error.errors(), {"registries": entries}, EntriesRequest)
                path = first.path.removeprefix("registries.")
                raise RegistrationRefused(f"cannot register {path}: {first.message}") from None
            except (Invalid, Conflict) as error:
                raise RegistrationRefused(f"cannot register: {error}") from error
            except ApiError as error:
                raise WorkerRefused(str(error)) from error
            else:
                service.status.up()
                for note in reply.notes:
                    log.warning("%s", note)
                registered = ", ".join(f"{section} {name}" for section, names in entries.items() for name in names)
                log.info("slot %s registered with the service: %s", self._plan.name, registered)
                return reply.entries
        return None

    def _work_with(self, zygote: Zygote, ready: Ready, entries: EntryFingerprints) -> bool:
        """Execute trials as long as the zygote lives; return False when the slot has nothing more to do."""
        execution = Execution(self._plan, self._context, zygote)
        while zygote.alive:
            requested_at = time.monotonic()
            match self._claim(ready, entries):
                case Grant() as grant:
                    self._idle_reason = ""
                    execution.execute(grant, requested_at)
                case NoTrial(done=True) if self._context.work.until_done:
                    return False
                case NoTrial() as no_trial:
                    self._idle(no_trial)
                case None:
                    return False
        return True

    def _claim(self, ready: Ready, entries: EntryFingerprints) -> Grant | NoTrial | None:
        """Claim a trial, retrying until the service answers; None if the worker stops first or has too little time."""
        context, service = self._context, self._context.service
        if not context.lifetime.time_limit.allows_another():
            log.info("slot %s claims no more trials: the worker's time is nearly over", self._plan.name)
            return None
        request = ClaimRequest(
            request_id=service.outbox.claim_id(self._plan.name),
            worker=context.identity.name,
            slot=self._plan.name,
            host=context.identity.host,
            protocol=PROTOCOL_VERSION,
            capabilities=Capabilities(
                devices=[local.device for local in self._plan.devices],
                tasks=list(context.work.tasks),
                functions=None if context.work.functions is None else list(context.work.functions),
                labels=dict(context.work.labels),
                slots={name: list(devices) for name, devices in context.identity.slots.items()},
                code=ready.code,
                custom_code=ready.custom_code,
                entries=entries,
                directories=list(context.identity.directories),
            ),
            studies=list(context.work.studies) or None,
        )
        waits = backoff()
        while not context.lifetime.stopping.is_set():
            try:
                reply = service.client.claim(request)
            except _RETRYABLE:
                service.status.down()
                context.lifetime.stopping.wait(next(waits))
            except NotFound as error:
                return NoTrial(reason=str(error), retry_seconds=_UNKNOWN_STUDY_SECONDS)
            except Conflict:  # an earlier worker with other settings used this id for a different claim
                service.outbox.ack_claim(self._plan.name, None)
                request = request.model_copy(update={"request_id": service.outbox.claim_id(self._plan.name)})
            except ApiError as error:
                raise WorkerRefused(str(error)) from error
            else:
                service.status.up()
                service.outbox.ack_claim(self._plan.name, reply if isinstance(reply, Grant) else None)
                return reply
        return None

    def _idle(self, no_trial: NoTrial) -> None:
        if no_trial.reason != self._idle_reason:
            log.info("slot %s waits: %s", self._plan.name, no_trial.reason)
            self._idle_reason = no_trial.reason
        self._context.lifetime.stopping.wait(no_trial.retry_seconds)
