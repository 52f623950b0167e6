"""Ranking: tables become lists of queries; losses and metrics against scikit-learn and hand computations."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from worker.training import ConfigError, TrainingConfig, train
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import METRIC_NAMES, Metrics
from worker.training.components.metrics.ranking import ranking_values
from worker.training.data import DATA, Dataset, Split
from worker.training.evaluate import evaluate

DRAW = np.random.default_rng(0)
LISTS = [(DRAW.normal(size=size).round(1), DRAW.integers(0, 4, size)) for size in (1, 2, 7, 15, 30) for _ in range(20)]


def padded(values: list[np.ndarray[Any, Any]], padding: float) -> torch.Tensor:
    return torch.stack([torch.tensor([*each, *[padding] * (30 - len(each))], dtype=torch.float32) for each in values])


SCORES, RELEVANCE = padded([scores for scores, _ in LISTS], 0.0), padded([relevance for _, relevance in LISTS], -1.0)


def test_metrics_are_scikit_learns_mean_over_the_queries():
    dataset = Dataset("ranking", {"val": Split(SCORES.unsqueeze(2), RELEVANCE)})
    loss = LOSSES.create("listnet", {}, dataset)
    # Without ties: scikit-learn takes the mean over the orders of rows with equal scores.
    lists = [(scores + 1e-3 * np.arange(len(scores)), relevance) for scores, relevance in LISTS]
    scores = padded([each for each, _ in lists], 0.0)
    dataset = Dataset("ranking", {"val": Split(scores.unsqueeze(2), RELEVANCE)})
    values = evaluate(nn.Flatten(1), loss, Metrics(dataset, torch.device("cpu")), dataset, ("val",))
    told = [(scores, relevance) for scores, relevance in lists if relevance.any()]
    several = [(scores, relevance) for scores, relevance in told if len(scores) > 1]
    alone = len(told) - len(several)  # a query of one row can't be ranked wrong; scikit-learn takes none

    def mean_ndcg(k: int | None) -> float:
        return (sum(reference.ndcg_score([each], [scores], k=k) for scores, each in several) + alone) / len(told)

    def reciprocal(scores: np.ndarray[Any, Any], relevance: np.ndarray[Any, Any]) -> float:
        return 1 / (1 + int(np.argmax(relevance[np.argsort(-scores)] > 0)))

    del values["val/loss"]
    assert values == pytest.approx(
        {
            "val/ndcg": mean_ndcg(None),
            "val/ndcg_10": mean_ndcg(10),
            "val/map": np.mean([reference.average_precision_score(each > 0, scores) for scores, each in told]),
            "val/mrr": np.mean([reciprocal(scores, each) for scores, each in told]),
        },
        rel=1e-4,
    )
    assert set(values) <= set(METRIC_NAMES["ranking"])


def test_rows_of_equal_scores_count_as_the_worst_order():
    values, counts = ranking_values(torch.zeros(3, 4), torch.tensor([[1.0, 0, 0, 2], [0, 3, -1, -1], [0, 0, 0, -1]]))
    assert counts.tolist() == [1, 1, 0], "the last has no relevant row"
    assert values["mrr"].tolist() == pytest.approx([1 / 3, 1 / 2, 0])
    assert values["map"].tolist() == pytest.approx([(1 / 3 + 2 / 4) / 2, 1 / 2, 0])
    worst, best = 1 / np.log2(4) + 2 / np.log2(5), 2 / np.log2(2) + 1 / np.log2(3)
    assert values["ndcg"].tolist() == pytest.approx([worst / best, 1 / np.log2(3), 0])


def softmax(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.exp(values) / np.exp(values).sum()


def test_listnet_is_the_divergence_of_the_two_softmaxes():
    by_hand = [(softmax(relevance) * np.log(softmax(relevance) / softmax(scores))).sum() for scores, relevance in LISTS]
    loss = LOSSES.create("listnet", {}, None)(SCORES, RELEVANCE)
    assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert LOSSES.create("listnet", {}, None)(RELEVANCE, RELEVANCE).item() == pytest.approx(0, abs=1e-6)


def test_ranknet_is_the_mean_logistic_loss_of_the_pairs():
    def of_a_query(scores: np.ndarray[Any, Any], relevance: np.ndarray[Any, Any]) -> float:
        pairs = [
            np.log(1 + np.exp(scores[worse] - scores[better]))
            for one, other in combinations(range(len(scores)), 2)
            for better, worse in ((one, other), (other, one))
            if relevance[better] > relevance[worse]
        ]
        return float(np.mean(pairs)) if pairs else 0.0

    loss = LOSSES.create("ranknet", {}, None)(SCORES, RELEVANCE)
    assert loss.item() == pytest.approx(np.mean([of_a_query(*each) for each in LISTS]), rel=1e-5)


@pytest.mark.parametrize("name", ["listnet", "ranknet"])
def test_the_loss_of_a_batch_is_that_of_its_parts_and_padding_counts_nothing(name: str):
    loss = LOSSES.create(name, {}, None)
    parts = 0.3 * loss(SCORES[:30], RELEVANCE[:30]) + 0.7 * loss(SCORES[30:], RELEVANCE[30:])
    assert parts.item() == pytest.approx(loss(SCORES, RELEVANCE).item(), rel=1e-6)
    scores = torch.where(RELEVANCE < 0, torch.full_like(SCORES, 9.0), SCORES).requires_grad_()
    padded_loss = loss(scores, RELEVANCE)
    padded_loss.backward()
    assert padded_loss.item() == pytest.approx(loss(SCORES, RELEVANCE).item(), rel=1e-6)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[RELEVANCE < 0] == 0).all()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Thirty wards of one to seven patients; who is iller has the larger x."""
    draw = np.random.default_rng(0)
    rows = [(f"ward {ward}", draw.normal(), draw.normal()) for ward in range(30) for _ in range(1 + ward % 7)]
    lines = [f"{ward},{x:.3f},{noise:.3f},{int(x > 0) + int(x > 1)}" for ward, x, noise in rows]
    path = tmp_path / "wards.csv"
    path.write_text("\n".join(["ward,x,noise,urgency", *lines]) + "\n")
    return path


