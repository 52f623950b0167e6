"""Distillation: the loss of the paper, a student that learns the answers of its teacher, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from worker.training import ConfigError, Monitor, train
from worker.training.components.losses import LOSSES
from worker.training.data import DATA

WINE = DATA.create("wine", DATA.check("wine", {}))
STUDENT = {"name": "linear"}


@pytest.fixture
def teacher(configure, tmp_path: Path) -> str:
    """The checkpoints of a training that knows its best epoch."""
    monitor = Monitor("val/accuracy", "maximize")
    train(configure(epochs=20), checkpoint_dir=tmp_path / "teacher", monitor=monitor)
    return str(tmp_path / "teacher")


def taught(teacher: str, **settings: Any) -> dict[str, Any]:
    return {"name": "distill", "teacher": teacher, **settings}


def test_the_loss_and_its_gradient_are_the_papers(teacher: str):
    loss = LOSSES.create(
        "distill", LOSSES.check("distill", {"teacher": teacher, "temperature": 3.0, "weight": 0.7}), WINE
    )
    features, targets = WINE.train.features[:5], WINE.train.targets[:5]
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    soft = functional.softmax(loss.teachers[0](features) / 3.0, -1)
    torch.testing.assert_close(loss.teacher_probabilities(features), soft)
    hard = loss(outputs, targets)
    torch.testing.assert_close(hard, functional.cross_entropy(outputs, targets))
    blended = loss.blend(hard, outputs, soft)
    given = functional.softmax(outputs / 3.0, -1)
    divergence = (soft * (soft.log() - given.log())).sum(1).mean()
    torch.testing.assert_close(blended, 0.3 * hard + 0.7 * 9.0 * divergence)
    (gradient,) = torch.autograd.grad(blended, outputs)
    one_hot = functional.one_hot(targets, 3)
    by_hand = (0.3 * (functional.softmax(outputs, -1) - one_hot) + 0.7 * 3.0 * (given - soft)) / 5
    torch.testing.assert_close(gradient, by_hand)


def test_a_student_of_few_examples_comes_nearer_to_its_teacher_with_its_answers(teacher: str, configure):
    loss = LOSSES.create("distill", LOSSES.check("distill", {"teacher": teacher}), WINE)
    features = WINE.splits["val"].features
    known = loss.teacher_probabilities(features)

    def distance(**changes: Any) -> float:
        model = train(configure(model=STUDENT, optimizer={"name": "adamw", "lr": 0.05}, epochs=60, **changes)).model
        with torch.inference_mode():
            return float((functional.softmax(model(features) / loss.temperature, -1) - known).abs().mean())

    assert distance(loss=taught(teacher, weight=1.0)) < 0.5 * distance()


def test_a_student_of_a_teacher_of_the_best_epoch_hears_that(teacher: str, configure, tmp_path: Path):
    loss = LOSSES.create("distill", LOSSES.check("distill", {"teacher": teacher}), WINE)
    best = train(
        configure(epochs=20), checkpoint_dir=Path(teacher), monitor=Monitor("val/accuracy", "maximize")
    ).model.state_dict()
    assert all(torch.equal(best[name], weight) for name, weight in loss.teachers[0].state_dict().items())


def test_repeats_and_averages_teach_together(configure, tmp_path: Path):
    result = train(configure(repeats=2, ema_decay=0.9), checkpoint_dir=tmp_path)
    file = max(tmp_path.glob("*.pt"))
    loss = LOSSES.create("distill", LOSSES.check("distill", {"teacher": str(file), "temperature": 1.0}), WINE)
    features = WINE.train.features
    expected = torch.stack([model(features).softmax(-1) for model in result.models]).mean(0)
    torch.testing.assert_close(loss.teacher_probabilities(features), expected)


def test_a_distilled_training_resumes_bit_for_bit(teacher: str, configure, tmp_path: Path):
    config = configure(loss=taught(teacher), augment={"name": "mixup"}, grad_accumulation=2)
    straight = train(config).model.state_dict()
    train(config, checkpoint_dir=tmp_path / "student", until_epoch=2)
    resumed = train(config, checkpoint_dir=tmp_path / "student").model.state_dict()
    assert all(torch.equal(weight, resumed[name]) for name, weight in straight.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"name": "wine", "seed": 1}}, r"loss\.teacher: .*with data\.seed = 0, not 1"),
        ({"folds": 3}, r"loss\.teacher: .*with folds = None, not 3"),
        ({"data": {"name": "digits"}}, r"loss\.teacher: the weights do not fit the inputs of this data"),
    ],
)
def test_teachers_that_may_have_seen_what_is_held_out_are_refused(
    changes: dict[str, Any], message: str, teacher: str, configure
):
    with pytest.raises(ConfigError, match=message):
        train(configure(model=STUDENT, loss=taught(teacher), **changes))


def test_fewer_examples_than_the_teachers_may_train(teacher: str, configure):
    train(configure(data={"name": "wine", "limit": 30}, loss=taught(teacher), epochs=1))


def test_a_file_that_is_no_checkpoint_is_refused(configure, tmp_path: Path):
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("gone", r"loss\.teacher: there is no '.*gone'"),
        ("text.pt", r"loss\.teacher: '.*text\.pt' can't be read as a checkpoint"),
        ("empty", r"loss\.teacher: '.*empty' is not a checkpoint of a training"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(configure(loss=taught(str(tmp_path / name))))


def test_a_teacher_may_be_named_by_another_word_and_lie_where_it_is_brought(teacher: str, configure, tmp_path: Path):
    # So a training that moves to another host, where its teacher lies elsewhere, is the same training.
    config = configure(model=STUDENT, loss=taught("digits-mlp/7"), epochs=2)
    [file] = sorted(Path(teacher).glob("*.pt"))[-1:]
    moved = file.rename(tmp_path / "elsewhere.pt")
    train(config, checkpoint_dir=tmp_path / "student", until_epoch=1, teacher=moved)
    there = moved.rename(tmp_path / "there.pt")
    resumed = train(config, checkpoint_dir=tmp_path / "student", teacher=there)
    whole = train(config, teacher=there)
    assert resumed.metrics["val/loss"] == whole.metrics["val/loss"]
