"""Messages between agent and training processes as JSON lines over local sockets; imports neither agent nor trainer.

Uses the standard library only. Two kinds of socket carry the messages:

- Each slot has one *control* socket to its zygote. The agent sends `Start` and `Terminate`; the zygote sends `Ready`,
  `Forked` and `Exited`.
- Each attempt has one *channel* to its own training process. The agent sends `Order` and `VerdictReady`; the process
  sends `Provenance`, `Report`, `Progress`, `CheckpointSaved`, `PredictionsSaved` and `Ended`.

Because each attempt has its own channel, a line that a dying process leaves half written damages no other attempt's
messages. Both ends are Python, so floats without a JSON literal travel as Python's own `NaN` and `Infinity`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias, get_args

UNREGISTERED = 2
"""Exit status of a zygote that cannot register the custom modules; the last line of its log says why."""


class ProtocolError(Exception):
    """A line is not a message, because agent and training process are of different versions."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Zygote -> agent: all imports are done and attempts can be started.

    `code` is the fingerprint of the training code. With registered custom modules, `entries` are the entries that they
    added to the training core (section -> name -> description, as in its catalogue), and `custom_code` is the
    fingerprint that includes the modules' sources.
    """

    code: str
    custom_code: str | None = None
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Agent -> zygote, with the attempt's channel attached: fork a process that executes `grant`.

    Attributes:
        grant: The service's grant as JSON, without its nonce.
        device: The kind of device: `cpu` or `cuda`.
        threads: The number of CPU threads.
        stdout: The path of the file to which stdout is appended.
        stderr: The path of the file to which stderr is appended.
        checkpoints: The attempt's own directory for checkpoints.
        checkpoint_seconds: The shortest time between two checkpoints.
        resume: The file of the checkpoint that `grant.resume` names.
        teacher: The file of the checkpoint that `grant.teacher` names.
        tensorboard: The directory for TensorBoard event files; None: the attempt writes none.
        num_devices: The number of devices of the attempt.
        readable: The folders below which the paths in a training configuration must lie; None: any path is allowed.
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
    """Agent -> zygote: kill the running attempt's whole process group now."""


@dataclass(frozen=True, slots=True)
class Forked:
    """Zygote -> agent: the attempt runs as process (and process group) `pid`."""

    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """Zygote -> agent: the attempt's process ended with exit status `status`, or -n if signal n killed it."""

    status: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Training process -> agent, first message: fingerprints of data and custom code, and the environment.

    `data` is None if the fingerprint is unknown. `code` is None if only the worker's own code runs.
    """

    data: str | None
    environment: Mapping[str, str]
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Training process -> agent: the metrics of one step.

    `is_awaited` says whether the process waits for the service's verdict on them.
    """

    step: int
    metrics: Mapping[str, float]
    is_awaited: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """Training process -> agent: the checkpoint of `step` is in the file at `path`.

    The report of `step` came before. `batch` counts the completed batches of the next step; 0 means that the checkpoint
    is of the end of `step`.
    """

    step: int
    path: str
    sha256: str
    size: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Training process -> agent, at most once a second in the middle of a step: training makes progress."""


@dataclass(frozen=True, slots=True)
class PredictionsSaved:
    """Training process -> agent, right before `Ended`: the predictions are in the file at `path`."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Training process -> agent, last message: the outcome, as JSON of the service's contract."""

    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """Agent -> training process: what to do from the next step on (continue, pause, stop), and why."""

    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerdictReady:
    """Agent -> training process: the service has judged the awaited report of `step`.

    If the verdict changed the order, an `Order` came before this message.
    """

    step: int


Message: TypeAlias = (
    Ready
    | Start
    | Terminate
    | Forked
    | Exited
    | Provenance
    | Report
    | Progress
    | CheckpointSaved
    | PredictionsSaved
    | Ended
    | Order
    | VerdictReady
)

_KINDS: dict[str, type[Message]] = {kind.__name__.lower(): kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """Encode a message as one JSON line."""
    return json.dumps({"type": type(message).__name__.lower(), **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Decode one line.

    Raises:
        ProtocolError: The line is not one that `encode` writes.
    """
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("type")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a message between agent and training process: {line[:200]!r}") from error


class MessageDecoder:
    """Splits a stream of bytes into messages; keeps an unfinished last line until the rest of it arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes, in order."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [decode(line) for line in lines]
