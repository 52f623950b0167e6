"""Each baseline against direct calls of scikit-learn on the same split, its time limit, and what it leaves alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_squared_error, ndcg_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.service import ROOT
from worker.training import TrainingConfig
from worker.training.baselines import BASELINES, Baseline, run_baselines, runner, tables
from worker.training.build import load
from worker.training.deadline import Deadline
from worker.training.errors import ConfigError
from worker.training.estimators.example_rows import token_counts
from worker.training.seeding import derive

DIGITS = {"name": "digits", "limit": 100}
EXAMPLES = ROOT / "examples" / "data"
EPSILON = float(np.finfo(np.float32).eps)


def config(data: Mapping[str, Any], loss: str = "cross_entropy", model: str = "linear", **more: Any) -> TrainingConfig:
    sections = {"data": dict(data), "model": {"name": model}, "loss": {"name": loss}, "optimizer": {"name": "sgd"}}
    return TrainingConfig.from_mapping({**sections, **more})


def baselines(of: TrainingConfig, **settings: Any) -> dict[str, Baseline]:
    return {each.name: each for each in run_baselines(of, **{"seconds": 60, **settings})}


def arrays(of: TrainingConfig) -> tuple[Any, Any, Any, Any]:
    """Features and targets of the training and the validation examples, as NumPy arrays."""
    dataset = load(of, torch.device("cpu"))[0]
    train, val = dataset.train, dataset.splits["val"]
    return *(each.features.flatten(1).numpy() for each in (train, val)), *(
        each.targets.flatten().numpy() for each in (train, val)
    )


@pytest.mark.parametrize("data", [DIGITS, {"name": "wine"}], ids=lambda data: data["name"])
def test_baselines_of_classes_are_those_of_scikit_learn(data: dict[str, Any]) -> None:
    of = config(data)
    found = baselines(of)
    train, val, classes, truth = arrays(of)
    seeds = {name: derive(0, f"baselines/{name}") % 2**32 for name in BASELINES}
    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "hist_boosting": HistGradientBoostingClassifier(early_stopping=False, random_state=seeds["hist_boosting"]),
        "random_forest": RandomForestClassifier(random_state=seeds["random_forest"]),
    }
    for name, model in models.items():
        model.fit(train, classes)
        assert found[name].note is None
        values = found[name].metrics
        assert values["val/accuracy"] == pytest.approx(accuracy_score(truth, model.predict(val)), abs=1e-6)
        assert values["val/f1_macro"] == pytest.approx(f1_score(truth, model.predict(val), average="macro"), abs=1e-6)
        probabilities = model.predict_proba(val).clip(EPSILON)
        expected = log_loss(truth, probabilities / probabilities.sum(1, keepdims=True))
        assert values["val/cross_entropy"] == pytest.approx(expected, rel=2e-3)
        assert values["val/loss"] == pytest.approx(values["val/cross_entropy"], rel=1e-5)
    counts = np.bincount(classes)
    shares = counts / counts.sum()
    assert found["majority"].metrics["val/accuracy"] == pytest.approx((truth == counts.argmax()).mean(), abs=1e-6)
    assert found["majority"].metrics["val/cross_entropy"] == pytest.approx(-np.log(shares[truth]).mean(), rel=1e-5)


@pytest.fixture
def no_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the constant and the linear baseline are fitted."""
    monkeypatch.setattr(tables, "_MODELS", {})


