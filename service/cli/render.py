"""Renders studies, trials and workers for a terminal.

The functions take models of the contract and return rich renderables. They never call the service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.contract.base import Value
from service.contract.capabilities import Device
from service.contract.importance import Importance
from service.contract.log import LogView
from service.contract.plan import Plan, Replay
from service.contract.report import Number, from_wire
from service.contract.stage import StageList
from service.contract.study import Event, ParetoFront, StudyState, StudyView
from service.contract.trial import TrialDetail, TrialState, TrialView
from service.contract.worker import HostExclusion, WorkerView

FINISHED = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED)

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


def num_finished(study: StudyView) -> int:
    """Return the number of trials in a final state."""
    return sum(study.num_trials.get(state, 0) for state in FINISHED)


def progress(study: StudyView) -> str:
    """Return the finished trials and the budget: '12/60', or '12' without a budget."""
    return str(num_finished(study)) + (f"/{study.budget_trials}" if study.budget_trials else "")


def best(study: StudyView) -> str:
    """Return the best value so far: 'val/accuracy 0.975 (trial 12)'.

    For several objectives, the size of the Pareto front.
    """
    if study.pareto_front:
        return f"a front of {len(study.pareto_front)} {'trials' if len(study.pareto_front) > 1 else 'trial'}"
    if study.best is None or not study.best.values:
        return "no trial completed yet"
    return f"{study.spec.primary_objective.metric} {number(study.best.values[0])} (trial {study.best.number})"


def objectives(study: StudyView) -> str:
    """Return the objectives: 'maximize val/accuracy, minimize num_parameters'."""
    return ", ".join(f"{each.direction} {each.metric}" for each in study.spec.objectives)


def standing(study: StudyView) -> str:
    """Return the best value so far and how it compares with the study's reference."""
    return best(study) + (f": {study.reference_summary}" if study.reference_summary else "")


def number(value: Number | None) -> str:
    """Return a metric in four significant digits."""
    return "" if value is None else f"{from_wire(value):.4g}"


def parameters(values: Mapping[str, Value]) -> str:
    """Return parameters on one line, floats in three significant digits."""
    return "  ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def studies_table(studies: Iterable[StudyView]) -> RenderableType:
    """List studies: state, progress, best value."""
    table = Table("study", "state", "trials", "best", "created", box=None, pad_edge=False)
    for study in studies:
        table.add_row(study.name, _state(study), progress(study), best(study), f"{study.created_at:%Y-%m-%d %H:%M}")
    return table if table.row_count else Text("no studies yet; create one with: study create FILE")


def front_page(front: ParetoFront) -> RenderableType:
    """Show the trials on the Pareto front, sorted by the first objective from the best on, and the hypervolume."""
    if not front.trials or front.reference_point is None:
        return Text("no trial completed yet")
    metrics = [objective.metric for objective in front.objectives]
    table = Table("trial", *metrics, "parameters", box=None, pad_edge=False)
    ordered = sorted(front.trials, key=lambda trial: trial.values or [])
    for trial in reversed(ordered) if front.objectives[0].direction == "maximize" else ordered:
        table.add_row(str(trial.number), *map(number, trial.values or []), parameters(trial.parameters))
    corner = ", ".join(map(number, front.reference_point))
    return Group(table, Text(), Text(f"hypervolume {number(front.hypervolume)}, up to the reference point {corner}"))


def plan_page(plan: Plan, step_seconds: float | None) -> RenderableType:
    """Show what a study will cost: the steps of each part, and the total.

    Args:
        plan: the service's plan.
        step_seconds: duration of a step of one training, if the user knows it. Default: the plan's own.
    """
    has_steps = plan.resource != "trial"
    titles = [f"{plan.resource}s each", f"{plan.resource}s"] if has_steps else []
    table = Table("part", "trials", *titles, box=None, pad_edge=False)
    for part in plan.parts:
        steps = [str(part.to_step - part.from_step), str(part.num_steps)] if has_steps else []
        table.add_row(part.name, str(part.trials), *steps)
    said = []
    if plan.num_steps is not None and plan.full_trial_equivalents is not None:
        most = "at most " if plan.is_upper_bound else ""
        trainings = f"as many as {plan.full_trial_equivalents:.4g} whole trainings"
        if has_steps:
            said.append(f"{most}{plan.num_steps} {plan.resource}s, {trainings}")
        else:
            said.append(f"{most}{plan.num_steps} trials")
        step_seconds = plan.step_seconds if step_seconds is None else step_seconds
        if step_seconds is not None:
            seconds = plan.num_steps * step_seconds * plan.trainings_per_trial
            said.append(f"{most}{seconds / 3600:.3g} device-hours")
    return Group(table, *(Text(each) for each in said), *(Text(note, style="yellow") for note in plan.notes))


