"""Compares what `study init` writes for small tables with scikit-learn's models, on the same splits.

`python -m benchmarks.small_tables --out benchmarks/results/small_tables.md`. For each table and seed, `study init`
writes a study of a CSV file. Only its number of trials and its seeds are changed. The trials run one after the other
in this process: `service.search.decide` suggests and prunes, as in the service, and the training core trains. The best
trial by validation is tested, as `study best` would name it. scikit-learn's models are fitted on the same rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sklearn
import torch
from threadpoolctl import threadpool_limits

from benchmarks import local_study
from benchmarks.machine import machine
from benchmarks.scikit_learn import MODELS, SCORES, Parts, search
from benchmarks.tables import TABLES, TARGET, Table
from service.cli.main import main as study_command
from service.client import study_file
from service.contract.catalogue import load_catalogue
from service.contract.study import StudySpec
from service.search.validation import check_spec, with_resource
from worker.training import TrainingResult
from worker.training.data import DATA

STUDY = "study init"
SEEDS, TRIALS = 5, 20
_NOISE = 2.0
"""A study is level with a model if its mean difference is not worse than so many standard errors."""


class Searched(NamedTuple):
    """One table and seed: test scores and processor seconds by method, and the metric."""

    metric: str
    direction: str
    scores: dict[str, float]
    defaults: dict[str, float]
    seconds: dict[str, float]


def written_study(path: Path, *, seed: int, trials: int) -> StudySpec:
    """Return the study that `study init` writes for a CSV file, with another budget and other seeds."""
    file = path.with_suffix(".yaml")
    with contextlib.redirect_stdout(io.StringIO()):
        status = study_command(["init", str(path), "--target", TARGET, "--out", str(file)])
    if status:
        raise SystemExit(f"study init refused {path}")
    spec = study_file.load(file)
    assert spec.task is not None
    assert spec.task.train is not None
    task = {**spec.task.train, "data": {**spec.task.train["data"], "seed": seed}}
    spec = spec.model_copy(
        update={
            "task": spec.task.model_copy(update={"train": task}),
            "sampler": spec.sampler.model_copy(update={"seed": seed}),
            "budget": spec.budget.model_copy(update={"trials": trials}),
        }
    )
    if errors := check_spec(spec, load_catalogue()):
        raise SystemExit(f"{errors[0].path}: {errors[0].message}")
    return with_resource(spec, load_catalogue())


def run_study(spec: StudySpec) -> TrainingResult:
    """Run a study, and return the training of its best trial."""
    history, results = local_study.run(spec)
    best = history.best(spec.primary_objective.direction)
    if best is None:
        raise SystemExit("no trial completed")
    return results[best.number]


def compare(name: str, seed: int, folder: Path, trials: int = TRIALS) -> Searched:
    """Search one table on one split by all methods, and return their test scores."""
    table = TABLES[name]()
    path = folder / f"{name.replace(' ', '-')}-{seed}.csv"
    table.write(path)
    spec = written_study(path, seed=seed, trials=trials)
    metric = spec.primary_objective.metric.removeprefix("val/")
    if metric not in SCORES:
        raise SystemExit(f"{name}: no score {metric!r} is known to compare with")
    began = time.process_time()
    scores = {STUDY: run_study(spec).metrics[f"test/{metric}"]}
    seconds = {STUDY: time.process_time() - began}
    defaults: dict[str, float] = {}
    parts = split_of(spec, table)
    for model in MODELS:
        found = search(model, table, parts, metric, num=trials, seed=seed)
        scores[model], defaults[model], seconds[model] = found
    return Searched(metric, spec.primary_objective.direction, scores, defaults, seconds)


def split_of(spec: StudySpec, table: Table) -> Parts:
    """Return the rows of each split of the study, as the training core splits its file."""
    assert spec.task is not None
    assert spec.task.train is not None
    settings = dict(spec.task.train["data"])
    name = settings.pop("name")
    dataset = DATA.create(name, DATA.check(name, settings))
    rows = {part: split.ids.numpy() for part, split in dataset.splits.items() if split.ids is not None}
    assert sorted(row for each in rows.values() for row in each) == list(range(len(table.target)))
    return rows


class Difference(NamedTuple):
    """How much better a study's test score is than a model's: mean over the seeds, and its standard error."""

    mean: float
    error: float

    @property
    def is_level(self) -> bool:
        """Whether the study is better, or worse by no more than chance."""
        return self.mean >= -_NOISE * self.error


def difference(results: Sequence[Searched], model: str) -> Difference:
    """Return the difference between the study and a model over the seeds of a table; positive: the study is better."""
    sign = 1 if results[0].direction == "maximize" else -1
    return Difference(*_mean_and_error([sign * (each.scores[STUDY] - each.scores[model]) for each in results]))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def best_model(results: Sequence[Searched]) -> str:
    """Return the model of scikit-learn with the best mean test score on a table."""
    sign = 1 if results[0].direction == "maximize" else -1
    return max(MODELS, key=lambda model: sign * statistics.fmean(each.scores[model] for each in results))


def page(results: Mapping[str, Sequence[Searched]], command: str) -> str:
    """Return the page of results."""
    num_seeds = max(map(len, results.values()))
    level = {model: sum(difference(each, model).is_level for each in results.values()) for model in MODELS}
    with_best = sum(difference(each, best_model(each)).is_level for each in results.values())
    counts = ", ".join(f"{model} on {num}" for model, num in level.items())
    ahead = sum(difference(each, best_model(each)).mean >= 0 for each in results.values())
    lines = [
        "# Small tables, measured",
        "",
        f"`{command}`",
        "",
        f"Machine: {machine()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, one thread.",
        "",
        f"Each table is split by {num_seeds} seeds into 60 % training, 20 % validation and 20 % test rows, the same",
        f"ones for all methods. `study init` writes the study, which gets {TRIALS} trials. Each model of scikit-learn",
        "gets as many configurations, its defaults first. The validation rows choose between them, and the test rows",
        "are used once.",
        "",
        "Four tables ship with scikit-learn. *customers* is made, with categories, missing values and skewed numbers.",
        "*friedman* is Friedman's first problem with noise. They were chosen before anything was measured on them; the",
        "defaults of `study init` were chosen on other tables.",
        "",
        f"*Level* with a model: the mean difference over the seeds is no worse than {_NOISE:g} of its standard errors.",
        "",
        f"**At least level with the best of the three models on {with_best} of {len(results)} tables;** with {counts}.",
        "The best of the three is the one with the best mean test score on a table, which no user knows beforehand.",
        f"The mean score of the study is at least as good as that model's on {ahead} of {len(results)} tables.",
        "",
        "## Test scores: mean ± standard error",
        "",
        f"| table | metric | {STUDY} | {' | '.join(MODELS)} |",
        "| --- | --- | --- |" + " --- |" * len(MODELS),
    ]
    for name, each in results.items():
        cells = [_cell([one.scores[method] for one in each]) for method in (STUDY, *MODELS)]
        lines.append(f"| {name} | {each[0].metric} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Differences to each model: mean ± standard error; positive is better",
        "",
        f"| table | {' | '.join(MODELS)} | best of the three | level with it |",
        "| --- |" + " --- |" * len(MODELS) + " --- | --- |",
    ]
    for name, each in results.items():
        cells = [f"{found.mean:+.3g} ± {found.error:.2g}" for found in (difference(each, model) for model in MODELS)]
        best = best_model(each)
        verdict = "yes" if difference(each, best).is_level else "no"
        lines.append(f"| {name} | {' | '.join(cells)} | {best} | {verdict} |")
    lines += [
        "",
        "## Without a search: the defaults of scikit-learn's models",
        "",
        f"| table | metric | {' | '.join(MODELS)} |",
        "| --- | --- |" + " --- |" * len(MODELS),
    ]
    for name, each in results.items():
        cells = [_cell([one.defaults[model] for one in each]) for model in MODELS]
        lines.append(f"| {name} | {each[0].metric} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Processor seconds of a search, median",
        "",
        f"| table | {STUDY} | {' | '.join(MODELS)} |",
        "| --- | --- |" + " --- |" * len(MODELS),
    ]
    for name, each in results.items():
        cells = [f"{statistics.median(one.seconds[method] for one in each):.1f}" for method in (STUDY, *MODELS)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    total = sum(sum(one.seconds.values()) for each in results.values() for one in each)
    return "\n".join([*lines, "", f"All searches together took {total:.0f} processor seconds.", ""])


def _cell(values: Sequence[float]) -> str:
    mean, error = _mean_and_error(values)
    digits = 4 if abs(mean) < 10 else 2
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    """Search all tables, and print or write the page. Results that the cache file has are not measured again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cache", type=Path, help="JSON file that keeps the results of each table and seed")
    parser.add_argument("--out", type=Path, help="write the page here instead of printing it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # histogram boosting uses OpenMP
    known: dict[str, Any] = json.loads(given.cache.read_text()) if given.cache and given.cache.exists() else {}
    results: dict[str, list[Searched]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in TABLES:
            for seed in range(given.seeds):
                key = f"{name}/{seed}"
                if key not in known:
                    known[key] = compare(name, seed, Path(folder))
                    print(f"{key}: {known[key].scores}", file=sys.stderr, flush=True)
                    if given.cache:
                        given.cache.write_text(json.dumps(known))
                results.setdefault(name, []).append(Searched(*known[key]))
    words = [word for at, word in enumerate(sys.argv[1:]) if word != "--cache" and sys.argv[at] != "--cache"]
    text = page(results, f"python -m benchmarks.small_tables {shlex.join(words)}".strip())
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
