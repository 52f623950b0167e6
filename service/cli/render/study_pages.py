"""Renders studies for a terminal: the list, one study, its Pareto front and its importance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.cli.render.formatting import number, parameters, state_and_reason, state_text
from service.cli.render.trial_pages import forks_table, trials_table
from service.contract.importance import Importance
from service.contract.preflight_view import PreflightSummary
from service.contract.stage import StageList
from service.contract.study import Event, ParetoFront, StudyState, StudyView
from service.contract.trial import TrialDetail, TrialState, TrialView
from service.contract.worker import HostExclusion

_MAX_FINDINGS = 3
"""The largest number of findings on a page that is about more than them."""

FINISHED = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED)


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


def reference_summary(study: StudyView) -> str:
    """Return the best value so far and how it compares with the study's references, or what to compare it with."""
    if study.reference_summary:
        return f"{best(study)}: {study.reference_summary}"
    known = ", ".join(f"{each.name.replace('_', ' ')} {number(each.value)}" for each in study.references)
    return best(study) + (f"; compare {study.spec.primary_objective.metric} with {known}" if known else "")


def findings(study: StudyView) -> list[str]:
    """Return the gravest findings about a study and what to do, a line each, and where the others are."""
    shown = [
        f"{each.sentence} → {' '.join(remedy.sentence for remedy in each.remedies)}"
        for each in study.findings[:_MAX_FINDINGS]
    ]
    num_more = len(study.findings) - len(shown)
    return [*shown, f"{num_more} more; see: study diagnose {study.name}"] if num_more else shown


def waits_for_preflight(study: StudyView) -> bool:
    """Return whether the first trial of an active study waits for its preflight."""
    return study.state is StudyState.ACTIVE and study.preflight is not None and study.preflight.holds_back


def preflight(summary: PreflightSummary, study: str) -> str:
    """Return the state of a study's newest preflight, what its checks found, and the command that shows them all."""
    match summary.state:
        case TrialState.WAITING:
            words = "waits for a worker"
        case TrialState.RUNNING:
            words = "a worker makes the checks"
        case TrialState.COMPLETED:
            return f"{(summary.state_reason or '').removeprefix('preflight: ')}; see: study preflight {study}"
        case _:
            return f"{summary.state}: {summary.state_reason}; check again: study preflight {study} --again"
    return f"{words}{'; the first trial begins after it' if summary.holds_back else ''}"


def studies_table(studies: Iterable[StudyView]) -> RenderableType:
    """List studies: state, progress, best value."""
    table = Table("study", "state", "trials", "best", "created", box=None, pad_edge=False)
    for study in studies:
        state = state_text(study).append(", waits for its preflight" if waits_for_preflight(study) else "")
        table.add_row(study.name, state, progress(study), best(study), f"{study.created_at:%Y-%m-%d %H:%M}")
    return table if table.row_count else Text("no studies yet; create one with: study create FILE")


def pareto_page(front: ParetoFront) -> RenderableType:
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


def importance_page(importance: Importance) -> RenderableType:
    """Show the importance of parameters, with a bar for each one's share."""
    table = Table("parameter", "share", "", "trials", box=None, pad_edge=False)
    for parameter in importance.parameters:
        bar = Bar(1.0, 0.0, parameter.share, width=40)
        table.add_row(parameter.name, f"{parameter.share:.0%}", bar, str(parameter.num_trials))
    caption = f"shares of what sets the best {importance.num_best} of {importance.num_trials} trials apart from all"
    shown: list[RenderableType] = [table, Text(caption)] if importance.parameters else []
    return Group(*shown, *(Text(note, style="yellow") for note in importance.notes))


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
    facts.add_row("state", state_and_reason(study))
    facts.add_row("objective", objectives(study))
    facts.add_row("search", f"{spec.sampler.name} over {', '.join(spec.space)}; pruner {spec.pruner.name}")
    if study.preflight is not None:
        facts.add_row("preflight", preflight(study.preflight, study.name))
    facts.add_row("trials", f"{progress(study)} finished; {counts(study)}")
    for stage in trail.stages:
        review = f" ({stage.review})" if stage.review else ""
        facts.add_row(f"stage {stage.number + 1} of {trail.num_stages}", stage.reason + review)
    for each in edits:
        facts.add_row(f"version {each.data['version']}", "\n".join(each.data["changes"]))
    facts.add_row("best", reference_summary(study))
    for finding in findings(study):
        facts.add_row("finding", Text(finding, style="yellow"))
    if used := budget(study):
        facts.add_row("budget", used)
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
    limits, used = study.spec.budget, study.budget_used
    parts = [
        f"{spent:.3g} of {limit:g} {words}"
        for spent, limit, words in (
            (used.hours, limits.hours, "hours"),
            (used.device_hours, limits.device_hours, "device-hours"),
            (used.resource, limits.resource, "steps"),
            (used.failures, limits.failures, "failures"),
            (used.since_improvement, limits.no_improvement, "trials without improvement"),
        )
        if limit is not None
    ]
    return ", ".join([*parts, *([] if limits.target is None else [f"target {limits.target:g}"])])


def counts(study: StudyView) -> str:
    """Return the number of trials in each state."""
    parts = [f"{count} {state}" for state, count in study.num_trials.items() if count]
    return ", ".join(parts) or "none yet"


def live_page(study: StudyView, running: Iterable[TrialDetail], notice: str = "") -> RenderableType:
    """Render the live view of `watch`: a progress bar, the best value, the running trials, and a notice if any."""
    bar = Table.grid(padding=(0, 2))
    finished, total = num_finished(study), study.budget_trials
    bar.add_row(
        Text(study.name, style="bold"),
        ProgressBar(total=total, completed=finished, width=40, pulse=total is None),
        progress(study),
        state_and_reason(study),
    )
    trials = Table.grid(padding=(0, 2))
    for trial in running:
        trials.add_row(f"  trial {trial.number}", _last(trial, study), Text(parameters(trial.parameters), style="dim"))
    excluded = [excluded_host(each) for each in study.exclusions]
    checked = study.preflight if waits_for_preflight(study) else None
    waits = None if checked is None else f"preflight: {preflight(checked, study.name)}"
    notes = [Text(each, style="yellow") for each in (study.notice, waits, *excluded, notice) if each]
    summary = f"best: {reference_summary(study)}" + (f"\nbudget: {budget(study)}" if budget(study) else "")
    return Group(bar, Text(summary), trials, *notes)


def _last(trial: TrialDetail, study: StudyView) -> str:
    series = next((series for series in trial.series if series.metric == study.spec.primary_objective.metric), None)
    if series is None or not series.steps:
        return "started"
    of = f"/{study.spec.resource.max}" if study.spec.resource else ""
    return f"step {series.steps[-1]}{of}  {series.metric} {number(series.values[-1])}"
