"""The agent process: claims trials, renews leases and forwards reports to the service, without ever loading torch."""

from worker.agent.agent import Agent
from worker.agent.agent_settings import AcceptedWork, ProcessSettings, SlotPlan, StorageSettings
from worker.agent.devices import DeviceError, LocalDevice, cpu, gpus, in_use, num_cores
from worker.agent.slots.process import RegistrationRefused, ZygoteFailed
from worker.agent.slots.slot import WorkerRefused

__all__ = [
    "AcceptedWork",
    "Agent",
    "DeviceError",
    "LocalDevice",
    "ProcessSettings",
    "RegistrationRefused",
    "SlotPlan",
    "StorageSettings",
    "WorkerRefused",
    "ZygoteFailed",
    "cpu",
    "gpus",
    "in_use",
    "num_cores",
]
