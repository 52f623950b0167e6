"""Cross-validation and repeats: splits, reported mean and spread, and resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from worker.training import ConfigError, Ending, Monitor, Report, TrainingConfig, TrainingHooks, Verdict, train
from worker.training.build import load
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.data import DATA
from worker.training.data.splits import Fold, SplitConstraint, Splitting, split_indices
from worker.training.loop.cross_validation import Replicates, mean_and_spread
from worker.training.seeding import derive, forked_rng

ACCURACY = Monitor("val/accuracy", "maximize")


def folds_of(
    num_examples: int, count: int, labels: Any = None, order: SplitConstraint | None = None, **how: Any
) -> list[dict[str, list[int]]]:
    splits = [
        split_indices(labels, num_examples, Splitting(fold=Fold(index, count), **how), order) for index in range(count)
    ]
    return [{name: part.tolist() for name, part in parts.items()} for parts in splits]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(2, 6),
    st.permutations([0] * 60 + [1] * 30 + [2] * 15),
    st.integers(0, 1000),
    st.booleans(),
)
def test_every_example_that_does_not_test_validates_once(count: int, labels: list[int], seed: int, stratify: bool):
    folds = folds_of(len(labels), count, np.array(labels), seed=seed, stratify=stratify)
    test = split_indices(np.array(labels), len(labels), Splitting(seed=seed, stratify=stratify))["test"].tolist()
    assert [fold["test"] for fold in folds] == [test] * count, "as without folds"
    assert sorted([*test, *(each for fold in folds for each in fold["val"])]) == list(range(len(labels)))
    for fold in folds:
        assert sorted(fold["train"] + fold["val"] + fold["test"]) == list(range(len(labels)))
    if stratify:
        counts = np.array([np.bincount(np.array(labels)[fold["val"]], minlength=3) for fold in folds])
        assert (counts.max(0) - counts.min(0)).max() <= 1


@settings(deadline=None, max_examples=30)
@given(
    st.integers(2, 4),
    st.lists(st.integers(0, 30), min_size=80, max_size=150).filter(lambda groups: len(set(groups)) > 8),
)
def test_a_group_is_in_one_fold(count: int, groups: list[int]):
    folds = folds_of(len(groups), count, order=SplitConstraint(groups=np.array(groups)))
    seen = [{groups[each] for each in fold["val"]} for fold in folds] + [{groups[each] for each in folds[0]["test"]}]
    assert sum(len(each) for each in seen) == len(set(groups))
    for fold in folds:
        assert not {groups[each] for each in fold["train"]} & {groups[each] for each in fold["val"]}


def test_a_fold_column_gives_the_folds():
    column = np.array(["a", "b", "c", "test"] * 6)
    folds = folds_of(24, 3, order=SplitConstraint(folds=column, val_folds=["val"], test_folds=["test"]))
    assert [set(column[fold["val"]]) for fold in folds] == [{"a"}, {"b"}, {"c"}]
    assert [set(column[fold["test"]]) for fold in folds] == [{"test"}] * 3


def test_random_choices_differ_in_every_fold():
    assert [len(fold["train"]) for fold in folds_of(100, 4, limit=30)] == [30] * 4
    assert all(len(set(fold["train"])) < 60 for fold in folds_of(100, 4, bootstrap=1))


COLUMN = SplitConstraint(folds=np.array(["a", "b", "c"] * 6), val_folds=["val"])


@pytest.mark.parametrize(
    ("count", "labels", "order", "message"),
    [
        (
            5,
            [0, 1] * 4,
            None,
            r"folds: 5 folds need at least as many examples of each class, but there are 3; use fewer folds",
        ),
        (
            5,
            None,
            SplitConstraint(groups=np.arange(18) // 6),
            r"folds: 5 folds need at least as many groups, but there are 2",
        ),
        (
            3,
            None,
            SplitConstraint(groups=np.repeat([0, 1, 2, 3], [8, 8, 1, 1])),
            r"folds: a fold of groups has a single",
        ),
        (9, None, None, r"folds: 9 folds need at least as many pairs of examples, but there are 7"),
        (
            2,
            None,
            SplitConstraint(times=np.arange(18)),
            r"folds: later examples would train for earlier ones .*; leave out folds",
        ),
        (2, None, COLUMN, r"folds: the fold column has 3 folds that do not test; write folds: 3"),
        (
            2,
            None,
            SplitConstraint(folds=COLUMN.folds, val_folds=["a"]),
            r"data\.val_folds: folds uses each value",
        ),
    ],
)
def test_impossible_folds_are_refused(
    count: int, labels: list[int] | None, order: SplitConstraint | None, message: str
):
    given_labels = None if labels is None else np.array(labels)
    with pytest.raises(ConfigError, match=message):
        folds_of(18 if labels is None else len(labels), count, given_labels, order)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, r"folds: must be >= 2, got 1"),
        ({"repeats": 0}, r"repeats: must be >= 1, got 0"),
        ({"folds": 99}, r"folds: 99 folds need at least as many examples of each class"),
        ({"folds": 5, "batch_size": 120}, r"batch_size: 120 is more than the 113 training examples"),
    ],
)
def test_impossible_settings_are_refused(configure, changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        train(configure(**changes))


def test_data_without_folds_is_refused(configure, tmp_path: Path):
    (tmp_path / "t.txt").write_text("to be or not to be " * 99)
    data = {"name": "text", "path": str(tmp_path / "t.txt"), "length": 8}
    with pytest.raises(ConfigError, match=r"folds: data 'text' can't be divided into folds; leave folds out"):
        train(configure(data=data, folds=2))
    (tmp_path / "t.csv").write_text("x,y\n" + "1,a\n2,b\n" * 20)
    parts = {part: str(tmp_path / "t.csv") for part in ("train", "val", "test")}
    with pytest.raises(ConfigError, match=r"folds: the data has separate validation examples"):
        train(configure(data={"name": "csv", "target": "y", **parts}, folds=2))


def reports_of(config: TrainingConfig, **arguments: Any) -> list[Report]:
    reports: list[Report] = []
    train(config, on_report=lambda report: reports.append(report) or Verdict.CONTINUE, **arguments)
    return reports


def test_every_epoch_reports_the_mean_over_the_folds_and_their_spread(configure):
    """Against as many trainings apart, each on data that is split as its fold."""
    config, each = configure(folds=3), []
    with forked_rng(0, torch.device("cpu")):
        for index, dataset in enumerate(load(config, torch.device("cpu"))):
            alone = Replicates(configure(), derive(0, f"member/{index}") if index else 0, [dataset], {})
            alone.train_epoch(lambda: Verdict.CONTINUE, lambda: None)
            each += alone.measure()
    reports = reports_of(config)
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[0].metrics == mean_and_spread(each)
    assert set(mean_and_spread(each)) == {name + ending for name in each[0] for ending in ("", "/std")}


def test_the_spread_is_the_sample_standard_deviation():
    each = [{"val/loss": value} for value in (1.0, 2.0, 6.0)]
    assert mean_and_spread(each) == pytest.approx({"val/loss": 3.0, "val/loss/std": np.std([1, 2, 6], ddof=1)})
    assert mean_and_spread(each[:1]) == {"val/loss": 1.0}


def test_repeats_train_the_same_data_from_different_seeds(configure):
    alone, repeated = train(configure(), seed=3), train(configure(repeats=3), seed=3)
    assert len(repeated.models) == 3
    first, *others = [model.state_dict() for model in repeated.models]
    assert all(torch.equal(tensor, first[name]) for name, tensor in alone.model.state_dict().items()), "as if alone"
    assert all(not torch.equal(first["2.weight"], each["2.weight"]) for each in others)
    assert repeated.metrics["test/accuracy/std"] >= 0
    assert repeated.metrics["num_parameters"] == alone.metrics["num_parameters"]


def test_folds_and_repeats_multiply(configure):
    assert len(train(configure(folds=3, repeats=2, epochs=1)).models) == 6


@pytest.mark.parametrize("data", [{"name": "wine"}, {"name": "diabetes"}])
def test_out_of_fold_predictions_keep_the_examples_ids(configure, data: dict[str, Any]):
    loss = {"name": "mse"} if data["name"] == "diabetes" else {"name": "cross_entropy"}
    result = train(configure(data=data, loss=loss, folds=4, repeats=2))
    val, test = result.predictions["val"], result.predictions["test"]
    whole = DATA.create(data["name"], DATA.check(data["name"], {"val_fraction": 0, "test_fraction": 0}))
    assert sorted([*val.ids.tolist(), *test.ids.tolist()]) == list(range(len(whole.train)))
    for part in (val, test):
        targets = whole.train.targets[whole.train.ids.argsort()][part.ids].squeeze(-1)
        torch.testing.assert_close(
            part.targets, targets if whole.kind == "classification" else targets * whole.target_std + whole.target_mean
        )
    if whole.kind == "classification":
        torch.testing.assert_close(val.outputs.sum(1), torch.ones(len(val.ids)))
        assert reference.accuracy_score(val.targets, val.outputs.argmax(1)) > 0.9
        assert np.sum(result.confusion["val"]) == len(val.ids)
    else:
        assert reference.r2_score(val.targets, val.outputs) > 0.2


def test_predictions_are_the_mean_over_the_models_that_held_the_example_out(configure):
    result = train(configure(repeats=2))
    dataset = DATA.create("wine", configure().data.settings)
    features = dataset.splits["val"].features
    with torch.no_grad():
        mean = torch.stack([model(features).softmax(1) for model in result.models]).mean(0)
    order = dataset.splits["val"].ids.argsort()
    torch.testing.assert_close(result.predictions["val"].outputs, mean[order])


def test_predictions_are_the_probabilities_that_the_loss_means(configure):
    config = configure(loss={"name": "bce"})
    result = train(config)
    split = DATA.create("wine", config.data.settings).splits["val"]
    with torch.no_grad():
        outputs = result.model(split.features)[split.ids.argsort()]
    torch.testing.assert_close(result.predictions["val"].outputs, outputs.sigmoid())


def test_the_best_epoch_is_that_of_the_mean(configure):
    config = configure(folds=3, optimizer={"name": "sgd", "lr": 0.6}, schedule={"name": "constant"}, epochs=12)
    reports = reports_of(config, monitor=ACCURACY)
    result = train(config, monitor=ACCURACY)
    best = max(reports, key=lambda report: report.metrics["val/accuracy"])
    assert result.best_step == best.step < 12
    assert result.metrics["val/accuracy/std"] == best.metrics["val/accuracy/std"]
    predicted = result.predictions["val"]
    pooled = reference.accuracy_score(predicted.targets, predicted.outputs.argmax(1))
    assert pooled == pytest.approx(best.metrics["val/accuracy"], abs=0.01), "folds are about of a size"


EVERYTHING: dict[str, Any] = {
    "folds": 3, "repeats": 2, "ema_decay": 0.8, "schedule": {"name": "plateau", "patience": 0, "threshold": 0.5},
    "model": {"name": "mlp", "hidden": [16], "dropout": 0.2, "norm": "batch"}, "epochs": 3, "snapshots": 3,
}  # fmt: skip
STEPS = 6 * 6  # in an epoch: six members of 94 or 95 examples in batches of 16


def pausing(at: int) -> Callable[[], Verdict]:
    count = 0

    def poll() -> Verdict:
        nonlocal count
        count += 1
        return Verdict.PAUSE if count == at else Verdict.CONTINUE

    return poll


@pytest.mark.parametrize("pauses", [[1], [7], [9, 40], [STEPS + 1], [STEPS + 15, 2 * STEPS + 20]])
def test_paused_at_any_step_of_any_fold_it_ends_bit_for_bit_the_same(configure, tmp_path: Path, pauses: list[int]):
    config, reports = configure(**EVERYTHING), []
    expected_reports = reports_of(config, seed=2, monitor=ACCURACY)
    expected = train(config, seed=2, monitor=ACCURACY)
    note = lambda report: reports.append(report) or Verdict.CONTINUE  # noqa: E731
    done = 0
    for pause in pauses:
        paused = train(
            config,
            seed=2,
            monitor=ACCURACY,
            on_report=note,
            hooks=TrainingHooks(poll=pausing(pause - done)),
            checkpoint_dir=tmp_path,
        )
        assert paused.ending is Ending.PAUSED
        done = pause - 1
        torch.rand(3)  # whatever else happened in this process meanwhile
    resumed = train(config, seed=2, monitor=ACCURACY, on_report=note, checkpoint_dir=tmp_path)
    assert reports == expected_reports
    assert resumed.best_step == expected.best_step
    for one, other in zip(
        [*(model.state_dict() for model in resumed.models), *resumed.snapshots],
        [*(model.state_dict() for model in expected.models), *expected.snapshots],
        strict=True,
    ):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert torch.equal(resumed.predictions["val"].outputs, expected.predictions["val"].outputs)


def test_a_checkpoint_between_two_folds_is_none_of_a_whole_epoch(configure, tmp_path: Path):
    train(configure(folds=3), hooks=TrainingHooks(poll=pausing(7 + 1)), checkpoint_dir=tmp_path)
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    assert [(member["epoch"], member["batch"]) for member in saved["replicates"]] == [(0, 6), (0, 1), (0, 0)]
    assert [path.name for path in tmp_path.glob("*.pt")] == ["step-00000000-batch-00000007.pt"]


def test_folds_of_another_number_are_another_training(configure, tmp_path: Path):
    train(configure(folds=3, epochs=2), checkpoint_dir=tmp_path, until_epoch=1)
    with pytest.raises(ConfigError, match=r"checkpoint_dir: the checkpoint is of a training with folds = 3, not 4"):
        train(configure(folds=4, epochs=2), checkpoint_dir=tmp_path)
