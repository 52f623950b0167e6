"""The trainings of the examples learn; the built-in dataset reaches its target."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from examples.draw_digits import draw
from worker.training import Monitor, TrainingConfig, train

ROOT = Path(__file__).parents[2]


class Loader(yaml.SafeLoader):
    """YAML whose `1e-4` is a number, as in YAML 1.2 and in study files."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def example(name: str) -> dict[str, Any]:
    study: dict[str, Any] = yaml.load((ROOT / "examples" / f"{name}.yaml").read_text(), Loader)
    data = study["task"]["train"]["data"]
    if "path" in data:  # relative to the study file
        data["path"] = str(ROOT / "examples" / data["path"])
    return study


def trained(study: dict[str, Any], **changes: Any) -> dict[str, float]:
    # Of several objectives the first is the one to watch.
    objective = study["objective"][0] if isinstance(study["objective"], list) else study["objective"]
    config = TrainingConfig.from_mapping(study["task"]["train"] | changes)
    monitor = Monitor(objective["metric"], objective["direction"])
    result = train(config, monitor=monitor, constraints=study.get("constraints"))
    return dict(result.metrics)


LEARNED = {
    "digits": ("val/accuracy", 0.94),  # of ten classes
    "digits_small": ("val/accuracy", 0.9),
    "breast_cancer": ("val/f1_macro", 0.93),  # of two classes
    "diabetes": ("val/r2", 0.3),  # the mean has 0
    "images": ("val/accuracy", 0.85),  # of ten classes
    "texts": ("val/accuracy", 0.9),  # of four classes
    "ranking": ("val/ndcg", 0.8),  # an order by lot has 0.69
}


@pytest.mark.parametrize("name", LEARNED)
def test_every_example_learns_as_written(name: str, tmp_path: Path):
    study = example(name)
    if name == "images":
        draw(tmp_path)
        study["task"]["train"]["data"]["path"] = str(tmp_path)
    metric, at_least = LEARNED[name]
    assert trained(study)[metric] >= at_least


def test_the_language_model_learns_more_than_the_frequencies_of_bytes():
    content = np.frombuffer((ROOT / "LICENSE").read_bytes(), dtype=np.uint8)
    train, val, _ = np.split(content, [round(0.8 * len(content)), round(0.9 * len(content))])
    frequencies = np.bincount(train, minlength=256) + 1
    of_frequencies = np.exp(-np.log(frequencies[val] / frequencies.sum()).mean())
    assert trained(example("language"))["val/perplexity"] < 0.6 * of_frequencies


def test_all_examples_are_tried():
    paths = [path for path in (ROOT / "examples").glob("*.yaml") if "  train:" in path.read_text()]
    # own_model's entries are its worker's to register: tests/e2e/test_examples.py tries it.
    assert {path.stem for path in paths} == {*LEARNED, "language", "own_model"}


@pytest.mark.parametrize("seed", range(5))
def test_a_good_configuration_of_the_digits_passes_97_percent(seed: int):
    study = example("digits")
    config = TrainingConfig.from_mapping(study["task"]["train"] | {"optimizer": {"name": "adamw", "lr": 0.01}})
    result = train(config, seed=seed, monitor=Monitor("val/accuracy", "maximize"))
    assert result.metrics["val/accuracy"] >= 0.97
    assert result.metrics["test/accuracy"] >= 0.95
