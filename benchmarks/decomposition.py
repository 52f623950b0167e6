"""Measures how often the parts of the test error lie within their intervals, on data of known noise.

`python -m benchmarks.decomposition --out benchmarks/results/decomposition.md`. In simulated studies the errors of each
trial are known. In real ones the training core trains small networks on two normal classes, whose Bayes error is known,
and 20,000 further examples measure what a trained network really reaches. It takes about two minutes of one core.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from benchmarks.machine import machine
from service.analysis.diagnosis.decomposition import decompose
from service.analysis.diagnosis.facts import StudyFacts
from service.contract.decomposition import Decomposition, PartName
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from worker.training import TrainingConfig, train

OUT = "benchmarks/results/decomposition.md"

SHAPE = 0.5
"""Shape of the gamma distribution of one example's squared error: the square of a normal residual."""

NUM_POOL = 20_000
"""Examples that measure the true error of a trained network."""


@dataclass(frozen=True)
class Scenario:
    """How the errors of a simulated study come about.

    Attributes:
        words: what it stands for.
        num_trials: number of trials, the best of which validation chooses.
        sizes: examples of the splits train, val, test, and test_val if there is one.
        floor: the irreducible error.
        train: mean training error.
        gap: mean difference of the error on new examples to the training error.
        shift: difference of the error on examples of the test's distribution.
        spread: standard deviation over trials of training error and gap.
        is_loss: whether errors are means of squares, not shares.
    """

    words: str
    num_trials: int
    sizes: Mapping[str, int]
    floor: float = 0.02
    train: float = 0.05
    gap: float = 0.06
    shift: float = 0.0
    spread: float = 0.01
    is_loss: bool = False


