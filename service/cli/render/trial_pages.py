"""Renders trials for a terminal: the table, one trial, and forks."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.render.formatting import number, parameters, state_and_reason, state_text
from service.contract.log import LogView
from service.contract.report import from_wire
from service.contract.trial import TrialDetail, TrialState, TrialView


def trials_table(trials: Iterable[TrialView]) -> RenderableType:
    """List trials: state, value, parameters, and the reason if a trial ended early."""
    table = Table("trial", "state", "value", "step", "parameters", "reason", box=None, pad_edge=False)
    for trial in trials:
        table.add_row(
            str(trial.number),
            state_text(trial),
            _reached(trial),
            "" if trial.step is None else str(trial.step),
            parameters(trial.parameters),
            trial.state_reason or "",
        )
    return table if table.row_count else Text("no trials yet; start a worker with: worker --cpu")


def forks_table(forks: Iterable[TrialView]) -> RenderableType:
    """List forks by id: state, value, and the trial each was forked from."""
    table = Table("id", "state", "value", "step", "reason", box=None, pad_edge=False)
    for fork in forks:
        step = "" if fork.step is None else str(fork.step)
        reason = f"{fork.suggestion_reason}: {fork.state_reason}" if fork.state_reason else fork.suggestion_reason
        table.add_row(fork.id, state_text(fork), _reached(fork), step, reason)
    return table


def _reached(trial: TrialView) -> str:
    """Return the trial's values. For a paused trial, its value at its last rung."""
    if trial.values:
        return ", ".join(map(number, trial.values))
    return number(trial.rung_results[-1].value) if trial.state is TrialState.PAUSED and trial.rung_results else ""


def trial_page(trial: TrialDetail) -> RenderableType:
    """Show one trial: parameters and why they were chosen, metrics, attempts."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("trial", Text(trial.id if trial.number is None else str(trial.number), style="bold"))
    facts.add_row("state", state_and_reason(trial))
    facts.add_row("chosen", trial.suggestion_reason)
    for name, value in trial.parameters.items():
        facts.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    if trial.values:
        facts.add_row("value", ", ".join(map(number, trial.values)))
    for result in trial.rung_results:
        facts.add_row(f"at step {result.step}", f"{number(result.value)} (place {result.rank} of {result.num})")
    for name, metric in trial.metrics.items():
        facts.add_row(name, number(metric))
    for finding in trial.findings:
        facts.add_row("finding", Text(f"{finding.rule}: {finding.sentence}", style="yellow"))
    curves = Table("metric", "steps", "first", "last", "lowest", "highest", box=None, pad_edge=False)
    for series in trial.series:
        values = [from_wire(value) for value in series.values]
        shown = [f"{value:.4g}" for value in (values[0], values[-1], min(values), max(values))]
        curves.add_row(series.metric, f"{series.steps[0]} to {series.steps[-1]}", *shown)
    attempts = Table("attempt", "state", "worker", "device", "code", "data", "message", box=None, pad_edge=False)
    for attempt in trial.attempts:
        made_from = (attempt.environment.get("device", ""), (attempt.code or "")[:12], (attempt.data or "")[:12])
        attempts.add_row(str(attempt.number), attempt.state, attempt.worker, *made_from, attempt.message or "")
    warnings = [
        Text(f"attempt {attempt.number}: {warning}", style="yellow")
        for attempt in trial.attempts
        for warning in attempt.warnings
    ]
    tracebacks = [
        Text(f"\nattempt {attempt.number} raised:\n{attempt.traceback.rstrip()}", style="red")
        for attempt in trial.attempts[-1:]
        if attempt.traceback
    ]
    return Group(facts, Text(), curves, Text(), attempts, *_environment(trial), *warnings, *tracebacks)


def outcome(log: LogView) -> str:
    """Describe how the attempt of a log failed, with its traceback. Empty if it still runs or did not fail."""
    if not log.ended or log.failure is None:
        return ""
    line = f"attempt {log.attempt} {log.state}: {log.message or log.failure}\n"
    return line + (f"{log.traceback.rstrip()}\n" if log.traceback else "")


def _environment(trial: TrialDetail) -> list[RenderableType]:
    """Show the environment of the newest attempt."""
    environment = trial.attempts[-1].environment if trial.attempts else {}
    if not environment:
        return []
    table = Table.grid(padding=(0, 2))
    for name, value in environment.items():
        table.add_row(name, value)
    return [Text(f"\nenvironment of attempt {trial.attempts[-1].number}", style="bold"), table]
