"""Callbacks: what they receive and when, how they stop a training, their errors, and resuming."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from torch import Tensor

from worker.training import (
    Callback,
    ConfigError,
    Ending,
    Infeasible,
    MissingLibrary,
    Report,
    Training,
    TrainingConfig,
    TrainingHooks,
    TrainingResult,
    Verdict,
    train,
)
from worker.training.callbacks import CALLBACKS
from worker.training.parameters import Setting


class Witness(Callback):
    """Writes down what it is told, and how far the training stood then."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_begin(self, training: Training) -> None:
        self.training = training
        self.told.append(f"begins at {training.epoch}")

    def measure(self) -> Mapping[str, float]:
        self.told.append("measures")
        return {"my/own": torch.tensor(len(self.told))}  # type: ignore[dict-item]  # what float() takes

    def on_report(self, report: Report) -> None:
        self.told.append(f"hears of {report.step}")
        self.report = report

    def on_end(self, result: TrainingResult) -> None:
        self.told.append(f"{result.ending} at {result.step}")

    def close(self) -> None:
        self.told.append("closes")


class EndsAt(Callback):
    """Has a reason to end after an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_report(self, report: Report) -> str | None:
        return "good enough" if report.step == self.step else None


def test_it_is_called_at_its_moments_and_its_metrics_are_reported(configure):
    witness, reports = Witness(), []
    result = train(configure(epochs=2), on_report=lambda report: (reports.append(report), Verdict.CONTINUE)[1],
                   hooks=TrainingHooks(callbacks=[witness]))  # fmt: skip
    assert witness.told == [
        "begins at 0", "measures", "hears of 1", "measures", "hears of 2", "finished at 2", "closes"
    ]  # fmt: skip
    assert witness.report == reports[1]
    assert [report.metrics["my/own"] for report in reports] == [2.0, 4.0]
    assert result.metrics["my/own"] == 4.0


def test_it_sees_what_trains_each_fold_and_repeat(configure):
    witness = Witness()
    config = configure(folds=2, repeats=2, epochs=1, callbacks=[{"name": "norms"}])
    result = train(config, seed=5, hooks=TrainingHooks(callbacks=[witness]))
    seen = witness.training
    assert (seen.seed, seen.config) == (5, config.to_mapping())
    assert len(seen.datasets) == len(seen.models) == len(seen.optimizers) == 4
    assert all(one is other for one, other in zip(seen.models, result.models, strict=True))
    weights = [group["params"] for group in seen.optimizers[0].param_groups]
    assert {id(each) for group in weights for each in group} == {id(each) for each in result.models[0].parameters()}


def test_a_reason_ends_the_training_as_finished_for_good(configure, tmp_path: Path):
    ends, witness = EndsAt(3), Witness()
    result = train(configure(), seed=2, checkpoint_dir=tmp_path, hooks=TrainingHooks(callbacks=[ends, witness]))
    assert (result.ending, result.step, result.reason) == (Ending.FINISHED, 3, "good enough")
    assert "test/accuracy" in result.metrics
    assert witness.told[-3:] == ["hears of 3", "finished at 3", "closes"]
    again = train(configure(), seed=2, checkpoint_dir=tmp_path)
    assert (again.ending, again.step, again.reason) == (Ending.FINISHED, 3, "good enough")


def test_early_stopping_says_its_reason_too(configure):
    result = train(configure(patience=2, optimizer={"name": "sgd", "lr": 1e-12}, epochs=9))
    assert result.reason == "no better for 2 epochs"


def test_without_a_reason_there_is_none(configure):
    assert train(configure(epochs=1)).reason == ""
    assert train(configure(patience=1), until_epoch=1).reason == ""


class Fails(Callback):
    """Raises at one of its moments."""

    def __init__(self, moment: str, error: Exception) -> None:
        self.closed = False
        self._error = error
        setattr(self, moment, self._fail)

    def _fail(self, *_: object) -> Any:
        raise self._error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("moment", "where"),
    [
        ("on_begin", "before the first step"),
        ("measure", "measuring"),
        ("on_report", "after epoch 1"),
        ("state_dict", "saving"),
        ("on_end", "after the last epoch"),
    ],
)
def test_its_exception_is_raised_with_its_name(configure, tmp_path: Path, moment: str, where: str):
    fails, witness = Fails(moment, KeyError("mine")), Witness()
    with pytest.raises(KeyError) as caught:
        train(configure(epochs=1), checkpoint_dir=tmp_path, hooks=TrainingHooks(callbacks=[fails, witness]))
    assert caught.value.__notes__ == [f"raised by callback 'Fails', {where}"]
    assert fails.closed
    assert witness.told[-1] == "closes"


def test_all_are_closed_where_one_cannot_be(configure):
    fails, witness = Fails("on_end", Infeasible("no use")), Witness()
    fails.close = fails._fail  # type: ignore[method-assign]
    with pytest.raises(Infeasible, match="no use") as caught:
        train(configure(epochs=1), hooks=TrainingHooks(callbacks=[witness, fails]))
    assert caught.value.__notes__[-1] == "raised by callback 'Fails', closing"
    assert witness.told[-1] == "closes"


@pytest.mark.parametrize("said", [True, "", 3, Verdict])
def test_an_invalid_reason_is_refused(configure, said: object):
    witness = Witness()
    witness.on_report = lambda _: said  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(TypeError, match="on_report must return a reason to end training, or None; it returned"):
        train(configure(epochs=1), hooks=TrainingHooks(callbacks=[witness]))


@pytest.mark.parametrize("name", ["val/loss", "my/own"])
def test_a_metric_is_reported_once(configure, name: str):
    other = Witness()
    other.measure = lambda: {name: 1.0}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=f"metric '{name}' is reported already; give it another name") as caught:
        train(configure(epochs=1), hooks=TrainingHooks(callbacks=[Witness(), other]))
    assert caught.value.__notes__ == ["raised by callback 'Witness-2', measuring"]


class Keeps(Callback):
    """Keeps something in its state."""

    def __init__(self, state: Any = None) -> None:
        self.state: Any = {"kept": state}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def test_state_of_what_no_checkpoint_can_hold_is_refused_when_it_is_saved(configure, tmp_path: Path):
    said = r"may only hold tensors, numbers, texts, lists and mappings; it holds pathlib\..*PosixPath"
    with pytest.raises(TypeError, match=said):
        train(configure(epochs=1), checkpoint_dir=tmp_path, hooks=TrainingHooks(callbacks=[Keeps([tmp_path])]))
    assert not list(tmp_path.glob("*.json"))


def test_each_of_several_gets_its_own_state_back(configure, tmp_path: Path):
    plain = {"a": [1, 2.5, "x", None], "weights": torch.arange(3.0)}
    train(configure(), checkpoint_dir=tmp_path, until_epoch=1, hooks=TrainingHooks(callbacks=[Keeps(1), Keeps(plain)]))
    one, other, new = Keeps(), Keeps(), Keeps("new")
    train(configure(), checkpoint_dir=tmp_path, until_epoch=2, hooks=TrainingHooks(callbacks=[one, other, new]))
    assert (one.state, new.state) == ({"kept": 1}, {"kept": "new"})
    assert other.state["kept"]["a"] == plain["a"]
    assert torch.equal(other.state["kept"]["weights"], torch.arange(3.0))


def test_callbacks_may_change_at_a_resume(configure, tmp_path: Path):
    straight = train(configure(epochs=3), seed=1)
    train(configure(epochs=3), seed=1, checkpoint_dir=tmp_path, until_epoch=2)
    resumed = train(configure(epochs=3, callbacks=[{"name": "norms"}]), seed=1, checkpoint_dir=tmp_path)
    assert resumed.metrics["val/loss"] == straight.metrics["val/loss"]


def test_a_fork_begins_without_its_parents_state(configure, tmp_path: Path):
    train(configure(), checkpoint_dir=tmp_path, until_epoch=2, hooks=TrainingHooks(callbacks=[Keeps("old"), EndsAt(2)]))
    keeps = Keeps("new")
    forked = configure(optimizer={"name": "sgd", "lr": 0.1})
    result = train(forked, checkpoint_dir=tmp_path, fork_at=2, until_epoch=4, hooks=TrainingHooks(callbacks=[keeps]))
    assert (keeps.state, result.step) == ({"kept": "new"}, 4)


def curve(config: TrainingConfig, **arguments: Any) -> list[Report]:
    reports: list[Report] = []

    def on_report(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    train(config, seed=1, on_report=on_report, **arguments)
    return reports


def built_in(name: str, folder: Path) -> dict[str, Any]:
    required: dict[str, Any] = {"directory": str(folder)}
    return {"name": name} | {
        key: required[key] for key, each in CALLBACKS.entry(name).parameters.items() if each.is_required
    }


@pytest.mark.parametrize("name", [entry.name for entry in CALLBACKS])
def test_every_callback_of_the_registry_resumes_bit_for_bit_and_changes_no_training(
    name: str, configure, tmp_path: Path
):
    config = configure(epochs=2, callbacks=[built_in(name, tmp_path / "out")])
    straight, plain = curve(config), curve(configure(epochs=2))
    for with_callback, without in zip(straight, plain, strict=True):
        assert with_callback.metrics.items() >= without.metrics.items()
    polls = iter([Verdict.CONTINUE] * 9 + [Verdict.PAUSE])
    saved = tmp_path / "saved"
    begun = curve(config, checkpoint_dir=saved, hooks=TrainingHooks(poll=lambda: next(polls)))
    assert begun + curve(config, checkpoint_dir=saved) == straight


def test_norms_are_those_of_the_steps(configure):
    class Steps(Callback):
        """Reckons the same by hand."""

        def on_begin(self, training: Training) -> None:
            self.lengths: list[float] = []
            self.weights = list(training.models[0].parameters())
            training.optimizers[0].register_step_pre_hook(lambda *_: self.lengths.append(length(self.grads())))

        def grads(self) -> list[Tensor]:
            return [weight.grad for weight in self.weights if weight.grad is not None]

        def on_report(self, report: Report) -> None:
            mean = sum(self.lengths) / len(self.lengths)
            assert report.metrics["norm/gradient"] == pytest.approx(mean)
            assert report.metrics["norm/weights"] == pytest.approx(length(self.weights))
            assert mean > 1e-3
            self.lengths.clear()

    def length(tensors: list[Tensor]) -> float:
        return sum(float(each.detach().double().square().sum()) for each in tensors) ** 0.5

    train(configure(epochs=2, callbacks=[{"name": "norms"}]), hooks=TrainingHooks(callbacks=[Steps()]))


def test_the_norm_is_that_of_the_clipped_gradient(configure):
    [report] = curve(configure(epochs=1, clip_norm=1e-3, callbacks=[{"name": "norms"}]))
    assert 0 < report.metrics["norm/gradient"] <= 1.001e-3


def test_ratios_are_those_of_the_sampled_step(configure):
    class Steps(Callback):
        """Reckons the same by hand, for the only step of each epoch."""

        def on_begin(self, training: Training) -> None:
            self.weights = list(training.models[0].parameters())
            training.optimizers[0].register_step_pre_hook(lambda *_: self.before())
            training.optimizers[0].register_step_post_hook(lambda *_: self.after())

        def before(self) -> None:
            first, last = (self.weights[index].grad.square().mean().sqrt() for index in (0, 2))
            self.ratio = float(first / last)
            self.old = torch.cat([weight.detach().flatten() for weight in self.weights])

        def after(self) -> None:
            new = torch.cat([weight.detach().flatten() for weight in self.weights])
            self.update = float((new - self.old).norm() / self.old.norm())

        def on_report(self, report: Report) -> None:
            assert report.metrics["norm/gradient_ratio"] == pytest.approx(self.ratio, rel=1e-5)
            assert report.metrics["norm/update_ratio"] == pytest.approx(self.update, rel=1e-5)
            assert 0 < self.update < 1

    wine = {"name": "wine", "limit": 64}
    config = configure(data=wine, epochs=2, batch_size=64, callbacks=[{"name": "norms"}])
    train(config, hooks=TrainingHooks(callbacks=[Steps()]))


def test_units_that_are_never_active_are_counted_and_the_model_counts_no_more_afterwards(configure):
    class Kills(Callback):
        """Keeps 4 of the 16 hidden units at 0."""

        def on_begin(self, training: Training) -> None:
            [*_, self.bias] = [each for each in training.models[0].parameters() if each.shape == (16,)]
            training.optimizers[0].register_step_post_hook(lambda *_: self.bias.data[:4].fill_(-1e3))

    reports: list[Report] = []

    def on_report(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    config = configure(epochs=1, callbacks=[{"name": "norms"}])
    result = train(config, on_report=on_report, hooks=TrainingHooks(callbacks=[Kills()]))
    assert reports[0].metrics["norm/dead_units"] == pytest.approx(4 / 16)
    assert not any(module._forward_hooks for module in result.model.modules())


@pytest.fixture
def own_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CALLBACKS, "_entries", dict(CALLBACKS._entries))

    @CALLBACKS.add
    class GoodEnough(Callback):
        """Ends training at an accuracy."""

        def __init__(self, *, accuracy: Annotated[float, Setting("from which on", low=0.0, high=1.0)] = 0.9) -> None:
            self.accuracy = accuracy

        def on_report(self, report: Report) -> str | None:
            return f"{self.accuracy} reached" if report.metrics["val/accuracy"] >= self.accuracy else None


@pytest.mark.usefixtures("own_entry")
def test_a_class_of_the_users_own_is_an_entry(configure):
    result = train(configure(callbacks=[{"name": "GoodEnough", "accuracy": 0}]))
    assert (result.step, result.reason) == (1, "0.0 reached")
    with pytest.raises(ConfigError, match=r"callbacks\[0\]\.accuracy: must be <= 1, got 2"):
        configure(callbacks=[{"name": "GoodEnough", "accuracy": 2}])


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ({"name": "norms"}, "callbacks: must be a list, like [{name: …}], got {'name': 'norms'}"),
        ([3], "callbacks[0]: must be a mapping with a name, like {name: …}, got 3"),
        (
            [{"name": "norms"}, {"name": "tensorbord"}],
            "callbacks[1].name: unknown callback 'tensorbord'; did you mean 'tensorboard'?",
        ),
        ([{"name": "tensorboard", "directory": 3}], "callbacks[0].directory: must be a text, got 3"),
        (
            [{"name": "tensorboard", "dir": "x"}],
            "callbacks[0].dir: callback 'tensorboard' has no such setting; did you mean 'directory'?",
        ),
        ([{"name": "tensorboard"}], "callbacks[0].directory: missing, but callback 'tensorboard' needs it: "),
    ],
)
def test_a_fault_in_the_configuration_names_its_path(configure, callbacks: Any, message: str):
    with pytest.raises(ConfigError) as caught:
        configure(callbacks=callbacks)
    assert str(caught.value).startswith(message)


def test_a_missing_library_is_named_before_anything_is_loaded(configure, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    config = configure(
        data={"name": "csv", "path": "nowhere.csv", "target": "y"}, callbacks=[built_in("tensorboard", Path("x"))]
    )
    with pytest.raises(MissingLibrary) as caught:
        train(config)
    assert str(caught.value).startswith("callbacks: needs tensorboard, which can't be imported here (")
    assert str(caught.value).endswith("); pip install 'assayer[tensorboard]'")
