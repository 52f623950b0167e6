"""Measures samplers: regret on test functions, compared with Optuna's TPE, and the processor time of a suggestion.

`python benchmarks/search.py --out benchmarks/results/search.md`. Regret is relative to random search: 0 is the optimum,
and 1 is the median result of random search with the same number of trials. Every seed is a whole study.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna

from benchmarks.functions import FUNCTIONS, Function
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.search import decide
from service.search.optuna_bridge.distributions import distribution
from service.search.replay import simulate
from service.search.seeds import derive
from service.search.space.sampling import sample
from service.search.space.transform import coordinate, value_at

STARTUP_TRIALS = 10
OURS = ("random", "sobol", "tpe", "auto", "gp", "coarse_to_fine", "optuna:cmaes", "optuna:gp")
OPTUNA = "Optuna's TPE"
PAIRED = "Optuna's TPE, our start and seeds"
AFTER = (10, 25, 50)
RESAMPLES = 10_000

Shares = dict[tuple[str, str], list[float]]
"""(function, sampler) -> the regret of each seed, relative to the median regret of random search."""


def spec_of(function: Function, sampler: str, seed: int, trials: int) -> StudySpec:
    """Return the spec of a study that minimises a test function with a sampler."""
    return StudySpec.model_validate(
        {
            "name": "measured",
            "objective": {"metric": "value", "direction": "minimize"},
            "space": function.space,
            "sampler": {"name": sampler, "seed": seed},
            "budget": {"trials": trials},
        }
    )


def ours(function: Function, sampler: str, seed: int, trials: int) -> History:
    """Run one study of this project, one trial at a time, with the same decisions as the service."""
    spec, history = spec_of(function, sampler, seed, trials), History()
    while isinstance(decision := decide.next_action(history, spec), decide.Suggest):
        made = decision.suggestion
        value = function.report(made.parameters, seed, decision.number)
        trial = TrialRecord(
            decision.number, TrialState.COMPLETED, made.parameters, value=value, stage=made.stage, notes=made.notes
        )
        history = History(history.revision + 1, (*history.trials, trial))
    return history


def ours_with_workers(function: Function, sampler: str, seed: int, trials: int, workers: int) -> History:
    """Run one study of this project with several workers; a trial takes one to two seconds of simulated time."""
    number_of_report = iter(range(trials))

    def objective(parameters: Mapping[str, Any], step: int) -> Mapping[str, float]:
        del step
        return {"value": function.report(parameters, seed, next(number_of_report))}

    def duration(parameters: Mapping[str, Any], step: int) -> float:
        del step
        return 1.0 + random.Random(repr(sorted(parameters.items()))).random()

    spec = spec_of(function, sampler, seed, trials)
    return simulate.run(spec, objective, workers=workers, duration=duration).history


def optunas(function: Function, seed: int, trials: int, *, paired: bool) -> list[tuple[dict[str, Any], float]]:
    """Run one study of Optuna's TPE; `paired` gives it the startup trials and the seeds of this project's study."""
    spec = spec_of(function, "tpe", seed, trials)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    found = []

    def suggested(trial: optuna.Trial, name: str) -> Any:
        each = distribution(spec.space[name])
        return value_at(spec.space[name], each.to_internal_repr(trial._suggest(name, each)))  # noqa: SLF001

    for number in range(trials):
        if paired and number < STARTUP_TRIALS:
            drawn = sample(spec.space, seed, number)
            study.enqueue_trial(
                {
                    name: distribution(spec.space[name]).to_external_repr(coordinate(spec.space[name], value))
                    for name, value in drawn.items()
                }
            )
        elif paired:
            study.sampler = optuna.samplers.TPESampler(seed=derive(seed, "tpe", number, 0))
        trial = study.ask()
        values = active(spec, lambda name, trial=trial: suggested(trial, name))  # type: ignore[misc]
        value = function.report(values, seed, number)
        study.tell(trial, value)
        found.append((values, value))
    return found


def active(spec: StudySpec, suggest: Callable[[str], Any]) -> dict[str, Any]:
    """Sample a configuration by requesting the active parameters one by one, as a define-by-run objective does."""
    from service.domain.space import is_active, topological_order  # noqa: PLC0415

    values: dict[str, Any] = {}
    for name in topological_order(spec.space):
        if is_active(spec.space[name], values):
            values[name] = suggest(name)
    return values


def found(work: tuple[str, str, int, int, int]) -> tuple[dict[int, float], float]:
    """Return the regret after each number of trials in `AFTER`, and the processor seconds of the study.

    It is the regret of the configuration that the study would report as its best, measured without noise.
    """
    name, sampler, seed, trials, workers = work
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    function = FUNCTIONS[name]
    began = time.process_time()
    if sampler in (OPTUNA, PAIRED):
        ended = optunas(function, seed, trials, paired=sampler == PAIRED)
    else:
        history = (
            ours(function, sampler, seed, trials)
            if workers == 1
            else ours_with_workers(function, sampler, seed, trials, workers)
        )
        ended = [(dict(trial.parameters), trial.value or 0.0) for trial in history]
    seconds = time.process_time() - began
    best = {num: min(ended[:num], key=lambda each: each[1])[0] for num in numbers_of_trials(trials)}
    return {num: function.value(values) - function.optimum for num, values in best.items()}, seconds


def numbers_of_trials(trials: int) -> list[int]:
    """Return after how many trials the regret is measured."""
    return [num for num in AFTER if num < trials] + [trials]


def interval(differences: list[float]) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean of paired differences."""
    chance = random.Random(0)
    means = sorted(sum(chance.choices(differences, k=len(differences))) / len(differences) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


def regrets(
    names: list[str], samplers: list[str], *, seeds: int, trials: int, workers: int, processes: int
) -> tuple[dict[int, Shares], dict[str, float]]:
    """Return number of trials -> regrets, and sampler -> processor seconds of a study."""
    works = [(name, sampler, seed, trials, workers) for name in names for sampler in samplers for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        found_by = dict(zip(works, pool.map(found, works, chunksize=5), strict=True))
    values = {(name, sampler, seed): result for (name, sampler, seed, _, _), result in found_by.items()}
    shares: dict[int, Shares] = {num: {} for num in numbers_of_trials(trials)}
    for num, of_num in shares.items():
        for name in names:
            usual = median(values[name, "random", seed][0][num] for seed in range(seeds))
            for sampler in samplers:
                relative = [values[name, sampler, seed][0][num] / usual for seed in range(seeds)]
                of_num[name, sampler] = relative
    seconds = {
        sampler: median(values[name, sampler, seed][1] for name in names for seed in range(seeds))
        for sampler in samplers
    }
    return shares, seconds


def regret_tables(shares: Shares, samplers: list[str]) -> list[str]:
    """Return a table of median regrets, and tables of paired differences between samplers by family of functions."""
    lines = ["", "| function | family | " + " | ".join(samplers) + " |", "| --- " * (len(samplers) + 2) + "|"]
    names = list(dict.fromkeys(name for name, _ in shares))
    for name in names:
        function = FUNCTIONS[name]
        cells = [f"{median(shares[name, sampler]):.3f}" for sampler in samplers]
        lines.append(f"| {name} | {function.family} | " + " | ".join(cells) + " |")
    for title, one, other in (
        ("tpe against Optuna's TPE from the same start and seeds", "tpe", PAIRED),
        ("tpe against Optuna's TPE by itself", "tpe", OPTUNA),
        ("auto against tpe", "auto", "tpe"),
        ("gp against tpe", "gp", "tpe"),
        ("gp against optuna:gp", "gp", "optuna:gp"),
        ("coarse_to_fine against random", "coarse_to_fine", "random"),
    ):
        if {one, other} <= set(samplers):
            header = "| family | mean difference of regret | 95 % interval |"
            lines += ["", f"### {title}", "", header, "| --- | --- | --- |"]
            for family in dict.fromkeys(FUNCTIONS[name].family for name in names):
                alike = [name for name in names if FUNCTIONS[name].family == family]
                apart = [a - b for name in alike for a, b in zip(shares[name, one], shares[name, other], strict=True)]
                low, high = interval(apart)
                lines.append(f"| {family} | {sum(apart) / len(apart):+.4f} | {low:+.4f} … {high:+.4f} |")
    return lines


def ask_milliseconds(num_trials: int, sampler: str = "tpe", asks: int = 25) -> float:
    """Return the median processor time of one suggestion, in milliseconds.

    The space has six parameters. The history begins with `num_trials` trials and grows by one with each suggestion.
    """
    function = Function("", {**FUNCTIONS["mixed"].space}, FUNCTIONS["mixed"].value)
    spec = spec_of(function, sampler, 0, 10**9)
    drawn = (sample(spec.space, 0, number) for number in range(num_trials))
    history = History(1, tuple(_ended(number, values, function) for number, values in enumerate(drawn)))
    times = []
    for _ in range(asks):
        began = time.thread_time()
        decision = decide.next_action(history, spec)
        times.append(time.thread_time() - began)
        assert isinstance(decision, decide.Suggest)
        new = _ended(decision.number, decision.suggestion.parameters, function)
        history = History(history.revision + 1, (*history.trials, new))
    return 1e3 * median(times)


def optuna_milliseconds(num_trials: int, asks: int = 9) -> float:
    """Return the same for Optuna's TPE with its in-memory storage."""
    function = FUNCTIONS["mixed"]
    spec = spec_of(function, "tpe", 0, 10**9)
    distributions = {name: distribution(parameter) for name, parameter in spec.space.items()}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))

    def told(number: int) -> optuna.trial.FrozenTrial:
        values = sample(spec.space, 0, number)
        parameters = {
            name: each.to_external_repr(coordinate(spec.space[name], values[name]))
            for name, each in distributions.items()
        }
        value = function.value(values)
        return optuna.trial.create_trial(params=parameters, distributions=distributions, value=value)

    study.add_trials([told(number) for number in range(num_trials)])
    times = []
    for number in range(asks):
        began = time.thread_time()
        trial = study.ask(distributions)
        times.append(time.thread_time() - began)
        study.tell(trial, float(number))
    return 1e3 * median(times)


