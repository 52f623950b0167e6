"""The best epoch and early stopping: against brute force over all epochs, with and without interruptions."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training import Monitor, Report, Verdict, train
from worker.training.loop.best_epoch import BestTracker

Epochs = list[dict[str, float]]
ACCURACY = Monitor("val/accuracy", "maximize")
FEW_VALUES = st.sampled_from([0.5, 0.75, 0.8, 1.0, math.nan])
FEW_LOSSES = st.sampled_from([0.25, 0.5, 1.0, math.inf])


def accuracies(*both: tuple[float, float | None]) -> Epochs:
    """Epochs of (accuracy, cross-entropy); None: the epoch reports no cross-entropy."""
    return [{"val/accuracy": value} | ({} if loss is None else {"val/cross_entropy": loss}) for value, loss in both]


def tracked(epochs: Epochs, monitor: Monitor, min_delta: float = 0.0, resume_at: int | None = None) -> BestTracker:
    """The tracker after these epochs; at `resume_at` another continues from what a checkpoint keeps of it."""
    tracker = BestTracker(monitor, 0, min_delta)
    for step, metrics in enumerate(epochs, 1):
        if step == resume_at:
            content = tracker.state_dict()
            tracker = BestTracker(monitor, 0, min_delta)
            tracker.load_state_dict(content)
        tracker.update(step, metrics, list)
    return tracker


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        (accuracies((0.8, 0.6), (0.9, 0.5), (0.9, 0.4), (0.9, 0.45)), 3),
        (accuracies((0.9, 0.4), (0.9, 0.4)), 1),
        (accuracies((0.9, None), (0.9, None)), 1),
        (accuracies((0.9, math.nan), (0.9, 0.7)), 2),
        (accuracies((0.9, 0.9), (0.8, 0.1)), 1),
    ],
    ids=["lowest loss", "equal losses", "no loss", "loss not finite", "a lower loss alone"],
)
def test_of_equal_values_the_lowest_plain_loss_is_the_best(epochs: Epochs, best: int):
    epoch = tracked(epochs, ACCURACY).epoch
    assert epoch is not None
    assert epoch.step == best


@pytest.mark.parametrize(
    ("metric", "loss", "other"),
    [
        ("val/r2", "val/mse", "train/mse"),
        ("test_val/accuracy", "test_val/cross_entropy", "val/cross_entropy"),
        ("val/f1/cat", "val/cross_entropy", "train/cross_entropy"),
        ("unlike_the_others", "val/cross_entropy", "test_val/cross_entropy"),
    ],
)
def test_the_loss_is_that_of_the_monitored_split(metric: str, loss: str, other: str):
    epochs = [{metric: 1.0, loss: 0.5, other: 0.1}, {metric: 1.0, loss: 0.4, other: 0.9}]
    epoch = tracked(epochs, Monitor(metric, "maximize")).epoch
    assert epoch is not None
    assert epoch.step == 2


def early_stop(values: list[float], patience: int, min_delta: float) -> int | None:
    """The epoch after which Keras' EarlyStopping (monitor maximised) ends the training; None: it never does."""
    best, waited = -math.inf, 0
    for step, value in enumerate(values, 1):
        if value - min_delta > best:
            best, waited = value, 0
        else:
            waited += 1
        if waited >= patience:
            return step
    return None


@given(
    st.lists(st.tuples(FEW_VALUES, FEW_LOSSES), min_size=1, max_size=8),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.04, 0.25]),
    st.integers(1, 8),
)
def test_best_epoch_and_early_stopping_are_those_of_brute_force(
    both: list[tuple[float, float]], patience: int, min_delta: float, resume_at: int
):
    epochs = accuracies(*both)
    finite = [(-value, loss, step) for step, (value, loss) in enumerate(both, 1) if math.isfinite(value)]
    for resumed in (None, resume_at):
        best = tracked(epochs, ACCURACY, min_delta, resumed).epoch
        assert (None if best is None else best.step) == (min(finite)[2] if finite else None)
        stops = [
            step
            for step in range(1, len(epochs) + 1)
            if tracked(epochs[:step], ACCURACY, min_delta, resumed).reason_to_stop(step, patience)
        ]
        assert (stops[0] if stops else None) == early_stop([value for value, _ in both], patience, min_delta)


def test_a_lower_loss_at_an_equal_value_is_no_improvement():
    tracker = tracked(accuracies((0.9, 0.5), (0.9, 0.4), (0.9, 0.3)), ACCURACY)
    assert tracker.reason_to_stop(3, 2) == "no better for 2 epochs"
    assert tracked(accuracies((0.8, 0.5), (0.83, 0.4)), ACCURACY, 0.05).reason_to_stop(2, 1) == (
        "no better by 0.05 for 1 epochs"
    )


@pytest.mark.parametrize(("best", "may_be_best"), [(0.8, True), (0.9, True), (0.95, False)])
def test_a_training_as_good_as_the_best_other_may_have_the_lower_loss(best: float, may_be_best: bool):
    tracker = tracked(accuracies((0.9, 0.5), (0.7, 0.4)), Monitor("val/accuracy", "maximize", best=best))
    assert tracker.may_beat_other_trainings({"val/accuracy": 0.7}) is may_be_best
    assert not tracked([], Monitor("val/accuracy", "maximize", "last", best)).may_beat_other_trainings(
        {"val/accuracy": math.nan}
    )


def test_a_training_keeps_the_weights_of_the_lowest_loss_among_equal_epochs_and_resumes_so(configure, tmp_path: Path):
    reports: list[Report] = []

    def on_report(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    config = configure(epochs=30, patience=12)
    whole = train(config, monitor=ACCURACY, on_report=on_report)
    curve = [(report.metrics["val/accuracy"], -report.metrics["val/cross_entropy"]) for report in reports]
    first = [value for value, _ in curve].index(max(curve)[0]) + 1
    assert whole.best_step == curve.index(max(curve)) + 1 > first, "the first of the equal epochs is not the best"
    assert whole.step == first + 12 < 30, "a lower loss alone does not make early stopping wait"
    result: Any = None
    for until in (first + 1, whole.best_step + 1, None):
        result = train(config, monitor=ACCURACY, checkpoint_dir=tmp_path, until_epoch=until)
    assert (result.best_step, result.step, result.reason) == (whole.best_step, whole.step, whole.reason)
    pairs = zip(result.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)


def test_progress_below_min_delta_ends_a_training(configure):
    slow: Any = {"optimizer": {"name": "sgd", "lr": 1e-4}, "schedule": {"name": "constant"}, "patience": 2}
    assert train(configure(**slow)).step == 6
    result = train(configure(**slow, min_delta=0.5))
    assert (result.step, result.reason) == (3, "no better by 0.5 for 2 epochs")
