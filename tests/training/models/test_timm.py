"""Models of the timm library; needs a torchvision that fits torch."""

import pytest

from worker.training import ConfigError, train
from worker.training.data import DATA
from worker.training.models import MODELS

DIGITS = DATA.create("digits", DATA.check("digits", {}))


def test_an_architecture_is_made_for_the_data(configure):
    config = configure(
        data={"name": "digits"}, model={"name": "timm", "arch": "resnet10t", "pretrained": False}, epochs=2,
        finetune={"name": "full", "layer_decay": 0.9},
    )  # fmt: skip
    assert train(config).metrics["val/accuracy"] > 0.5


def test_an_unknown_architecture_names_the_nearest():
    with pytest.raises(ConfigError, match=r"model\.arch: timm has no 'resnet81'; did you mean 'resnet18'\?"):
        MODELS.create("timm", MODELS.check("timm", {"arch": "resnet81"}), DIGITS)
