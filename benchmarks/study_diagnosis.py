"""Measures the rules of a study: how often they find a planted fault, how often they speak without one, and their cost.

`python -m benchmarks.study_diagnosis --out benchmarks/results/study_diagnosis.md`. It takes about two
minutes of one core.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.functions import FUNCTIONS, Function
from benchmarks.machine import machine
from benchmarks.planted_studies import HEALTHY, PLAIN_FUNCTIONS, PLANTED, SPACE, Build, bowl, plain, rows, spec_of
from service.analysis.diagnosis.facts import AttemptFacts, StudyFacts
from service.analysis.diagnosis.study import RULES
from service.contract.finding import Finding
from service.search.space.sampling import sample

BY_NAME: dict[str, Callable[[StudyFacts], Finding | None]] = {rule.__name__: rule for rule in RULES}

OUT = "benchmarks/results/study_diagnosis.md"

NEGLIGIBLE = 0.1
"""A parameter may be called idle if its total Sobol index, on ranks, is below this."""

SAMPLERS = {"random": 1, "tpe": 4, "gp": 10}
"""Sampler -> only each n-th seed is simulated with it."""


def num_spoken(rule: str, build: Build, seeds: int) -> int:
    """Return in how many studies a rule speaks."""
    return sum(BY_NAME[rule](build(seed)) is not None for seed in range(seeds))


def total_index(function: Function, name: str, num: int = 400) -> float:
    """Estimate the total Sobol index of a parameter on the ranks of random configurations (Jansen 1999)."""
    space = spec_of(function.space).space
    drawn = [(dict(sample(space, 1, at)), sample(space, 2, at).get(name)) for at in range(num)]
    pairs = [(each, {**each, name: other}) for each, other in drawn if other is not None]
    values = np.array([[function.value(first), function.value(second)] for first, second in pairs])
    ranks = np.searchsorted(np.sort(values.ravel()), values) / values.size
    return float(np.mean((ranks[:, 0] - ranks[:, 1]) ** 2) / (2 * ranks.var()))


def is_true(finding: Finding, function: Function) -> bool:
    """Return whether a finding on a plain function is right: only parameters that are nearly idle may be called so."""
    if finding.rule != "parameter_without_effect":
        return False
    named = [remedy.settings["parameter"] for remedy in finding.remedies]
    return all(total_index(function, name) < NEGLIGIBLE for name in named)


def false_alarms(seeds: int, trials: int) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """Return rule -> wrong findings on the plain functions, rule -> right ones, and the name of each study."""
    wrong, right, names = dict.fromkeys(BY_NAME, 0), dict.fromkeys(BY_NAME, 0), []
    for sampler, share in SAMPLERS.items():
        for name in PLAIN_FUNCTIONS:
            build = plain(FUNCTIONS[name], sampler, trials)
            for seed in range(0, seeds, share):
                facts = build(seed)
                names.append(f"{name}, {sampler}, seed {seed}")
                for rule in RULES:
                    if (finding := rule(facts)) is not None:
                        found = right if is_true(finding, FUNCTIONS[name]) else wrong
                        found[rule.__name__] += 1
    return wrong, right, names


def large_study(num: int) -> StudyFacts:
    """Return a study with every kind of facts, for measuring the cost."""
    extra: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(6)}
    spec = spec_of({**SPACE, **extra}, pruner={"name": "median"}, resource={"name": "epoch", "max": 20})
    draw = random.Random(0)
    history = rows(0, num, spec, lambda parameters, draw: bowl(parameters) + draw.gauss(0, 0.1))
    attempts = [
        AttemptFacts(at, f"host{at % 8}", None, None, 20, draw.lognormvariate(3, 0.3)) for at in range(len(history))
    ]
    metrics: Mapping[int, Mapping[str, float]] = {at: {"num_parameters": 1e6 + at} for at in range(num)}
    return StudyFacts(spec=spec, history=history, attempts=attempts, metrics=metrics, num_validation=1_000)


def cost(num: int) -> dict[str, float]:
    """Return rule -> processor milliseconds on a study of `num` trials, the least of three runs."""
    facts, found = large_study(num), {}
    for name, rule in BY_NAME.items():
        times = []
        for _ in range(3):
            began = time.process_time()
            rule(facts)
            times.append(1_000 * (time.process_time() - began))
        found[name] = min(times)
    return found


def report(seeds: int, trials: int) -> str:
    """Measure everything and return the page."""
    began = time.process_time()
    detected = {
        (rule, words): num_spoken(rule, build, seeds) for rule in BY_NAME for words, build in PLANTED[rule].items()
    }
    wrong_alone = {
        (rule, words): num_spoken(rule, build, seeds) for rule in BY_NAME for words, build in HEALTHY[rule].items()
    }
    wrong, right, studies = false_alarms(seeds, trials)
    at_thousand, at_ten_thousand = cost(1_000), cost(10_000)
    lines = [
        "# Rules of a study, measured",
        "",
        f"`python -m benchmarks.study_diagnosis --seeds {seeds} --trials {trials} --out {OUT}`",
        "",
        f"Machine: {machine()}. Processor seconds: {time.process_time() - began:.0f}.",
        "",
        f"Of {len(studies)} simulated studies of {trials} trials without a fault ({len(PLAIN_FUNCTIONS)} functions,",
        f"samplers {', '.join(SAMPLERS)}), {sum(wrong.values())} findings are wrong. A finding that a parameter has no",
        f"effect is right if its total Sobol index on ranks is below {NEGLIGIBLE}.",
        "",
        "## Planted faults and healthy studies",
        "",
        "| rule | planted | found | healthy | false alarms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rule in BY_NAME:
        planted = [(words, f"{detected[rule, words]} of {seeds}") for words in PLANTED[rule]]
        healthy = [(words, f"{wrong_alone[rule, words]} of {seeds}") for words in HEALTHY[rule]]
        for at in range(max(len(planted), len(healthy))):
            first, second = (each[at] if at < len(each) else ("", "") for each in (planted, healthy))
            lines.append(f"| {f'`{rule}`' if not at else ''} | {first[0]} | {first[1]} | {second[0]} | {second[1]} |")
    lines += [
        "",
        "## Findings on functions without a fault, and cost",
        "",
        f"| rule | wrong, of {len(studies)} studies | right | ms at 1,000 trials | ms at 10,000 trials |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{rule}` | {wrong[rule]} | {right[rule]} | {at_thousand[rule]:.1f} | {at_ten_thousand[rule]:.1f} |"
        for rule in BY_NAME
    ]
    sums = sum(at_thousand.values()), sum(at_ten_thousand.values())
    lines += [f"| all | {sum(wrong.values())} | {sum(right.values())} | {sums[0]:.1f} | {sums[1]:.1f} |", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    page = report(args.seeds, args.trials)
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
