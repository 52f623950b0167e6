"""What a worker can execute: devices, task kinds, labels and custom entries."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from service.contract.base import Identifier, Request, TaskKind
from service.contract.custom_entries import EntryFingerprints
from service.contract.provenance import Fingerprint


class Device(Request):
    """A GPU or CPU that the agent detected."""

    kind: Literal["cpu", "cuda"]
    index: int = 0
    name: str = ""
    memory_gib: float | None = None


class Capabilities(Request):
    """What a worker can execute."""

    devices: list[Device] = Field(default=[], description="of the slot that asks: a trial has all of them")
    tasks: list[TaskKind] = [TaskKind.TRAIN]
    functions: list[str] | None = Field(
        default=None, description="modules and packages whose functions it calls; none: of any, if of tasks"
    )
    labels: dict[str, str] = {}
    slots: dict[Identifier, list[Device]] = Field(default={}, description="every slot of the worker, with its devices")
    code: Fingerprint | None = Field(default=None, description="of the training code; none: nothing is compared")
    custom_code: Fingerprint | None = Field(
        default=None, description="the same with the modules of its user's own: of studies that use their entries"
    )
    entries: EntryFingerprints = Field(
        default={}, description="those of its user's own that this slot can train with, as told"
    )
    directories: list[str] | None = Field(
        default=None, description="file uris of the directories it shares with other workers; none: not said"
    )

    @field_validator("slots", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        """Accept the former format, one device per slot: older workers sent it, and the database still holds it."""
        if not isinstance(given, dict):
            return given
        return {slot: [devices] if isinstance(devices, dict) else devices for slot, devices in given.items()}
