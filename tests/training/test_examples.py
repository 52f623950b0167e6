"""The examples' trainings learn something real; the house's own data set reaches its target."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.training import Monitor, TrainingConfig, train

ROOT = Path(__file__).parents[2]


class Loader(yaml.SafeLoader):
    """YAML whose `1e-4` is a number, as in YAML 1.2 and in study files."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def example(name: str) -> dict[str, Any]:
    study: dict[str, Any] = yaml.load((ROOT / "examples" / f"{name}.yaml").read_text(), Loader)
    return study


def trained(study: dict[str, Any], **changes: Any) -> dict[str, float]:
    # Of several objectives the first is the one to watch.
    objective = study["objective"][0] if isinstance(study["objective"], list) else study["objective"]
    config = TrainingConfig.from_mapping(study["task"]["train"] | changes)
    monitor = Monitor(objective["metric"], objective["direction"])
    result = train(config, monitor=monitor, constraints=study.get("constraints"))
    return dict(result.metrics)


@pytest.mark.parametrize(
    ("name", "metric", "at_least"),
    [
        ("digits", "val/accuracy", 0.94),
        ("digits_small", "val/accuracy", 0.9),
        ("breast_cancer", "val/f1_macro", 0.93),
        ("diabetes", "val/r2", 0.3),
    ],
)
def test_every_example_trains_as_written(name: str, metric: str, at_least: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert trained(example(name))[metric] >= at_least


def test_all_examples_are_tried():
    assert {path.stem for path in (ROOT / "examples").glob("*.yaml")} == {
        "digits",
        "digits_small",
        "breast_cancer",
        "diabetes",
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_good_configuration_of_the_digits_passes_97_percent(seed: int):
    study = example("digits")
    config = TrainingConfig.from_mapping(study["task"]["train"] | {"optimizer": {"name": "adamw", "lr": 0.01}})
    result = train(config, seed=seed, monitor=Monitor("val/accuracy", "maximize"))
    assert result.metrics["val/accuracy"] >= 0.97
    assert result.metrics["test/accuracy"] >= 0.95
