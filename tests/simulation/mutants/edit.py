"""What a mutant is: a few replacements in a copy of the service, after which one promise is broken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One replacement in one file of the package; what is replaced must be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A service that breaks one promise."""

    name: str
    edits: tuple[Edit, ...]
