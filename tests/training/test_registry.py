"""A registry keeps each name once and helps with the ones it doesn't know."""

import pytest
from torch import nn

from worker.training import ConfigError, train
from worker.training.data import Dataset
from worker.training.models import MODELS
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
