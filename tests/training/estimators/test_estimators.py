"""Estimators against direct calls of scikit-learn on the same split, block by block, and their orders and mistakes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.metrics import accuracy_score, mean_squared_error

from worker.training import ConfigError, Ending, Monitor, Report, Verdict
from worker.training.data import DATA, Dataset, Split
from worker.training.estimators.config import EstimatorConfig
from worker.training.estimators.threads import num_threads
from worker.training.estimators.training import train_estimator
from worker.training.seeding import derive

BOOSTING = {"name": "hist_boosting", "max_iter": 30, "learning_rate": 0.05, "max_leaf_nodes": 4, "min_samples_leaf": 5}
FOREST = {"name": "random_forest", "n_estimators": 25, "max_features": 0.5, "min_samples_leaf": 2}


def config(data: str = "wine", model: dict[str, Any] = BOOSTING, **more: Any) -> EstimatorConfig:
    return EstimatorConfig.from_mapping({"data": {"name": data}, "model": model, **more})


def arrays(name: str) -> tuple[Dataset, dict[str, Any], dict[str, Any]]:
    dataset = DATA.create(name, DATA.check(name, {}))
    return (
        dataset,
        {split: each.features.flatten(1).numpy() for split, each in dataset.splits.items()},
        {split: each.targets.flatten().numpy() for split, each in dataset.splits.items()},
    )


def fit(of: EstimatorConfig, **settings: Any) -> tuple[Any, list[Report]]:
    reports: list[Report] = []

    def on_report(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    return train_estimator(of, **{"on_report": on_report, **settings}), reports


def test_boosting_is_that_of_scikit_learn_after_each_block_and_its_best_size_is_kept() -> None:
    result, reports = fit(config(), seed=3, monitor=Monitor("val/cross_entropy", "minimize"))
    _, features, classes = arrays("wine")
    assert [report.step for report in reports] == [10, 20, 30]
    models = {}
    for report in reports:
        model = HistGradientBoostingClassifier(
            max_iter=report.step, learning_rate=0.05, max_leaf_nodes=4, min_samples_leaf=5, early_stopping=False,
            random_state=derive(3, "estimator") % 2**32,
        )  # fmt: skip
        models[report.step] = model.fit(features["train"], classes["train"])
        expected = accuracy_score(classes["val"], model.predict(features["val"]))
        assert report.metrics["val/accuracy"] == pytest.approx(expected, abs=1e-6)
        assert {"train/accuracy", "val/loss", "val/f1_macro"} <= set(report.metrics)
        assert not any(name.startswith("test/") for name in report.metrics)
    best = min(reports, key=lambda report: report.metrics["val/cross_entropy"])
    assert (result.ending, result.step, result.best_step) == (Ending.FINISHED, 30, best.step)
    assert result.metrics["val/accuracy"] == best.metrics["val/accuracy"]
    kept = models[best.step]
    assert result.metrics["test/accuracy"] == pytest.approx(
        accuracy_score(classes["test"], kept.predict(features["test"])), abs=1e-6
    )
    assert result.predictions["val"].outputs.numpy() == pytest.approx(kept.predict_proba(features["val"]), abs=1e-5)
    assert result.metrics["num_parameters"] > 90


def test_a_forest_predicts_values_in_the_targets_own_unit() -> None:
    _, reports = fit(config("diabetes", FOREST, metrics=["mape"]), seed=1, monitor=Monitor("val/rmse", "minimize"))
    dataset, features, targets = arrays("diabetes")
    assert [report.step for report in reports] == [10, 20, 25]
    model = RandomForestRegressor(
        25, max_features=0.5, min_samples_leaf=2, random_state=derive(1, "estimator") % 2**32
    ).fit(features["train"], targets["train"])
    error = math.sqrt(mean_squared_error(targets["val"], model.predict(features["val"]))) * dataset.target_std
    assert reports[-1].metrics["val/rmse"] == pytest.approx(error, rel=1e-5)
    assert "val/mape" in reports[-1].metrics
    last, _ = fit(config("diabetes", FOREST), seed=1, monitor=Monitor("val/rmse", "minimize", keep="last"))
    assert last.best_step is None
    assert last.metrics["val/rmse"] == pytest.approx(error, rel=1e-5)
    predicted = model.predict(features["val"]) * dataset.target_std + dataset.target_mean
    assert last.predictions["val"].outputs.numpy() == pytest.approx(predicted, rel=1e-4)


@pytest.mark.parametrize(("verdict", "ending"), [(Verdict.STOP, Ending.STOPPED), (Verdict.PAUSE, Ending.PAUSED)])
def test_an_order_ends_the_fit_and_nothing_is_tested(verdict: Verdict, ending: Ending) -> None:
    result, _ = fit(config(), on_report=lambda report: verdict if report.step == 20 else Verdict.CONTINUE)
    assert (result.ending, result.step) == (ending, 20)
    assert not any(name.startswith("test/") for name in result.metrics)
    assert result.predictions == {}


def test_a_size_to_end_at_shortens_the_fit() -> None:
    result, reports = fit(config(), until_step=15)
    assert ([report.step for report in reports], result.step) == ([10, 15], 15)


def test_one_seed_gives_one_result_and_the_random_streams_stay() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (fit(config(model=FOREST), seed=seed)[0].metrics for seed in (3, 3, 4))
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["val/cross_entropy"] != other["val/cross_entropy"]
    assert torch.equal(torch.get_rng_state(), before)


def test_texts_and_rows_of_queries_can_be_fitted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "says,about\n" + "".join(f"{'ab' if row % 2 else 'ba'}c,{row % 2}\n" for row in range(60))
    )
    texts = {"name": "texts", "path": str(tmp_path / "t.csv"), "text": "says", "target": "about", "length": 8}
    of = EstimatorConfig.from_mapping({"data": texts, "model": FOREST})
    assert fit(of)[0].metrics["test/accuracy"] == 1.0
    rows = "".join(f"{row // 5},{row % 5},{row % 5}\n" for row in range(200))
    (tmp_path / "q.csv").write_text("list,clicks,relevance\n" + rows)
    queries = {"name": "csv", "path": str(tmp_path / "q.csv"), "target": "relevance", "query": "list"}
    of = EstimatorConfig.from_mapping({"data": queries, "model": BOOSTING})
    assert fit(of, monitor=Monitor("val/ndcg", "maximize"))[0].metrics["val/ndcg"] > 0.9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": {"name": "boosting"}}, r"model\.name: unknown model 'boosting'; did you mean 'hist_boosting'\?"),
        ({"model": {"name": "hist_boosting", "depth": 3}}, r"model\.depth: model 'hist_boosting' has no such setting"),
        ({"model": {"name": "hist_boosting", "max_iter": 0}}, r"model\.max_iter: must be >= 1, got 0"),
        ({"model": {"name": "random_forest", "max_features": 0.0}}, r"model\.max_features: must be > 0, got 0"),
        ({"optimizer": {"name": "sgd"}}, r"optimizer: an estimator has no such setting"),
        ({"data": None}, r"data: missing; write data: \{name: …\}"),
        ({"data": {"name": "diabetes"}, "model": {**FOREST, "class_weight": "balanced"}}, r"model\.class_weight: wei"),
        ({"metrics": ["mape"]}, r"metrics\[0\]\.name: mape is for regression"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(EstimatorConfig.from_mapping({"data": {"name": "wine"}, "model": BOOSTING, **given}))


def test_small_data_is_fitted_by_one_thread() -> None:
    small, _, _ = arrays("wine")
    rows = torch.zeros(30_000, 100)
    large = replace(small, splits={"train": Split(rows, torch.zeros(30_000, dtype=torch.int64))})
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        assert (num_threads(small), num_threads(large)) == (1, 3)
        torch.set_num_threads(2)
        assert num_threads(large) == 2
    finally:
        torch.set_num_threads(before)


def test_a_metric_that_is_not_reported_cannot_be_monitored() -> None:
    with pytest.raises(ConfigError, match="'val/rmse' isn't reported"):
        fit(config(), monitor=Monitor("val/rmse", "minimize"))
