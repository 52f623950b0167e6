"""Optimizers: weight decay, gradient clipping, and equality with PyTorch's own."""

from typing import Any

import pytest
import torch
from torch import nn, optim

from worker.training import ConfigError, train
from worker.training.components.optimizers import OPTIMIZERS, Weights, weight_groups
from worker.training.loop.step import shape_gradients
from worker.training.models.trainable import ParamGroup

NAMES = [entry.name for entry in OPTIMIZERS]


def net() -> nn.Module:
    """A layer, a norm and a layer, all weights and biases at one half."""
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    for weight in model.parameters():
        nn.init.constant_(weight, 0.5)
    return model


def create(name: str, weights: Weights, **settings: Any) -> optim.Optimizer:
    return OPTIMIZERS.create(name, OPTIMIZERS.check(name, settings), weights)


def groups(model: nn.Module) -> Weights:
    return weight_groups([ParamGroup(list(model.parameters()))])


def with_gradients(model: nn.Module, *values: float) -> nn.Module:
    for weight, value in zip(model.parameters(), values * 6, strict=False):
        weight.grad = torch.full_like(weight, value)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_matrices_decay_and_biases_and_norms_never(name: str):
    model = with_gradients(net(), 0.0)
    create(name, groups(model), lr=0.1, weight_decay=0.1).step()
    for key, weight in model.named_parameters():
        if key in ("0.weight", "2.weight"):
            assert (weight < 0.5).all(), key
        else:
            assert (weight == 0.5).all(), key


REFERENCES: dict[str, tuple[type[optim.Optimizer], dict[str, Any], dict[str, Any]]] = {
    "sgd": (optim.SGD, {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
    "adam": (optim.Adam, {"beta1": 0.8, "beta2": 0.9}, {"betas": (0.8, 0.9)}),
    "adamw": (optim.AdamW, {"beta1": 0.8, "beta2": 0.9}, {"betas": (0.8, 0.9)}),
    "rmsprop": (optim.RMSprop, {"alpha": 0.9, "momentum": 0.5}, {"alpha": 0.9, "momentum": 0.5}),
    "adagrad": (optim.Adagrad, {}, {}),
    "adadelta": (optim.Adadelta, {"rho": 0.8}, {"rho": 0.8}),
    "adamax": (optim.Adamax, {"beta1": 0.8, "beta2": 0.9}, {"betas": (0.8, 0.9)}),
    "nadam": (optim.NAdam, {"beta1": 0.8, "beta2": 0.9}, {"betas": (0.8, 0.9), "decoupled_weight_decay": True}),
    "radam": (optim.RAdam, {"beta1": 0.8, "beta2": 0.9}, {"betas": (0.8, 0.9), "decoupled_weight_decay": True}),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_form_steps_as_pytorchs_plain_one(name: str):
    kind, settings, reference_settings = REFERENCES[name]
    model, reference = net(), net()
    fast = create(name, groups(model), lr=0.01, weight_decay=0.02, **settings)
    decaying, others = (group["params"] for group in groups(reference))
    plain = kind(
        [{"params": decaying}, {"params": others, "weight_decay": 0.0}],
        lr=0.01, weight_decay=0.02, foreach=False, **reference_settings,
    )  # fmt: skip
    for step in range(8):
        for each, optimizer in ((model, fast), (reference, plain)):
            with_gradients(each, 1.0 + step, -2.0, 0.5 * step)
            optimizer.step()
    for weight, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)


def shaped(model: nn.Module, **asked: float) -> dict[str, torch.Tensor]:
    shape_gradients(groups(model), **({"l1": 0.0, "clip_norm": None, "clip_value": None} | asked))
    return {name: weight.grad for name, weight in model.named_parameters()}


def test_l1_pulls_the_decaying_weights_to_zero():
    model = net()
    nn.init.constant_(model[0].weight, -0.5)
    gradients = shaped(with_gradients(model, 1.0), l1=0.25)
    assert (gradients["0.weight"] == 0.75).all()
    assert (gradients["2.weight"] == 1.25).all()
    assert (gradients["1.weight"] == 1.0).all()


def test_clipping_by_norm_keeps_the_direction():
    gradients = shaped(with_gradients(net(), 3.0, -4.0), clip_norm=0.1)
    length = sum(gradient.square().sum() for gradient in gradients.values()).sqrt()
    assert length.item() == pytest.approx(0.1, rel=1e-4)
    assert gradients["0.weight"][0, 0] / gradients["0.bias"][0] == pytest.approx(-0.75)


def test_a_short_gradient_is_not_clipped():
    assert (shaped(with_gradients(net(), 0.5), clip_norm=1e3, clip_value=0.5)["0.weight"] == 0.5).all()


def test_clipping_by_value_cuts_each_weight():
    gradients = shaped(with_gradients(net(), 3.0, -0.2), clip_value=0.5)
    assert (gradients["0.weight"] == 0.5).all()
    assert (gradients["0.bias"] == -0.2).all()


@pytest.mark.parametrize("settings", [{"clip_norm": 0.5}, {"clip_value": 0.01}, {"l1": 0.01}])
def test_a_training_shapes_its_gradients(settings: dict[str, float], configure):
    assert train(configure(**settings)).metrics["train/loss"] != train(configure()).metrics["train/loss"]


def test_l1_leaves_smaller_weights(configure):
    config = {"optimizer": {"name": "sgd"}, "model": {"name": "linear"}, "epochs": 20}
    plain, sparse = (train(configure(**config, l1=l1)).model for l1 in (0.0, 0.05))
    assert sparse[1].weight.abs().sum() < 0.5 * plain[1].weight.abs().sum()


def test_nesterov_needs_momentum(configure):
    with pytest.raises(ConfigError, match=r"optimizer\.nesterov: needs a momentum above 0"):
        train(configure(optimizer={"name": "sgd", "momentum": 0, "nesterov": True}))