def _ended(number: int, values: Mapping[str, Any], function: Function) -> TrialRecord:
    return TrialRecord(number, TrialState.COMPLETED, values, value=function.value(values))


def ask_table() -> list[str]:
    """Return a table of the processor time of a suggestion."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = ["", "| trials so far | gp | tpe | Optuna's TPE |", "| --- | --- | --- | --- |"]
    for num in (100, 250, 1_000, 10_000):
        times = ask_milliseconds(num, "gp"), ask_milliseconds(num), optuna_milliseconds(num)
        lines.append(f"| {num:,} | " + " | ".join(f"{each:.1f}" for each in times) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="*", default=[*OURS[:5], OPTUNA, PAIRED])
    parser.add_argument("--functions", nargs="*", default=list(FUNCTIONS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1, help="simulated workers of this project's samplers")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    samplers = ["random", *(sampler for sampler in arguments.samplers if sampler != "random")]
    began = time.monotonic()
    shares, seconds = regrets(
        arguments.functions,
        samplers,
        seeds=arguments.seeds,
        trials=arguments.trials,
        workers=arguments.workers,
        processes=arguments.processes,
    )
    minutes = (time.monotonic() - began) / 60
    command = "python benchmarks/search.py " + " ".join(arg if " " not in arg else f'"{arg}"' for arg in sys.argv[1:])
    lines = [
        "# Search, measured",
        "",
        f"`{command}`; Python {platform.python_version()}, Optuna {optuna.__version__}, {minutes:.0f} minutes.",
        "",
        f"Medians of {arguments.seeds} seeds, {arguments.workers} trials at a time.",
        "1 is random search's median after as many trials.",
        *(
            line
            for num, of_num in shares.items()
            for line in ("", f"## Regret after {num} trials", *regret_tables(of_num, samplers))
        ),
        "",
        f"## Processor seconds of a study of {arguments.trials} trials",
        "",
        "| " + " | ".join(samplers) + " |",
        "| --- " * len(samplers) + "|",
        "| " + " | ".join(f"{seconds[sampler]:.2f}" for sampler in samplers) + " |",
        "",
        "## What a suggestion costs",
        "",
        "Six parameters (those of `mixed`), the history growing with each: median milliseconds of processor time.",
        *ask_table(),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
