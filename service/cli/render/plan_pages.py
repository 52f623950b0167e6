"""Renders plans and replays for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.render.formatting import number
from service.contract.plan import Plan, Replay


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
    lines = []
    if plan.num_steps is not None and plan.full_trial_equivalents is not None:
        most = "at most " if plan.is_upper_bound else ""
        trainings = f"as many as {plan.full_trial_equivalents:.4g} whole trainings"
        if has_steps:
            lines.append(f"{most}{plan.num_steps} {plan.resource}s, {trainings}")
        else:
            lines.append(f"{most}{plan.num_steps} trials")
        seconds = plan.step_seconds if step_seconds is None else step_seconds
        if seconds is not None:
            hours = plan.num_steps * plan.trainings_per_trial / 3600
            between = ""
            if step_seconds is None and plan.step_seconds_range is not None:
                low, high = plan.step_seconds_range
                between = f" ({hours * low:.3g} to {hours * high:.3g} at the corners of the space)"
            lines.append(f"{most}{hours * seconds:.3g} device-hours{between}")
    return Group(table, *(Text(each) for each in lines), *(Text(note, style="yellow") for note in plan.notes))


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