def replay_page(replay: Replay, pruner: str) -> RenderableType:
    """Show what a pruner would have saved, and how much worse the best value would be."""
    table = Table("", "steps", "best", "trial", box=None, pad_edge=False)
    for name, spent in (("as recorded", replay.recorded), (f"under {pruner}", replay.replayed)):
        table.add_row(name, str(spent.num_steps), number(spent.best), "" if spent.trial is None else str(spent.trial))
    lost = f"the best value would be {replay.regret:.4g} worse" if replay.regret else "the best value would be the same"
    return Group(
        table,
        Text(f"{pruner} would have saved {replay.saved_fraction:.0%} of the steps; {lost}"),
        *(Text(note, style="yellow") for note in replay.notes),
    )


def importance_page(importance: Importance) -> RenderableType:
    """Show the importance of parameters, with a bar for each one's share."""
    table = Table("parameter", "share", "", "trials", box=None, pad_edge=False)
    for parameter in importance.parameters:
        bar = Bar(1.0, 0.0, parameter.share, width=40)
        table.add_row(parameter.name, f"{parameter.share:.0%}", bar, str(parameter.num_trials))
    said = f"shares of what sets the best {importance.num_best} of {importance.num_trials} trials apart from all"
    shown: list[RenderableType] = [table, Text(said)] if importance.parameters else []
    return Group(*shown, *(Text(note, style="yellow") for note in importance.notes))


def workers_table(workers: Iterable[WorkerView]) -> RenderableType:
    """List workers: host, state, devices, trials, and the reason of a quarantine."""
    table = Table("worker", "host", "state", "devices", "trials", "reason", box=None, pad_edge=False)
    for worker in workers:
        devices = _devices(worker)
        state = "quarantined" if worker.quarantined_at else "alive" if worker.alive else "gone"
        style = "red" if worker.quarantined_at else "green" if worker.alive else "dim"
        excluded = [f"no trials of {each.study}: {each.reason}" for each in worker.exclusions]
        reason = "; ".join([worker.quarantine_reason] if worker.quarantine_reason else excluded)
        table.add_row(worker.name, worker.host, Text(state, style=style), devices, str(worker.num_leases), reason)
    return table if table.row_count else Text("no worker has been here yet; start one with: worker --cpu")


def _devices(worker: WorkerView) -> str:
    """Return a worker's devices, slot by slot if the slots differ."""
    slots = worker.capabilities.slots
    if not slots or all(each == worker.capabilities.devices for each in slots.values()):
        return _names(worker.capabilities.devices)
    return ", ".join(f"{slot}: {_names(devices)}" for slot, devices in slots.items())


def _names(devices: Iterable[Device]) -> str:
    names = Counter(device.name or device.kind for device in devices)
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())


def study_page(
    study: StudyView,
    trials: Iterable[TrialView],
    *,
    forks: Sequence[TrialView],
    trail: StageList,
    edits: Iterable[Event],
) -> RenderableType:
    """Show one study: state, stage history, edits, budgets, trials and forks."""
    spec = study.spec
    facts = Table.grid(padding=(0, 2))
    facts.add_row("study", Text(study.name, style="bold"))
    facts.add_row("state", _state_and_reason(study))
    facts.add_row("objective", objectives(study))
    facts.add_row("search", f"{spec.sampler.name} over {', '.join(spec.space)}; pruner {spec.pruner.name}")
    facts.add_row("trials", f"{progress(study)} finished; {counts(study)}")
    for stage in trail.stages:
        review = f" ({stage.review})" if stage.review else ""
        facts.add_row(f"stage {stage.number + 1} of {trail.num_stages}", stage.reason + review)
    for each in edits:
        facts.add_row(f"version {each.data['version']}", "\n".join(each.data["changes"]))
    facts.add_row("best", standing(study))
    if told := budget(study):
        facts.add_row("budget", told)
    if study.no_worker_reason:
        facts.add_row("waits", Text(f"no worker here gets trials of it: {study.no_worker_reason}", style="yellow"))
    for exclusion in study.exclusions:
        facts.add_row("excluded", Text(excluded_host(exclusion), style="yellow"))
    if study.notice:
        facts.add_row("notice", Text(study.notice, style="yellow"))
    beside = [Text(), Text("forks", style="bold"), forks_table(forks)] if forks else []
    return Group(facts, Text(), trials_table(trials), *beside)


