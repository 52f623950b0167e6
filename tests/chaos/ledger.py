"""The ledger of a client: every answer and every trained step, one line each, written before the client acts on it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Key = tuple[str, int]
"""An attempt: the trial's id and the attempt's number."""


@dataclass(frozen=True)
class Trained:
    """A training process made a step, and this is what it measured."""

    trial: str
    attempt: int
    step: int
    value: float


@dataclass(frozen=True)
class Claimed:
    """The service granted an attempt."""

    request_id: str
    trial: str
    attempt: int
    nonce: str
    number: int
    parameters: dict[str, Any]
    resume: int | None


@dataclass(frozen=True)
class Reported:
    """The service took the value of a step, and judged it."""

    trial: str
    attempt: int
    sequence: int
    step: int
    value: float
    action: str
    reason: str


@dataclass(frozen=True)
class Saved:
    """The service registered a checkpoint."""

    trial: str
    attempt: int
    step: int
    sha256: str


@dataclass(frozen=True)
class Finished:
    """The service took an outcome, and said what it made of the trial."""

    trial: str
    attempt: int
    outcome: dict[str, Any]
    trial_state: str
    values: list[float] | None


Fact = Trained | Claimed | Reported | Saved | Finished

_KINDS: dict[str, type[Fact]] = {kind.__name__: kind for kind in (Trained, Claimed, Reported, Saved, Finished)}


class Ledger:
    """A file to which an agent's threads and its training processes append; no line is ever half written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, fact: Fact) -> None:
        """Write a fact; it is there whenever any process dies from now on."""
        line = json.dumps({"kind": type(fact).__name__, **asdict(fact)})
        os.write(self._file, line.encode() + b"\n")  # one call: a process dies before it or after it

    def close(self) -> None:
        os.close(self._file)


def read(paths: Iterable[Path]) -> Iterator[Fact]:
    """All that was noted."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            facts = json.loads(line)
            yield _KINDS[facts.pop("kind")](**facts)
