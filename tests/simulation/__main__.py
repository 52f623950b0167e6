"""`python -m tests.simulation`: plays many scenarios, or one again by its seed; prints violations and speed."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.many import Played, many
from tests.simulation.scenario import Result

SHOWN = 20
"""Violations that are told of one world; the first ones say the most."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds (default: 300)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seed", type=int, help="play this world only and tell its digest")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first world that breaks a promise")
    given = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    began_at = time.perf_counter()
    played, broken = [], 0
    with Progress(
        TextColumn("worlds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as progress:
        task = progress.add_task("worlds", total=len(seeds))
        for each in many(seeds, given.processes):
            played.append(each)
            progress.advance(task)
            if each.result.violations:
                broken += 1
                _tell(console, each.result)
                if given.fail_fast:
                    break
    _sum_up(console, played, time.perf_counter() - began_at)
    if given.seed is not None:
        console.print(f"digest {played[0].result.digest}")
    return int(broken > 0)


def _tell(console: Console, result: Result) -> None:
    say = partial(console.print, markup=False)
    say(f"seed {result.seed} breaks a promise:")
    for violation in result.violations[:SHOWN]:
        say(f"  {violation}")
    say(f"replay: python -m tests.simulation --seed {result.seed}")


def _sum_up(console: Console, played: Sequence[Played], seconds: float) -> None:
    results = [each.result for each in played]
    num_trials, busy = sum(each.num_trials for each in results), sum(each.seconds for each in played)
    console.print(
        f"{len(results)} worlds, {num_trials} trials, {sum(each.num_attempts for each in results)} attempts, "
        f"{sum(each.num_answers for each in results)} answers in {seconds:.1f} s: {num_trials / seconds:.0f} trials "
        f"per second, {num_trials / max(busy, 1e-9):.0f} per second of one core, "
        f"simulated {sum(each.seconds for each in results) / 3600:.1f} hours"
    )


if __name__ == "__main__":
    raise SystemExit(main())