def test_baselines_of_values_are_those_of_scikit_learn_in_the_targets_own_unit() -> None:
    of = config({"name": "diabetes"}, "huber", metrics=["mape"])
    found = baselines(of)
    train, val, targets, truth = arrays(of)
    dataset = load(of, torch.device("cpu"))[0]
    seeds = {name: derive(0, f"baselines/{name}") % 2**32 for name in BASELINES}
    models = {
        "linear": make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 7))),
        "hist_boosting": HistGradientBoostingRegressor(early_stopping=False, random_state=seeds["hist_boosting"]),
        "random_forest": RandomForestRegressor(random_state=seeds["random_forest"]),
    }

    def raw(values: Any) -> Any:
        return values.astype(np.float64) * dataset.target_std + dataset.target_mean

    for name, model in models.items():
        predicted = model.fit(train, targets).predict(val)
        values = found[name].metrics
        assert values["val/rmse"] == pytest.approx(math.sqrt(mean_squared_error(raw(truth), raw(predicted))), rel=1e-4)
        assert values["val/r2"] == pytest.approx(r2_score(raw(truth), raw(predicted)), abs=1e-4)
        huber = torch.nn.functional.huber_loss(torch.tensor(predicted), torch.tensor(truth).double())
        assert values["val/loss"] == pytest.approx(float(huber), rel=1e-4)
        assert "val/mape" in values
    mean = np.full(len(truth), dataset.target_mean)
    assert found["majority"].metrics["val/rmse"] == pytest.approx(
        math.sqrt(mean_squared_error(raw(truth), mean)), rel=1e-5
    )