def load(path: Path, **given: Any) -> Dataset:
    return DATA.create("csv", DATA.check("csv", {"path": str(path), "target": "urgency", "query": "ward", **given}))


def test_a_table_becomes_lists_of_whole_queries(table: Path):
    dataset = load(table)
    assert (dataset.kind, dataset.inputs, dataset.num_features) == ("ranking", "queries", 2)
    assert sum(len(split) for split in dataset.splits.values()) == 30
    lines = table.read_text().splitlines()[1:]
    wards = []
    for split in dataset.splits.values():
        assert split.ids is not None
        assert torch.equal(split.ids < 0, split.targets < 0)
        for ids, targets in zip(split.ids, split.targets, strict=True):
            rows = [lines[row].split(",") for row in ids[ids >= 0]]
            assert [float(row[-1]) for row in rows] == targets[targets >= 0].tolist()
            wards += {row[0] for row in rows}
    assert len(wards) == len(set(wards)) == 30


def configured(table: Path, **changes: Any) -> TrainingConfig:
    return TrainingConfig.from_mapping(
        {
            "data": {"name": "csv", "path": str(table), "target": "urgency", "query": "ward"},
            "model": {"name": "mlp", "hidden": [8]}, "loss": {"name": "listnet"},
            "optimizer": {"name": "adamw", "lr": 0.02}, "batch_size": 4, "epochs": 15, **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["listnet", "ranknet"])
def test_relevance_is_learned(table: Path, loss: str):
    result = train(configured(table, loss={"name": loss}, folds=3))
    assert result.metrics["val/ndcg"] > 0.97
    predicted = result.predictions["val"]
    assert predicted.outputs.ndim == 1
    assert len(predicted.ids) == len(set(predicted.ids.tolist()))
    urgency = [int(line.rpartition(",")[2]) for line in table.read_text().splitlines()[1:]]
    assert predicted.targets.tolist() == [urgency[row] for row in predicted.ids]


def test_categories_are_embedded_in_lists_too(table: Path):
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"sex,{lines[0]}", *(f"{'mf'[row % 2]},{line}" for row, line in enumerate(lines[1:]))]))
    assert train(configured(table, data={**configured(table).data.settings, "name": "csv", "categories": "embedded"}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"query": "wards"}, r"data\.query: there is no column 'wards'; did you mean 'ward'\?"),
        (
            {"kind": "regression"},
            r"data\.kind: data.query ranks the rows of each query, so kind has no effect; leave out kind, or",
        ),
        ({"limit": 50}, r"data\.limit: selects single rows, which would split queries; leave it out"),
        ({"bootstrap": 1}, r"data\.bootstrap: selects single rows"),
        ({"group": "noise"}, r"data\.query: only one of group and query can decide the split"),
        ({"target": "noise"}, r"data\.target: the \w+ examples hold the relevance -\d.*; 0 is the lowest"),
        ({"target": "ward", "query": "x"}, r"data\.target: column 'ward' does not hold numbers, which ranking needs"),
    ],
)
def test_a_fault_names_its_setting(table: Path, given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        load(table, **given)


@pytest.mark.parametrize(("relevance", "message"), [(1, "within each query all rows have one"), (0, "no row of the")])
def test_queries_that_tell_nothing_are_refused(tmp_path: Path, relevance: int, message: str):
    path = tmp_path / "t.csv"
    path.write_text("q,x,y\n" + "".join(f"{row // 3},{row},{relevance}\n" for row in range(60)))
    with pytest.raises(ConfigError, match=rf"data\.target: {message}"):
        DATA.create("csv", DATA.check("csv", {"path": str(path), "target": "y", "query": "q"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"name": "mse"}}, r"loss\.name: mse is for regression, but the data is for ranking; use listnet or"),
        ({"model": {"name": "lenet"}}, r"model\.name: lenet is for images, but the data is for queries; use linear or"),
        (
            {"model": {"name": "mlp", "norm": "batch"}},
            r"model\.norm: a batch norm would include the padding of short queries",
        ),
        ({"augment": {"name": "mixup"}}, r"augment\.name: mixup is for rows or images, but the data is for queries"),
        ({"batch_size": 19}, r"batch_size: 19 is more than the 17 training examples"),
    ],
)
def test_settings_that_do_not_fit_a_ranking_are_refused(table: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        train(configured(table, **changes))
