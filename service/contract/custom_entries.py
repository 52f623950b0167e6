"""Custom entries on the wire: what a worker's modules add to the training core's registries, and the full catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.contract.base import DamagedRow, Identifier, Request, Response
from service.contract.catalogue import Catalogue
from service.contract.provenance import Fingerprint

MAX_ENTRIES = 200
"""The largest number of entries that a worker may add to one section."""
MAX_BYTES = 32 * 1024
"""The largest description of one entry, in bytes of JSON."""

MAX_PART_BYTES = 512 * 1024
"""The approximate size of the descriptions in one request. The service accepts no body above 1 MiB."""

EntryName = Annotated[str, Field(max_length=64, pattern=r"^[^\W\d]\w*$")]
"""The name of a Python function."""

Section = Annotated[str, Field(min_length=1, max_length=64)]
"""The section of a task that an entry belongs to: model, loss, …"""

EntryFingerprints = Annotated[
    dict[Section, Annotated[dict[EntryName, Fingerprint], Field(max_length=MAX_ENTRIES)]], Field(max_length=64)
]
"""Section -> name -> fingerprint of the entry's options."""


class CustomSetting(Request):
    """One option of a custom entry, described as the catalogue describes the core's options."""

    type: Literal["float", "int", "bool", "str", "list[int]", "list[float]", "list[str]", "any"]
    required: bool = False
    default: Any = None
    description: str = ""
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    choices: list[str] = []
    names: Literal["path", "path or id"] | None = None


class CustomEntry(Request):
    """A worker's description of one custom entry."""

    description: str = ""
    parameters: dict[EntryName, CustomSetting] = {}
    facts: dict[str, Any] = {}

    @model_validator(mode="after")
    def _is_small_json(self) -> Self:
        text = json.dumps(self.model_dump())
        if len(text) > MAX_BYTES:
            raise ValueError(f"takes {len(text)} bytes as JSON, and {MAX_BYTES} are allowed; describe it more briefly")
        return self


class EntriesRequest(Request):
    """Register the entries that a worker's modules add. Repeating the request changes nothing."""

    worker: Identifier
    registries: Annotated[
        dict[Section, Annotated[dict[EntryName, CustomEntry], Field(max_length=MAX_ENTRIES)]], Field(max_length=64)
    ]

    def parts(self) -> Iterator[Self]:
        """Split the request into smaller ones that together register the same entries and that the service accepts."""
        part: dict[str, dict[str, CustomEntry]] = {}
        num_bytes = 0
        for section, entries in self.registries.items():
            for name, entry in entries.items():
                size = len(entry.model_dump_json().encode())
                if part and num_bytes + size > MAX_PART_BYTES:
                    yield self.model_copy(update={"registries": part})
                    part, num_bytes = {}, 0
                part.setdefault(section, {})[name] = entry
                num_bytes += size
        yield self.model_copy(update={"registries": part})


class EntriesReply(Response):
    """The entries that the worker must send with its claims, and notes for its user."""

    entries: dict[str, dict[str, str]] = Field(description="section -> name -> fingerprint of the entry's options")
    notes: list[str] = []


class EntrySource(Response):
    """The worker that last registered an entry, and when."""

    worker: str
    at: datetime


class CatalogueView(Catalogue):
    """Everything that a task can be set to, including the custom entries that workers have registered."""

    custom: dict[str, dict[str, EntrySource]] = Field(
        description="section -> name -> the worker that registered the entry; entries of the core are not listed"
    )
    damaged: list[DamagedRow] = Field(
        default=[], description="registered entries that cannot be read from the database"
    )