def excluded_host(exclusion: HostExclusion) -> str:
    """Say which host gets no trials of a study, why, and how it gets them again."""
    return (
        f"the host {exclusion.host} gets no trials of it: {exclusion.reason}; "
        f"repair it, then: study readmit {exclusion.host}"
    )


def budget(study: StudyView) -> str:
    """Return the used part of each budget except trials: '1.5 of 12 hours, 2 of 5 failures'."""
    given, used = study.spec.budget, study.budget_used
    told = [
        f"{spent:.3g} of {limit:g} {words}"
        for spent, limit, words in (
            (used.hours, given.hours, "hours"),
            (used.device_hours, given.device_hours, "device-hours"),
            (used.failures, given.failures, "failures"),
            (used.since_improvement, given.no_improvement, "trials without improvement"),
        )
        if limit is not None
    ]
    return ", ".join([*told, *([] if given.target is None else [f"target {given.target:g}"])])


def counts(study: StudyView) -> str:
    """Return the number of trials in each state."""
    told = [f"{count} {state}" for state, count in study.num_trials.items() if count]
    return ", ".join(told) or "none yet"


def trials_table(trials: Iterable[TrialView]) -> RenderableType:
    """List trials: state, value, parameters, and the reason if a trial ended early."""
    table = Table("trial", "state", "value", "step", "parameters", "reason", box=None, pad_edge=False)
    for trial in trials:
        table.add_row(
            str(trial.number),
            _state(trial),
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
        said = f"{fork.suggestion_reason}: {fork.state_reason}" if fork.state_reason else fork.suggestion_reason
        table.add_row(fork.id, _state(fork), _reached(fork), step, said)
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
    facts.add_row("state", _state_and_reason(trial))
    facts.add_row("chosen", trial.suggestion_reason)
    for name, value in trial.parameters.items():
        facts.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    if trial.values:
        facts.add_row("value", ", ".join(map(number, trial.values)))
    for arrival in trial.rung_results:
        facts.add_row(f"at step {arrival.step}", f"{number(arrival.value)} (place {arrival.rank} of {arrival.num})")
    for name, metric in trial.metrics.items():
        facts.add_row(name, number(metric))
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
    told = f"attempt {log.attempt} {log.state}: {log.message or log.failure}\n"
    return told + (f"{log.traceback.rstrip()}\n" if log.traceback else "")


def _environment(trial: TrialDetail) -> list[RenderableType]:
    """Show the environment of the newest attempt."""
    known = trial.attempts[-1].environment if trial.attempts else {}
    if not known:
        return []
    table = Table.grid(padding=(0, 2))
    for name, value in known.items():
        table.add_row(name, value)
    return [Text(f"\nenvironment of attempt {trial.attempts[-1].number}", style="bold"), table]


def live_page(study: StudyView, running: Iterable[TrialDetail], notice: str = "") -> RenderableType:
    """Render the live view of `watch`: a progress bar, the best value, the running trials, and a notice if any."""
    bar = Table.grid(padding=(0, 2))
    finished, total = num_finished(study), study.budget_trials
    bar.add_row(
        Text(study.name, style="bold"),
        ProgressBar(total=total, completed=finished, width=40, pulse=total is None),
        progress(study),
        _state_and_reason(study),
    )
    trials = Table.grid(padding=(0, 2))
    for trial in running:
        trials.add_row(f"  trial {trial.number}", _last(trial, study), Text(parameters(trial.parameters), style="dim"))
    excluded = [excluded_host(each) for each in study.exclusions]
    notes = [Text(each, style="yellow") for each in (study.notice, *excluded, notice) if each]
    told = f"best: {standing(study)}" + (f"\nbudget: {budget(study)}" if budget(study) else "")
    return Group(bar, Text(told), trials, *notes)


def _last(trial: TrialDetail, study: StudyView) -> str:
    series = next((series for series in trial.series if series.metric == study.spec.primary_objective.metric), None)
    if series is None or not series.steps:
        return "started"
    of = f"/{study.spec.resource.max}" if study.spec.resource else ""
    return f"step {series.steps[-1]}{of}  {series.metric} {number(series.values[-1])}"


def _state(thing: StudyView | TrialView) -> Text:
    return Text(thing.state, style=_STYLES.get(thing.state, ""))


def _state_and_reason(thing: StudyView | TrialView) -> Text:
    return _state(thing).append(f": {thing.state_reason}" if thing.state_reason else "")