def sentences(folder: Path) -> dict[str, Any]:
    """Return the data of sentences of 900 words, in which one word in four depends on the class."""
    drawn = np.random.default_rng(0)
    lines = ["says,about"]
    for row in range(300):
        common, own = drawn.integers(0, 600, 9), drawn.integers(0, 100, 3) + 600 + 100 * (row % 3)
        lines.append(" ".join(f"w{word}" for word in drawn.permutation([*common, *own])) + f",topic {row % 3}")
    (folder / "sentences.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"name": "texts", "path": str(folder / "sentences.csv"), "text": "says", "target": "about"}


def test_words_are_weighted_as_by_scikit_learn(tmp_path: Path) -> None:
    of = config({**sentences(tmp_path), "tokens": "words", "length": 16}, model="gru")
    found = baselines(of)
    dataset = load(of, torch.device("cpu"))[0]
    assert dataset.vocabulary > 512

    def text(row: Any) -> str:
        return " ".join(f"t{token}" for token in row.tolist() if token != dataset.padding)

    counter = CountVectorizer(token_pattern=r"\S+")
    model = make_pipeline(counter, TfidfTransformer(sublinear_tf=True), LogisticRegression(C=10, max_iter=2000))
    train, val = dataset.train, dataset.splits["val"]
    model.fit([text(row) for row in train.features], train.targets.numpy())
    predicted = model.predict([text(row) for row in val.features])
    values = found["linear"].metrics
    assert values["val/accuracy"] == pytest.approx(accuracy_score(val.targets.numpy(), predicted), abs=1e-6)
    expected = log_loss(val.targets.numpy(), model.predict_proba([text(row) for row in val.features]))
    assert values["val/cross_entropy"] == pytest.approx(expected, rel=2e-3)
    assert values["val/accuracy"] > 0.7
    assert found["random_forest"].metrics["val/accuracy"] > 1.3 * found["majority"].metrics["val/accuracy"]


def test_bytes_are_counted_in_sequences(tmp_path: Path, no_trees: None) -> None:
    # Both classes have the same bytes; their order alone tells them apart.
    lines = [f"{'ab' * (1 + row % 5)}{'xy' if row % 2 else 'yx'},{row % 2}" for row in range(100)]
    (tmp_path / "t.csv").write_text("says,about\n" + "\n".join(lines) + "\n")
    data = {"name": "texts", "path": str(tmp_path / "t.csv"), "text": "says", "target": "about", "length": 16}
    found = baselines(config(data, model="gru"))
    assert found["linear"].metrics["val/accuracy"] == 1.0


def test_sequences_of_tokens_are_counted_without_padding() -> None:
    counts = token_counts(torch.tensor([[0, 5, 6, 5], [0, 0, 0, 6]]), 0, 1 << 15, 2).toarray()
    # The first text has 5 twice, 6, 5-6 and 6-5; the second has 6.
    assert sorted(counts[0][counts[0] > 0]) == [1, 1, 1, 2]
    assert counts[0, 5] == 2
    assert (counts[1] > 0).nonzero()[0].tolist() == [6]
    assert token_counts(torch.tensor([[0, 5, 6, 5]]), None, 4).toarray().tolist() == [[1, 2, 1, 0]]


def test_next_tokens_are_predicted_by_how_often_they_occur() -> None:
    data = {"name": "text", "path": str(ROOT / "LICENSE"), "tokens": "characters", "length": 64}
    of = config(data, model="gru")
    found = baselines(of)
    dataset = load(of, torch.device("cpu"))[0]
    targets, truth = dataset.train.targets.flatten().numpy(), dataset.splits["val"].targets.flatten().numpy()
    counts = np.bincount(targets, minlength=dataset.vocabulary) + 1
    expected = -np.log(counts / counts.sum())[truth].mean()
    assert found["majority"].metrics["val/cross_entropy"] == pytest.approx(expected, rel=1e-4)
    assert found["majority"].metrics["val/accuracy"] == pytest.approx((truth == counts.argmax()).mean(), abs=1e-5)
    assert found["linear"].metrics["val/perplexity"] < 0.7 * found["majority"].metrics["val/perplexity"]
    assert found["hist_boosting"].metrics == {}
    assert "no such model of language data" in (found["hist_boosting"].note or "")


def test_rows_of_queries_are_ordered_by_their_predicted_relevance() -> None:
    data = {"name": "csv", "path": str(EXAMPLES / "wards.csv"), "target": "urgency", "query": "ward"}
    of = config(data, "listnet")
    found = baselines(of)
    dataset = load(of, torch.device("cpu"))[0]
    is_row = dataset.train.targets >= 0
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 7)))
    ridge.fit(dataset.train.features[is_row].numpy(), dataset.train.targets[is_row].numpy())
    val = dataset.splits["val"]
    scores = [
        ndcg_score([relevance[relevance >= 0].numpy()], [ridge.predict(rows[relevance >= 0].numpy())])
        for rows, relevance in zip(val.features, val.targets, strict=True)
        if (relevance > 0).any()
    ]
    assert found["linear"].metrics["val/ndcg"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert found["majority"].metrics == {}
    assert found["random_forest"].metrics["val/ndcg"] > 0.8


def test_the_test_set_is_not_measured_and_the_random_streams_stay() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    np_before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    found = baselines(config({"name": "wine"}))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == np_before  # type: ignore[index,union-attr]
    names = {name for each in found.values() for name in each.metrics}
    assert {name.partition("/")[0] for name in names} == {"train", "val"}


def test_a_cross_validation_is_measured_on_its_first_fold(no_trees: None) -> None:
    of = config({"name": "wine"}, folds=3)
    first = load(of, torch.device("cpu"))[0]
    found = baselines(of)
    alone = {each.name: each for each in run_baselines(of, seconds=60, dataset=first)}
    assert found["linear"].metrics == alone["linear"].metrics
    assert found["linear"].metrics != baselines(config({"name": "wine"}))["linear"].metrics


def test_a_baseline_that_does_not_finish_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = runner._timed
    monkeypatch.setattr(runner, "_timed", lambda name, fit, _: timed(name, fit, Deadline(0.0)))
    found = baselines(config(DIGITS))
    # One iteration is made whatever the limit is, so that there is something to compare with.
    assert found["hist_boosting"].note == "not completed: 1 of 100 iterations at its time limit of 0 s"
    assert found["hist_boosting"].model == "histogram gradient boosting, 1 iterations"
    assert found["hist_boosting"].metrics["val/accuracy"] > 2 * found["majority"].metrics["val/accuracy"]
    assert "1 of 100 trees" in (found["random_forest"].note or "")


def test_no_baseline_begins_when_the_time_is_over() -> None:
    found = baselines(config(DIGITS), seconds=1e-9)
    assert [each.metrics for each in found.values()] == [{}] * 4
    assert found["random_forest"].note == "not fitted: the 1e-09 s of all baselines were over"


def test_of_many_examples_a_sample_is_used_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TRAIN_ROWS", 60)
    monkeypatch.setattr(tables, "MAX_MEASURED_ROWS", 50)
    monkeypatch.setattr(tables, "MAX_LINEAR_COLUMNS", 20)
    monkeypatch.setattr(tables, "MAX_TREE_COLUMNS", 20)
    found = baselines(config(DIGITS))
    assert found["linear"].note == "fitted on 60 of 100 training examples; measured on 50 of 359 examples of val"
    assert found["majority"].note == "measured on 50 of 359 examples of val"
    assert all(found[name].metrics["val/accuracy"] > 0.4 for name in ("linear", "random_forest"))


def test_a_class_that_a_sample_misses_has_probability_zero(no_trees: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TRAIN_ROWS", 12)
    found = baselines(config(DIGITS))
    assert found["linear"].metrics["val/accuracy"] > 0.35
    assert math.isfinite(found["linear"].metrics["val/cross_entropy"])


def test_embedded_categories_are_one_hot(tmp_path: Path, no_trees: None) -> None:
    rows = [f"{'abcd'[row % 4]},{row % 3},{'yes' if row % 4 in (0, 2) else 'no'}" for row in range(120)]
    (tmp_path / "t.csv").write_text("letter,number,answer\n" + "\n".join(rows) + "\n")
    data = {"name": "csv", "path": str(tmp_path / "t.csv"), "target": "answer", "categories": "embedded"}
    found = baselines(config(data))
    # The answer alternates with the letter's index, so no line separates the indices themselves.
    assert found["linear"].metrics["val/accuracy"] == 1.0


def test_a_loss_of_sigmoids_and_a_distillation_are_measured_by_their_targets(no_trees: None) -> None:
    bce = baselines(config({"name": "wine"}, "bce"))
    plain = baselines(config({"name": "wine"}))
    assert bce["linear"].metrics["val/cross_entropy"] == pytest.approx(
        plain["linear"].metrics["val/cross_entropy"], 1e-3
    )
    assert bce["linear"].metrics["val/loss"] != pytest.approx(plain["linear"].metrics["val/loss"], 0.01)
    sections = config({"name": "wine"}).to_mapping()
    distill = {"name": "distill", "teacher": "missing.pt", "label_smoothing": 0.1}
    distilled = TrainingConfig.from_mapping({**sections, "loss": distill})
    smoothed = TrainingConfig.from_mapping({**sections, "loss": {"name": "cross_entropy", "label_smoothing": 0.1}})
    assert baselines(distilled)["linear"].metrics == baselines(smoothed)["linear"].metrics


def test_what_a_baseline_raises_is_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no such penalty\nand more")

    monkeypatch.setattr(tables, "fit_linear", broken)
    found = baselines(config({"name": "wine"}))
    assert found["linear"].note == "failed: ValueError: no such penalty"
    assert found["random_forest"].metrics["val/accuracy"] > 0.9


def test_data_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"data\.path"):
        baselines(config({"name": "csv", "path": "missing.csv", "target": "y"}))


def test_the_document_tells_the_limits_and_its_example_runs() -> None:
    document = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    for number in (tables.MAX_TRAIN_ROWS, tables.MAX_MEASURED_ROWS, tables.MAX_TREE_COLUMNS, tables.MAX_LINEAR_COLUMNS):
        assert f"{number:,}" in document
    assert re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE) == list(BASELINES)
    example = re.search(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert example
    names: dict[str, Any] = {}
    exec(compile(example[1], "docs/baselines.md", "exec"), names)
    assert names["line"].startswith("random_forest 1.0 random forest, 100 trees")


def test_one_seed_gives_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MODELS", {"random_forest": tables._MODELS["random_forest"]})
    first, again, other = (baselines(config({"name": "wine"}), seed=seed) for seed in (3, 3, 4))
    assert [each.metrics for each in first.values()] == [each.metrics for each in again.values()]
    assert first["random_forest"].metrics != other["random_forest"].metrics
