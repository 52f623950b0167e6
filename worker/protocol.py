"""Messages between agent and training processes: JSON lines over local sockets; standard library only, knows no end.

Two kinds of socket carry them. Each slot has one *control* socket to its zygote (`Start`, `Terminate` down; `Ready`,
`Forked`, `Exited` up), and each attempt one *channel* to its own training process (`Order`, `Answered` down;
`Provenance`, `Report`, `Advanced`, `Checkpointed`, `Predicted`, `Ended` up), so that a line which a dying process
leaves half written spoils nobody else's.
Both ends are Python: floats that JSON has no literal for travel as Python's own `NaN` and `Infinity`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias, get_args

UNREGISTERED = 2
"""Exit status of a zygote that cannot register modules of the user's own; its last line says why."""


class ProtocolError(Exception):
    """A line that is no message: agent and training process are not of the same version."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Zygote -> agent: everything is imported, attempts can be started; `code` is the fingerprint of what trains.

    Where modules of the user's own are registered, `entries` are what they added to the core (section -> name ->
    description, as in its catalogue), and `own_code` is the fingerprint with their sources.
    """

    code: str
    own_code: str | None = None
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Agent -> zygote, with the attempt's channel attached: fork a process that carries out `grant`.

    `grant` is the service's grant as JSON, without its nonce; `stdout` and `stderr` are paths of files to append to;
    `checkpoints` is the attempt's own directory, where one is saved not more often than every `checkpoint_seconds`;
    `resume` and `teacher` are the files of the checkpoints that the grant names; `tensorboard` is the directory in
    which attempts are shown. It has `num_devices` of the kind `device`. `readable` are the folders below
    which the paths of a training's configuration must lie; None: anywhere.
    """

    grant: Mapping[str, Any]
    device: str
    threads: int
    stdout: str
    stderr: str
    checkpoints: str
    checkpoint_seconds: float
    resume: str | None = None
    teacher: str | None = None
    tensorboard: str | None = None
    num_devices: int = 1
    readable: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Terminate:
    """Agent -> zygote: end the running attempt's whole process group now."""


@dataclass(frozen=True, slots=True)
class Forked:
    """Zygote -> agent: the attempt runs as process (and process group) `pid`."""

    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """Zygote -> agent: the attempt's process ended with exit status `status`; -n means by signal n."""

    status: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Training process -> agent, first: the fingerprints of its data and of code of the user's own, and where it runs.

    None: unknown, or for code that there is none but the worker's.
    """

    data: str | None
    environment: Mapping[str, str]
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Training process -> agent: the metrics of one step; `is_awaited`: it waits for the service's verdict on them."""

    step: int
    metrics: Mapping[str, float]
    is_awaited: bool = False


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """Training process -> agent: the checkpoint of `step` is in the file at `path`; its report came before.

    `batch` counts the batches of the next step that are done; 0: it is of the end of `step`.
    """

    step: int
    path: str
    sha256: str
    size: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Advanced:
    """Training process -> agent, now and then in the middle of a step: training goes on."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Training process -> agent, right before its last word: its predictions are in the file at `path`."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Training process -> agent, its last word: the outcome as the service's contract writes it."""

    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """Agent -> training process: what to do from the next step on (continue, pause, stop), and why."""

    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Agent -> training process: the report of `step` that it awaits is judged; what was ordered came before this."""

    step: int


Message: TypeAlias = (
    Ready
    | Start
    | Terminate
    | Forked
    | Exited
    | Provenance
    | Report
    | Advanced
    | Checkpointed
    | Predicted
    | Ended
    | Order
    | Answered
)

_KINDS: dict[str, type[Message]] = {kind.__name__.lower(): kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """Write a message as one line."""
    return json.dumps({"type": type(message).__name__.lower(), **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line back; raises `ProtocolError` for anything that `encode` does not write."""
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("type")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a message between agent and training process: {line[:200]!r}") from error


class Inbox:
    """Cuts a stream of bytes into messages; an unfinished last line waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [decode(line) for line in lines]
