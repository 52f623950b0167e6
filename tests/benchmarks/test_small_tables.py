"""The comparison with scikit-learn tests all methods on the same rows, and calls level only what chance explains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scikit_learn import MODELS
from benchmarks.small_tables import STUDY, Searched, best_model, compare, difference, page, split_of, written_study
from benchmarks.tables import TABLES


def searched(direction: str, scores: dict[str, list[float]]) -> list[Searched]:
    """The results of a table: method -> its test score for each seed."""
    num = len(scores[STUDY])
    each = [{method: values[seed] for method, values in scores.items()} for seed in range(num)]
    return [Searched("rmse", direction, one, dict.fromkeys(MODELS, 0.0), dict.fromkeys(one, 1.0)) for one in each]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_a_study_is_level_unless_it_is_worse_by_more_than_chance(direction: str, sign: int) -> None:
    study = [0.0, 0.1, 0.2]
    models = {"linear": [0.1, 0.2, 0.3], "boosting": [0.3, 0.1, 0.25], "mlp": [-0.1, 0.0, 0.1]}
    results = searched(direction, {STUDY: study, **models})
    found = {model: difference(results, model) for model in models}
    assert [each.mean * sign for each in found.values()] == pytest.approx([-0.1, -7 / 60, 0.1])
    assert found["boosting"].error == pytest.approx(np.std([0.3, 0, 0.05], ddof=1) / np.sqrt(3))
    worse, better = ("linear", "mlp") if sign > 0 else ("mlp", "linear")
    assert (found[worse].is_level, found[better].is_level, found["boosting"].is_level) == (False, True, True)
    assert best_model(results) == ("boosting" if sign > 0 else "mlp")
    assert "on 1 of 1 tables" in page({"t": results}, "") or sign < 0


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_written_and_split_in_three(name: str, tmp_path: Path) -> None:
    table = TABLES[name]()
    table.write(tmp_path / "t.csv")
    spec = written_study(tmp_path / "t.csv", seed=3, trials=20)
    assert (spec.budget.trials, spec.sampler.seed) == (20, 3)
    assert spec.task is not None
    assert spec.task.train is not None
    assert spec.task.train["data"]["seed"] == 3
    parts = split_of(spec, table)
    assert [len(parts[part]) / len(table.target) for part in ("val", "test")] == pytest.approx([0.2, 0.2], abs=0.01)


@pytest.mark.prove
def test_a_comparison_of_two_trials(tmp_path: Path) -> None:
    found = compare("wine", 0, tmp_path, trials=2)
    assert found.scores.keys() == found.seconds.keys() == {STUDY, *MODELS}
    assert min(found.scores.values()) > 0.8
    assert found.defaults.keys() == set(MODELS)
