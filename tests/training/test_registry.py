"""A registry holds each name once, and suggests close names for an unknown one."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from torch import nn

from worker.training import ConfigError, train
from worker.training.data import Dataset
from worker.training.models import MODELS
from worker.training.parameters import Setting
from worker.training.registry import Registry


def net(size: int, *, depth: int = 2) -> tuple[int, int]:
    """A net of nothing.

    More is said here.
    """
    return size, depth


def test_an_entry_is_its_factory_with_what_is_known_of_it():
    models: Registry[tuple[int, int]] = Registry("model")
    assert models.add(net, kind="classification") is net
    entry = models.entry("net")
    assert (entry.description, dict(entry.facts)) == ("A net of nothing.", {"kind": "classification"})
    assert models.create("net", {"depth": 3}, 10) == (10, 3)


def test_a_name_is_registered_once():
    models: Registry[tuple[int, int]] = Registry("model")
    models.add(net)
    with pytest.raises(ValueError, match="model 'net' is registered already"):
        models.add(net)


@dataclass(frozen=True)
class Shape:
    width: Annotated[int, Setting("of a layer", low=1)]
    depth: Annotated[int, Setting("number of layers", low=0)] = 2
    given: str = "by whoever calls"


def test_shared_settings_of_entries_are_a_dataclass():
    models: Registry[tuple[Shape, bool]] = Registry("model")

    @models.add
    def shaped(*, bias: bool = True, shape: Shape) -> tuple[Shape, bool]:
        return shape, bias

    assert {name: each.is_required for name, each in models.entry("shaped").parameters.items()} == {
        "bias": False, "width": True, "depth": False,
    }  # fmt: skip
    assert models.create("shaped", models.check("shaped", {"width": 4.0, "bias": False})) == (Shape(4, 2), False)
    with pytest.raises(ConfigError, match=r"model\.width: must be >= 1, got 0"):
        models.check("shaped", {"width": 0})


def test_a_miss_names_the_nearest():
    with pytest.raises(ConfigError, match=r"model\.name: unknown model 'mpl'; did you mean 'mlp'\?"):
        MODELS.entry("mpl")
    with pytest.raises(ConfigError, match=r"model\.name: unknown model 'zzz'; known: gpt, gru, lenet, linear, "):
        MODELS.entry("zzz")


def test_a_model_of_the_users_own_trains(configure, monkeypatch):
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))

    @MODELS.add
    def deep_linear(dataset: Dataset, *, width: int = 4) -> nn.Module:
        return nn.Sequential(nn.Linear(dataset.num_features, width), nn.Linear(width, dataset.num_outputs))

    result = train(configure(model={"name": "deep_linear", "width": 5}))
    assert result.metrics["num_parameters"] == 13 * 5 + 5 + 5 * 3 + 3
