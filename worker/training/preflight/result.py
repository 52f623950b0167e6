"""The result of a preflight: what each check saw, as plain values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from worker.training.baselines import Baseline
from worker.training.preflight.memory_limits import MemoryLimit

Figures = Mapping[str, Any]
"""What a check measured, by name: numbers, texts, lists and mappings of these; null: not finite."""


class Status(StrEnum):
    """What a check found, from best to worst; `not_run` is neither."""

    PASSED = "passed"
    NOT_RUN = "not_run"
    WARNED = "warned"
    FAILED = "failed"


@dataclass(frozen=True)
class Curve:
    """A curve for a plot.

    Attributes:
        name: what it shows.
        x_label: the quantity on the x axis.
        y_label: the quantity on the y axis.
        x: [n].
        y: [n]; None: the value is not finite.
        log_x: whether the x axis is logarithmic.
    """

    name: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float | None]
    log_x: bool = False


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        number: the check's number, 1 to 9; 10 is for functions and commands, which `worker.trial.preflight` checks.
        name: the check's name, such as `initial_loss`; several checks may share a number.
        status: what it found.
        sentence: what was seen, with the number.
        figures: what was measured.
        remedy: what to do; None: nothing.
        curves: curves for plots.
    """

    number: int
    name: str
    status: Status
    sentence: str
    figures: Figures = field(default_factory=dict)
    remedy: str | None = None
    curves: Sequence[Curve] = ()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read a check back."""
        curves = [Curve(**curve) for curve in mapping["curves"]]
        return cls(**{**mapping, "status": Status(mapping["status"]), "curves": curves})


@dataclass(frozen=True)
class LearningRateRange:
    """The result of a learning-rate range test (Smith 2017).

    Attributes:
        falls: the lowest tested rate at which the loss falls.
        steepest: the rate at which it falls fastest.
        explodes: the lowest tested rate at which it rises again; None: it never did.
        proposed: the rate to begin a search around.
    """

    falls: float
    steepest: float
    explodes: float | None
    proposed: float


@dataclass(frozen=True)
class PreflightResult:
    """The result of a preflight.

    Attributes:
        checks: in the order in which they ran.
        seconds: how long the preflight took.
        seconds_per_epoch: of one model at the centre of the space, with its evaluation; None: not measured.
        peak_memory_bytes: the most memory of all corners that were run; None: not measured.
        learning_rate: the range of useful learning rates; None: not measured.
        infeasible: the settings of each corner that can't be trained here.
        memory_limits: the corners that ran out of a GPU's memory.
        batch_size: the proposed batch size; None: none was measured.
        baselines: what simple models reach on the same data; empty: none were fitted.
    """

    checks: Sequence[Check]
    seconds: float
    seconds_per_epoch: float | None = None
    peak_memory_bytes: int | None = None
    learning_rate: LearningRateRange | None = None
    infeasible: Sequence[Mapping[str, Any]] = ()
    baselines: Sequence[Baseline] = ()
    memory_limits: Sequence[MemoryLimit] = ()
    batch_size: int | None = None

    @property
    def status(self) -> Status:
        """Failed or warned if a check is, else passed."""
        statuses = {check.status for check in self.checks}
        return next((each for each in (Status.FAILED, Status.WARNED) if each in statuses), Status.PASSED)

    def to_mapping(self) -> dict[str, Any]:
        """Return the result as plain values for JSON; a number that is not finite becomes None."""
        mapping = _plain({"status": self.status, **asdict(self)})
        assert isinstance(mapping, dict)
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read back what `to_mapping` returned."""
        values = {name: value for name, value in mapping.items() if name != "status"}
        rate = values["learning_rate"]
        values["learning_rate"] = None if rate is None else LearningRateRange(**rate)
        values["checks"] = [Check.from_mapping(check) for check in values["checks"]]
        values["baselines"] = [Baseline(**baseline) for baseline in values["baselines"]]
        values["memory_limits"] = [MemoryLimit(**limit) for limit in values["memory_limits"]]
        return cls(**values)


def _plain(value: object) -> object:
    """Return enums as texts, tuples as lists, and numbers that are not finite as None, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, StrEnum) else value
