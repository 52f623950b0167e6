"""Formats numbers, parameters and states, and opens the console."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from service.contract.base import Value
from service.contract.report import Number, from_wire
from service.contract.study import StudyState, StudyView
from service.contract.trial import TrialState, TrialView

_PIPE_WIDTH = 100_000
"""Width of the output in characters if it is not a terminal."""


_STYLES = {
    StudyState.ACTIVE: "green",
    StudyState.PAUSED: "yellow",
    StudyState.STOPPED: "red",
    TrialState.RUNNING: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.CANCELLED: "dim",
}


def console() -> Console:
    """Return the console for standard output, without markup: texts of users may hold brackets and colons.

    If the output is not a terminal, its width is unlimited: a pipe gets every value whole and each row on one line.
    """
    terminal = Console(markup=False, emoji=False, highlight=False)
    if not terminal.is_terminal:
        terminal.width = _PIPE_WIDTH
    return terminal


def number(value: Number | None) -> str:
    """Return a metric in four significant digits."""
    return "" if value is None else f"{from_wire(value):.4g}"


def parameters(values: Mapping[str, Value]) -> str:
    """Return parameters on one line, floats in three significant digits."""
    return "  ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def state_text(thing: StudyView | TrialView) -> Text:
    return Text(thing.state, style=_STYLES.get(thing.state, ""))


def state_and_reason(thing: StudyView | TrialView) -> Text:
    return state_text(thing).append(f": {thing.state_reason}" if thing.state_reason else "")
