"""Line charts: curves, marked places on the x axis, and the axes that show them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.contract.preflight import Curve

_HEADROOM = 1.25
"""How far the y axis reaches above the largest first value of a curve, if a curve goes further up."""


@dataclass(frozen=True)
class Mark:
    """A marked place on the x axis."""

    x: float
    letter: str
    text: str


@dataclass(frozen=True)
class Chart:
    """Curves over one x axis.

    Attributes:
        curves: at least one, each with a finite value.
        names: one per curve, for the legend.
        marks: places on the x axis.
    """

    curves: Sequence[Curve]
    names: Sequence[str]
    marks: Sequence[Mark] = ()

    @property
    def x_label(self) -> str:
        """The quantity on the x axis."""
        return self.curves[0].x_label

    @property
    def y_label(self) -> str:
        """The quantity on the y axis."""
        return self.curves[0].y_label


@dataclass(frozen=True)
class Axes:
    """The ranges of a chart's axes.

    A curve that explodes would flatten all others. So the y axis ends somewhat above the curves' first values, and
    higher values, or those that are not finite, are drawn at the upper edge.
    """

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log_x: bool
    is_cut: bool

    @classmethod
    def of(cls, chart: Chart) -> Axes:
        """Return the axes of a chart."""
        xs = [x for curve in chart.curves for x in curve.x]
        ys = [y for curve in chart.curves for y in curve.y if y is not None]
        low, high = min(ys), max(ys)
        first = max(next(y for y in curve.y if y is not None) for curve in chart.curves)
        bound = low + _HEADROOM * (first - low) if first > low else high
        has_gap = any(y is None for curve in chart.curves for y in curve.y)
        top = min(high, bound)
        return cls(min(xs), max(xs), low, top, chart.curves[0].log_x, has_gap or high > top)

    def x(self, value: float) -> float:
        """Return the position of a value on the x axis, 0 at its left end and 1 at its right end."""
        low, high = self.x_low, self.x_high
        if self.log_x:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))

    def y(self, value: float | None) -> float:
        """Return the position of a value on the y axis, 0 at its lower end and 1 at its upper end."""
        if value is None:
            return 1.0
        return 0.0 if self.y_high <= self.y_low else min(1.0, (value - self.y_low) / (self.y_high - self.y_low))

    def points(self, curve: Curve) -> Iterator[tuple[float, float]]:
        """Yield the positions of a curve's points."""
        for x, y in zip(curve.x, curve.y, strict=True):
            yield self.x(x), self.y(y)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the (position, number) of some round places on the x axis."""
        if not self.log_x:
            values = [float(round(self.x_low + share * (self.x_high - self.x_low))) for share in (0.0, 0.5, 1.0)]
            return [(self.x(value), f"{value:.4g}") for value in dict.fromkeys(values)]
        decades = range(math.ceil(math.log10(self.x_low) - 1e-9), math.floor(math.log10(self.x_high) + 1e-9) + 1)
        if len(decades) < 3:
            steps = [self.x_low * (self.x_high / self.x_low) ** share for share in (0.0, 1 / 3, 2 / 3, 1.0)]
            return [(self.x(value), f"{float(f'{value:.2g}'):g}") for value in steps]
        return [(self.x(10.0**decade), f"1e{decade}") for decade in decades]