SCENARIOS = (
    Scenario("accuracy, 40 trials", 40, {"train": 4_000, "val": 500, "test": 500}),
    Scenario("accuracy, small validation", 60, {"train": 1_000, "val": 100, "test": 400}),
    Scenario("accuracy, training error exact", 20, {"train": 200, "val": 300, "test": 300}),
    Scenario("accuracy, shift", 40, {"train": 4_000, "val": 400, "test": 500, "test_val": 500}, shift=0.08),
    Scenario("accuracy, no shift", 40, {"train": 4_000, "val": 200, "test": 500, "test_val": 500}),
    Scenario(
        "mse, 40 trials", 40, {"train": 4_000, "val": 500, "test": 500}, floor=1.0, train=1.5, gap=0.5, spread=0.1,
        is_loss=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One study: the measured values of its trials, and the true errors of the chosen one."""

    metrics: Mapping[int, Mapping[str, float]]
    best: int
    true_train: float
    true_val: float
    """On infinitely many examples of the distribution of `val`."""
    true_test: float
    measured_val: float


def simulated(scenario: Scenario, seed: int) -> Run:
    """Draw the true and the measured errors of the trials of one study."""
    draw, sizes = np.random.default_rng(seed), scenario.sizes
    num = scenario.num_trials
    training = np.abs(scenario.train + scenario.spread * draw.standard_normal(num))
    general = training + np.abs(scenario.gap + scenario.spread * draw.standard_normal(num))
    shifted = general + scenario.shift
    sample = min(sizes["train"], max(256, sizes["val"]))

    def on(error: float, count: int) -> float:
        if scenario.is_loss:
            return float(draw.gamma(SHAPE * count, error / SHAPE / count))
        return float(draw.binomial(count, min(1.0, error))) / count

    rows, full = [], []
    for at in range(num):
        whole = on(training[at], sizes["train"])
        wrong = round(whole * sizes["train"])
        if scenario.is_loss:
            part = whole + (on(training[at], sample) - training[at]) * math.sqrt(1 - sample / sizes["train"])
        else:
            part = float(draw.hypergeometric(wrong, sizes["train"] - wrong, sample)) / sample
        full.append(whole)
        row = {"train": part, "val": on(general[at], sizes["val"]), "test": on(shifted[at], sizes["test"])}
        if "test_val" in sizes:
            row["test_val"] = on(shifted[at], sizes["test_val"])
        rows.append(row)
    best = min(range(num), key=lambda at: (rows[at]["val"], at))
    metrics = {at: _named(row, is_loss=scenario.is_loss) for at, row in enumerate(rows)}
    return Run(metrics, best, full[best], float(general[best]), float(shifted[best]), rows[best]["val"])


def _named(row: Mapping[str, float], *, is_loss: bool) -> dict[str, float]:
    if is_loss:
        return {f"{split}/mse": error for split, error in row.items()}
    return {f"{split}/accuracy": 1 - error for split, error in row.items()}


def decomposed(run: Run, floor: float, sizes: Mapping[str, int], *, is_loss: bool = False) -> Decomposition:
    """Return the decomposition of a run."""
    metric = "mse" if is_loss else "accuracy"
    spec = StudySpec.model_validate(
        {
            "name": "measured",
            "objective": {"metric": f"val/{metric}", "direction": "minimize" if is_loss else "maximize"},
            "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "reference": {"human": floor if is_loss else 1 - floor},
        }
    )
    trials = [
        TrialRecord(at, TrialState.COMPLETED, {"x": 0.5}, value=values[f"val/{metric}"])
        for at, values in run.metrics.items()
    ]
    found = decompose(
        StudyFacts(
            spec=spec,
            history=History(trials=tuple(trials)),
            metrics=run.metrics,
            num_train=sizes["train"],
            num_validation=sizes["val"],
            num_test=sizes["test"],
            num_test_val=sizes.get("test_val"),
        )
    )
    assert found is not None
    assert found.trial == run.best
    return found


def coverage(runs: Sequence[Run], floor: float, sizes: Mapping[str, int], *, is_loss: bool = False) -> dict[str, float]:
    """Return part -> the share of runs in which the true part lies within its interval.

    The true validation overfitting is the expected optimism: the mean over all runs of how much the chosen trial's
    validation error is below its true error. The true variance is the rest between training and new examples.
    """
    optimism = float(np.mean([run.true_val - run.measured_val for run in runs]))
    hits: dict[str, list[bool]] = {}
    for run in runs:
        truth = {
            PartName.IRREDUCIBLE: floor,
            PartName.BIAS: run.true_train - floor,
            PartName.VARIANCE: run.true_val - optimism - run.true_train,
            PartName.SHIFT: run.true_test - run.true_val,
            PartName.VALIDATION_OVERFITTING: optimism,
        }
        for part in decomposed(run, floor, sizes, is_loss=is_loss).parts:
            low, high = float(part.low), float(part.high)  # type: ignore[arg-type]
            is_hit = low - 1e-9 <= truth[part.name] <= high + 1e-9
            hits.setdefault(part.name, []).append(is_hit)
    return {name: sum(each) / len(each) for name, each in hits.items()}


REAL_SIZES = {"train": 240, "val": 200, "test": 400}
DIMENSIONS, DISTANCE = 10, 1.2
"""Two normal classes, whose means are twice this distance apart."""

CONFIGURATIONS = [(width, rate) for width in (4, 32) for rate in (3e-3, 3e-2)]


def bayes_error() -> float:
    """Return the error of the best classifier of the two classes."""
    return NormalDist().cdf(-DISTANCE)


def trained(folder: Path, seed: int, epochs: int) -> Run:
    """Train the configurations of one study with the core on data of its own."""
    draw, arrays = np.random.default_rng(seed), {}
    for split, count in {**REAL_SIZES, "test_val": NUM_POOL}.items():
        labels = draw.integers(0, 2, count)
        mean = np.zeros((count, DIMENSIONS))
        mean[:, 0] = DISTANCE * (2 * labels - 1)
        arrays |= {f"x_{split}": (mean + draw.standard_normal(mean.shape)).astype(np.float32), f"y_{split}": labels}
    path = folder / f"{seed}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    metrics, true = {}, {}
    for at, (width, rate) in enumerate(CONFIGURATIONS):
        config = TrainingConfig.from_mapping(
            {
                "data": {"name": "npz", "path": str(path)},
                "model": {"name": "mlp", "hidden": [width]},
                "loss": {"name": "cross_entropy"},
                "optimizer": {"name": "adamw", "lr": rate},
                "batch_size": 32,
                "epochs": epochs,
            }
        )
        found = dict(train(config, seed=seed, readable=[folder]).metrics)
        true[at] = 1 - found["test_val/accuracy"]
        metrics[at] = {name: found[name] for name in ("train/accuracy", "val/accuracy", "test/accuracy")}
    best = max(metrics, key=lambda at: (metrics[at]["val/accuracy"], -at))
    chosen = metrics[best]
    return Run(metrics, best, 1 - chosen["train/accuracy"], true[best], true[best], 1 - chosen["val/accuracy"])


def trained_runs(studies: int, epochs: int) -> list[Run]:
    """Return the runs of real studies."""
    with tempfile.TemporaryDirectory() as folder:
        return [trained(Path(folder), seed, epochs) for seed in range(studies)]


def report(num_runs: int, studies: int, epochs: int) -> str:
    """Measure everything and return the page."""
    began = time.process_time()
    names = [each.value for each in PartName]
    lines = [
        "# Decomposition of error, measured",
        "",
        f"`python -m benchmarks.decomposition --runs {num_runs} --studies {studies} --epochs {epochs} --out {OUT}`",
        "",
        "Each cell is the share of runs in which the true part lies within its interval of 95 %.",
        "",
        f"| studies | runs | {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"| --- | --- |{' --- |' * len(names)}",
    ]
    for scenario in SCENARIOS:
        runs = [simulated(scenario, seed) for seed in range(num_runs)]
        found = coverage(runs, scenario.floor, scenario.sizes, is_loss=scenario.is_loss)
        lines.append(_row(f"simulated: {scenario.words}", num_runs, found))
    runs = trained_runs(studies, epochs)
    found = coverage(runs, bayes_error(), REAL_SIZES)
    words = f"trained by the core: {len(CONFIGURATIONS)} trials of {epochs} epochs"
    lines.append(_row(words, studies, found))
    lines += [
        "",
        f"The trained studies have two normal classes in {DIMENSIONS} dimensions with a Bayes error of",
        f"{100 * bayes_error():.1f} %, {REAL_SIZES['train']} training, {REAL_SIZES['val']} validation and",
        f"{REAL_SIZES['test']} test examples, and {NUM_POOL:,} further ones that measure the true error.",
        "The irreducible error is given as exact, and the training error of the trained studies is measured on all of",
        "their examples, so these shares are 1 by construction. Shift is measured in simulated studies alone.",
        "",
        f"Machine: {machine()}. Processor seconds: {time.process_time() - began:.0f}.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _row(words: str, num: int, found: Mapping[str, float]) -> str:
    cells = [f"{found[name]:.2f}" if name in found else "" for name in PartName]
    return f"| {words} | {num} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=300, help="simulated runs per scenario")
    parser.add_argument("--studies", type=int, default=30, help="studies that are really trained")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    page = report(args.runs, args.studies, args.epochs)
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
