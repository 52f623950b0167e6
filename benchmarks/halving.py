"""Compares schedulers (ASHA, Hyperband, median rule) at equal epochs on recorded learning curves.

Every configuration of four small tasks is trained once by the training core, and its learning curve is stored. The
benchmark then simulates whole studies on these tables with `service.search.replay.simulate`, which decides with the
same code as the service.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import random
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from service.contract.base import Value
from service.contract.catalogue import load_catalogue
from service.contract.study import StudySpec
from service.domain.task_config import apply_parameters
from service.search.replay import simulate
from worker.training import Monitor, Report, TrainingConfig, Verdict, train
from worker.training.errors import Diverged

EPOCHS = 27
METRIC = "val/loss"
BUDGETS = (5, 10, 25)
"""The epochs spent, in full trainings, at which the regret is measured."""
WORKERS = (1, 4, 16)

SPACE: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "optimizer.lr": {
        "type": "categorical",
        "choices": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
        "ordered": True,
    },
    "model.hidden": {"type": "categorical", "choices": [[8], [32], [128]], "ordered": True},
    "model.dropout": {"type": "categorical", "choices": [0.0, 0.25, 0.5], "ordered": True},
    "batch_size": {"type": "categorical", "choices": [16, 64], "ordered": True},
}
TASKS: dict[str, dict[str, Any]] = {
    "digits, cosine": {"data": {"name": "digits", "limit": 200}, "schedule": {"name": "cosine"}},
    "wine, constant": {"data": {"name": "wine"}, "schedule": {"name": "constant"}},
    "breast cancer, cosine": {"data": {"name": "breast_cancer", "limit": 200}, "schedule": {"name": "cosine"}},
    "diabetes, constant": {"data": {"name": "diabetes"}, "schedule": {"name": "constant"}, "loss": {"name": "mse"}},
}
SCHEDULERS: dict[str, Any] = {
    "none": "none",
    "median": "median",
    "asha, promote": "asha",
    "asha, stop": {"name": "asha", "mode": "stop"},
    "hyperband, promote": "hyperband",
    "asha, promote, min 1": {"name": "asha", "min": 1},
}
SAMPLERS = ("random", "tpe")

Table = dict[str, list[float]]
"""Configuration, as JSON -> its validation loss after each epoch."""


class Played(NamedTuple):
    """One simulated study: its settings, and its regret at each budget of `BUDGETS`."""

    task: str
    sampler: str
    scheduler: str
    workers: int
    seed: int
    regrets: tuple[float, ...]


def key(parameters: Mapping[str, Value]) -> str:
    """Return a configuration as JSON with sorted names, the key of a table."""
    return json.dumps(dict(sorted(parameters.items())))


def configurations() -> Iterator[dict[str, Value]]:
    """Yield every configuration of `SPACE`."""
    names = sorted(SPACE)
    for values in itertools.product(*(SPACE[name]["choices"] for name in names)):
        yield dict(zip(names, values, strict=True))


def curve(asked: tuple[str, str]) -> list[float]:
    """Train one configuration of a task and return its learning curve; after a divergence the loss is infinite."""
    task, parameters = TASKS[asked[0]], json.loads(asked[1])
    torch.set_num_threads(1)
    base = {"model": {"name": "mlp"}, "loss": {"name": "cross_entropy"}, "optimizer": {"name": "adamw"}}
    configuration, _ = apply_parameters(base | {"epochs": EPOCHS} | task, parameters, load_catalogue())
    losses: list[float] = []

    def on_report(report: Report) -> Verdict:
        losses.append(report.metrics[METRIC])
        return Verdict.CONTINUE

    try:
        config = TrainingConfig.from_mapping(configuration)
        train(config, seed=1, monitor=Monitor(METRIC, "minimize", "last"), on_report=on_report)
    except Diverged:
        losses += [math.inf] * (EPOCHS - len(losses))
    return losses


def tables(cache: Path, processes: int) -> dict[str, Table]:
    """Return the curves of every configuration of every task; train those that are not in the cache file yet."""
    known: dict[str, Table] = json.loads(cache.read_text()) if cache.exists() else {}
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for task in TASKS:
            if task not in known:
                keys = [key(parameters) for parameters in configurations()]
                curves = pool.map(curve, [(task, each) for each in keys], chunksize=8)
                known[task] = dict(zip(keys, curves, strict=True))
                cache.write_text(json.dumps(known))
                print(f"trained {len(keys)} configurations of {task}", file=sys.stderr)
    return known


def play(table: Table, task: str, sampler: str, scheduler: str, *, workers: int, seed: int) -> Played:
    """Simulate one study and return its regret, where 0 is the table's best loss and 1 its median configuration's."""
    spec = StudySpec.model_validate(
        {
            "name": "curves",
            "objective": {"metric": METRIC, "direction": "minimize", "value": "best"},
            "space": SPACE,
            "sampler": {"name": sampler},
            "pruner": SCHEDULERS[scheduler],
            "resource": {"name": "epoch", "max": EPOCHS},
            "budget": {"trials": len(table)},
        }
    )
    played = simulate.run(
        spec,
        lambda parameters, step: {METRIC: table[key(parameters)][step - 1]},
        workers=workers,
        seed=seed,
        max_steps=max(BUDGETS) * EPOCHS,
    )
    finals = sorted(min(losses) for losses in table.values())
    best, median = finals[0], statistics.median(finals)
    measured = list(itertools.accumulate((step.value for step in played.steps), min))
    regrets = tuple((measured[min(budget * EPOCHS, len(measured)) - 1] - best) / (median - best) for budget in BUDGETS)
    return Played(task, sampler, scheduler, workers, seed, regrets)


_known: dict[str, Table] = {}


def _keep(cache: Path) -> None:
    _known.update(json.loads(cache.read_text()))


def _play(asked: tuple[str, str, str, int, int]) -> Played:
    task, sampler, scheduler, workers, seed = asked
    return play(_known[task], task, sampler, scheduler, workers=workers, seed=seed)


def interval(values: list[float]) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the median."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(500))
    return medians[12], medians[487]


def report(results: list[Played], command: str) -> str:
    """Return the page of results: median regret over tables and seeds, with intervals, per sampler and workers."""
    seeds = len({each.seed for each in results})
    lines = [
        "# Schedulers at equal epochs, measured",
        "",
        f"{len(TASKS)} tables of {len(list(configurations()))} curves of {EPOCHS} epochs, {seeds} seeds each.",
        "Regret of the best validation loss seen so far: 0 is the best of the table, 1 what its median configuration",
        "reaches; the median over tables and seeds, with a 95 % bootstrap interval. A column says how many epochs were",
        f"spent, in trainings of {EPOCHS} epochs. Steps take equal time; a promotion costs nothing beside its steps.",
    ]
    for sampler, workers in sorted({(each.sampler, each.workers) for each in results}):
        lines += ["", f"## {sampler}, {workers} worker{'s' if workers > 1 else ''}", ""]
        lines += ["| | " + " | ".join(f"{budget} trainings" for budget in BUDGETS) + " |", "| --- |" + " --- |" * 3]
        for scheduler in sorted({each.scheduler for each in results}, key=list(SCHEDULERS).index):
            found = [
                each
                for each in results
                if (each.sampler, each.workers, each.scheduler) == (sampler, workers, scheduler)
            ]
            cells = []
            for at in range(len(BUDGETS)):
                values = [each.regrets[at] for each in found]
                low, high = interval(values)
                cells.append(f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f})")
            lines.append(f"| {scheduler} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"    {command}", ""])


def main() -> None:
    """Create the tables, simulate the studies, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=SAMPLERS)
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS), choices=SCHEDULERS)
    parser.add_argument("--workers", nargs="+", type=int, default=list(WORKERS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--curves", type=Path, default=Path(tempfile.gettempdir()) / "assayer-curves.json")
    parser.add_argument("--out", type=Path, help="write the page here instead of printing it")
    given = parser.parse_args()
    tables(given.curves, given.processes)
    asked = list(itertools.product(TASKS, given.samplers, given.schedulers, given.workers, range(given.seeds)))
    with multiprocessing.get_context("spawn").Pool(given.processes, _keep, (given.curves,)) as pool:
        results = []
        for number, played in enumerate(pool.imap_unordered(_play, asked, chunksize=4), start=1):
            results.append(played)
            if number % 100 == 0:
                print(f"played {number} of {len(asked)} studies", file=sys.stderr)
    words = [word for at, word in enumerate(sys.argv[1:]) if word != "--curves" and sys.argv[at] != "--curves"]
    page = report(results, f"python -m benchmarks.halving {shlex.join(words)}".strip())
    if given.out is not None:
        given.out.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
