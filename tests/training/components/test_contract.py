"""Contract of every model, loss and optimizer."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from worker.training import TrainingConfig, train
from worker.training.components.augment import AUGMENTATIONS
from worker.training.components.losses import LOSSES
from worker.training.components.optimizers import OPTIMIZERS
from worker.training.components.schedules import SCHEDULES
from worker.training.data import DATA, Dataset, Inputs, Kind, Split
from worker.training.models import MODELS
from worker.training.seeding import forked_rng


def tokens(kind: Kind) -> Dataset:
    """Eight random texts of twelve tokens, to continue or to tell apart."""
    drawn = torch.randint(0, 8, (8, 13), generator=torch.Generator().manual_seed(0))
    drawn[:, 0] = torch.arange(8)  # by their first token, what follows is certain
    targets = drawn[:, 1:] if kind == "language" else torch.arange(8) % 3
    names = tuple("abcdefgh" if kind == "language" else "abc")
    padding = None if kind == "language" else 8
    split = Split(drawn[:, :-1], targets)
    return Dataset(kind, {"train": split}, class_names=names, vocabulary=9, padding=padding)


def images(kind: Kind) -> Dataset:
    """Eight of the digits, to name or to measure."""
    digits = DATA.create("digits", DATA.check("digits", {}))
    features, labels = digits.train.features[:8], digits.train.targets[:8]
    if kind == "classification":
        return replace(digits, splits={"train": Split(features, labels)})
    return Dataset(kind, {"train": Split(features, labels.unsqueeze(1).float() / 3 - 1.5)})


def rows(kind: Kind) -> Dataset:
    """Eight wines or patients."""
    name = {"classification": "wine", "regression": "diabetes"}[kind]
    dataset = DATA.create(name, DATA.check(name, {}))
    return replace(dataset, splits={"train": Split(dataset.train.features[:8], dataset.train.targets[:8])})


def queries(kind: Kind) -> Dataset:
    """Four queries of up to five rows, to rank."""
    features = torch.randn(4, 5, 24, generator=torch.Generator().manual_seed(0))
    relevance = torch.tensor([[0, 1, 2, 3, 1], [1, 0, 0, -1, -1], [2, 2, 1, 0, -1], [0, 0, 3, 1, 0]]).float()
    return Dataset(kind, {"train": Split(features, relevance)})


MADE: dict[Inputs, Callable[[Kind], Dataset]] = {"rows": rows, "images": images, "tokens": tokens, "queries": queries}
INPUTS: dict[Kind, list[Inputs]] = {
    "classification": ["rows", "images", "tokens"], "regression": ["rows", "images"], "language": ["tokens"],
    "ranking": ["queries"],
}  # fmt: skip
FITTING = [
    (model.name, loss.name, inputs, kind)
    for model in MODELS
    if model.name != "timm"  # whose tests are collected where it imports
    for inputs in model.facts["inputs"]
    for loss in LOSSES
    if loss.name != "distill"  # which is cross_entropy, but for a teacher
    for kind in loss.facts["kinds"]
    if inputs in INPUTS[kind]
]


def pairwise(cells: list[tuple[str, str, Inputs, Kind]]) -> list[Any]:
    """Leave a cell to `make prove` if earlier cells have its model with its data, and its loss with its kind of target.

    Each model goes through the losses from another one on, so that no model meets all losses of a kind.
    """
    seen: set[tuple[str, ...]] = set()
    listed = []
    models = sorted({model for model, _, _, _ in cells})
    for at, name in enumerate(models):
        own = [cell for cell in cells if cell[0] == name]
        for model, loss, inputs, kind in [*own[at % len(own) :], *own[: at % len(own)]]:
            pairs = {(model, inputs, kind), (loss, kind)}
            listed.append(pytest.param(model, loss, inputs, kind, marks=() if pairs - seen else pytest.mark.prove))
            seen |= pairs
    return listed


@pytest.mark.parametrize(("model_name", "loss_name", "inputs", "kind"), pairwise(FITTING))
def test_every_model_overfits_one_batch_with_every_fitting_loss(
    model_name: str, loss_name: str, inputs: Inputs, kind: Kind, gpt2: str
):
    dataset = MADE[inputs](kind)
    small: dict[str, Any] = {"depth": 1, "width": 32, "source": gpt2}
    settings = {name: value for name, value in small.items() if name in MODELS.entry(model_name).parameters}
    with forked_rng(0, torch.device("cpu")):
        model = MODELS.create(model_name, MODELS.check(model_name, settings), dataset)
    loss = LOSSES.create(loss_name, LOSSES.check(loss_name, {}), dataset)
    rate = 0.005 if model_name == "transformers" else 0.02  # GPT-2's first layer is its last, too
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(300):
        if step == 200:
            optimizer.param_groups[0]["lr"] = rate / 10
        batch_loss = loss(model(dataset.train.features), dataset.train.targets)
        optimizer.zero_grad()
        batch_loss.backward()
        optimizer.step()
        if batch_loss < 0.02:
            return
    pytest.fail(f"after 300 steps the loss is still {batch_loss:.3f}")


INITIALISED = [entry.name for entry in MODELS if "init" in entry.parameters]


def test_every_model_of_the_core_has_an_initialisation():
    assert {entry.name for entry in MODELS} - {*INITIALISED} == {"timm", "transformers"}, "which bring their own"


def drawn(model: nn.Module, activation: str) -> list[tuple[torch.Tensor, int, float]]:
    """Every matrix or kernel of a model as [outputs, fan-in], its fan-out, and the gain of what follows it."""
    of_activation = {"none": 1.0, "tanh": 5 / 3}.get(activation, 2**0.5)
    found = []
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            weight = layer.weight.detach()
            found.append((weight.flatten(1), len(weight) * weight[0, 0].numel(), of_activation))
        elif isinstance(layer, nn.RNNBase):
            weights = [weight.detach() for name, weight in layer.named_parameters() if name.startswith("weight")]
            found += [(gate, len(gate), 1.0) for weight in weights for gate in weight.split(layer.hidden_size)]
    return found


@pytest.mark.parametrize("init", ["kaiming", "xavier", "orthogonal"])
@pytest.mark.parametrize("name", INITIALISED)
def test_every_model_begins_as_its_initialisation_says(name: str, init: str):
    """By the formulas of He et al. 2015 (eq. 14), Glorot & Bengio 2010 (eq. 16) and Saxe et al. 2014."""
    inputs = MODELS.entry(name).facts["inputs"]
    settings = {"init": init} | ({"width": 64} if "width" in MODELS.entry(name).parameters else {})
    model, activation = first(name, images if "images" in inputs else tokens, settings)
    scaled = []
    for weight, fan_out, gain in drawn(model, activation):
        num_outputs, fan_in = weight.shape
        if init == "orthogonal":
            product = weight @ weight.T if num_outputs <= fan_in else weight.T @ weight
            torch.testing.assert_close(product, gain**2 * torch.eye(len(product)), atol=1e-4, rtol=0)
        else:
            variance = gain**2 / fan_in if init == "kaiming" else 2 / (fan_in + fan_out)
            scaled.append(weight.flatten() / variance**0.5)
    if scaled:
        assert torch.cat(scaled).std().item() == pytest.approx(1, rel=0.05)
        assert (torch.cat(scaled).abs().max() < 3**0.5 + 1e-4) == (init == "xavier"), "which alone is uniform"
    assert not any(weight.any() for key, weight in model.named_parameters() if "bias" in key)


def first(name: str, made: Callable[[Kind], Dataset], settings: dict[str, Any]) -> tuple[nn.Module, str]:
    """A model as it begins, and its activation."""
    checked = MODELS.check(name, settings)
    with forked_rng(0, torch.device("cpu")):
        return MODELS.create(name, checked, made("classification")).eval(), checked.get("activation", "none")


@pytest.mark.parametrize("name", [entry.name for entry in MODELS if "activation" in entry.parameters])
def test_every_activation_is_used(name: str):
    made = MADE[MODELS.entry(name).facts["inputs"][0]]
    features = made("classification").train.features
    choices = MODELS.entry(name).parameters["activation"].choices
    said = [first(name, made, {"activation": each})[0](features) for each in choices]
    assert all(not torch.allclose(one, other) for one, other in combinations(said, 2))


@pytest.mark.parametrize("name", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_learns(name: str, configure):
    result = train(configure(optimizer={"name": name}, schedule={"name": "constant"}, epochs=50))
    assert result.metrics["val/accuracy"] > 0.9


@pytest.mark.parametrize("name", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_resumes_bit_for_bit(name: str, configure, tmp_path: Path):
    """With all that draws or remembers beside it; the model has dropout, too."""
    settings: dict[str, Any] = {"momentum": 0.8} if "momentum" in OPTIMIZERS.entry(name).parameters else {}
    everything = {"augment": {"name": "mixup"}, "ema_decay": 0.9, "precision": "bf16", "clip_norm": 1.0, "l1": 1e-3}
    assert_resumes(configure(optimizer={"name": name, **settings}, **everything), tmp_path)


@pytest.mark.parametrize("augment", [entry.name for entry in AUGMENTATIONS])
def test_every_augmentation_resumes_bit_for_bit(augment: str, configure, tmp_path: Path):
    data: dict[str, Any] = {"name": "digits", "limit": 64}
    drawing = {"images": {"flip": 0.5, "crop": 1, "rotate": 10, "cutmix": 0.5}}
    assert_resumes(configure(data=data, augment={"name": augment, **drawing.get(augment, {})}), tmp_path)


@pytest.mark.parametrize("name", [entry.name for entry in SCHEDULES])
def test_every_schedule_resumes_bit_for_bit(name: str, configure, tmp_path: Path):
    # The plateau drops at once here: no loss falls by nine tenths from epoch to epoch.
    settings: dict[str, Any] = {"patience": 0, "threshold": 0.9, "factor": 0.5} if name == "plateau" else {}
    assert_resumes(configure(schedule={"name": name, **settings}), tmp_path)


def assert_resumes(config: TrainingConfig, tmp_path: Path) -> None:
    straight = train(config, seed=3)
    train(config, seed=3, checkpoint_dir=tmp_path, until_epoch=2)
    resumed = train(config, seed=3, checkpoint_dir=tmp_path)
    for (key, expected), weights in zip(
        straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, weights), key
