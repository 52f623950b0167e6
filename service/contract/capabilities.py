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
        default=None, description="allowed modules and packages of function tasks; none: all are allowed"
    )
    labels: dict[str, str] = {}
    slots: dict[Identifier, list[Device]] = Field(default={}, description="every slot of the worker, with its devices")
    code: Fingerprint | None = Field(
        default=None, description="fingerprint of the training code; none: the code is not compared"
    )
    custom_code: Fingerprint | None = Field(
        default=None, description="fingerprint that includes registered modules, for studies that use their entries"
    )
    entries: EntryFingerprints = Field(
        default={}, description="fingerprints of the custom entries that this slot has registered"
    )
    directories: list[str] | None = Field(
        default=None, description="file URIs of the directories shared with other workers; none: unknown"
    )

    @field_validator("slots", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        """Accept the former format, one device per slot: older workers sent it, and the database still holds it."""
        if not isinstance(given, dict):
            return given
        return {slot: [devices] if isinstance(devices, dict) else devices for slot, devices in given.items()}
