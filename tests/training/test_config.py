"""A configuration is validated as a whole before anything is built."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.training import ConfigError, TrainingConfig
from worker.training.config import REGISTRIES


def test_defaults_are_written_out(mapping: dict[str, Any]):
    del mapping["schedule"], mapping["batch_size"]
    config = TrainingConfig.from_mapping(mapping)
    assert config.batch_size == 64
    assert config.schedule.name == "constant"
    assert config.optimizer.settings == {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimiser": {}}, "optimiser: there is no such setting; did you mean 'optimizer'?"),
        ({"optimizer": {"name": "adamw", "lr": -1}}, "optimizer.lr: must be > 0, got -1"),
        (
            {"optimizer": {"name": "adamw", "momentum": 0.9}},
            "optimizer.momentum: optimizer 'adamw' has no such setting",
        ),
        ({"optimizer": {"name": "adam_w"}}, "optimizer.name: unknown optimizer 'adam_w'; did you mean 'adamw'?"),
        ({"model": {"hidden": [3]}}, "model: must be a mapping with a name"),
        ({"model": None}, "model: missing; write model: {name: …}"),
        ({"model": "mlp"}, "model: must be a mapping with a name"),
        ({"model": {"name": ["mlp"]}}, "model.name: unknown model ['mlp']"),
        ({"batch_size": 0}, "batch_size: must be >= 1, got 0"),
        ({"epochs": 1.5}, "epochs: must be a whole number, got 1.5"),
        ({"data": {"name": "csv", "path": "x.csv"}}, "data.target: missing, but data 'csv' needs it"),
    ],
)
def test_a_fault_names_its_path_and_remedy(mapping: dict[str, Any], changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_mapping(mapping | changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("given", [{}, {"schedule": None}])
def test_a_schedule_left_out_is_the_one_taught_with_the_optimizer(mapping: dict[str, Any], given: dict[str, Any]):
    del mapping["schedule"]
    names = [entry.name for entry in REGISTRIES["optimizer"]]
    usual = {each: TrainingConfig.from_mapping(mapping | {"optimizer": {"name": each}} | given) for each in names}
    assert {name: config.schedule.name for name, config in usual.items()} == dict.fromkeys(names, "constant") | {
        "sgd": "cosine"
    }
    chosen = {"optimizer": {"name": "sgd"}, "schedule": {"name": "step"}}
    assert TrainingConfig.from_mapping(mapping | chosen).schedule.name == "step"


def test_something_else_than_a_mapping_is_refused():
    with pytest.raises(ConfigError, match=r"task\.train: must be a mapping"):
        TrainingConfig.from_mapping([])  # type: ignore[arg-type]


def entries(section: str) -> st.SearchStrategy[dict[str, Any]]:
    names = [entry.name for entry in REGISTRIES[section]]

    def smallest(name: str) -> dict[str, Any]:
        entry = REGISTRIES[section].entry(name)
        return {"name": name} | {setting: "x" for setting, each in entry.parameters.items() if each.is_required}

    return st.sampled_from(names).map(smallest)


@given(
    st.fixed_dictionaries({section: entries(section) for section in REGISTRIES}),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_a_mapping_written_out_reads_back_as_itself(sections: dict[str, Any], batch_size: int, epochs: int):
    config = TrainingConfig.from_mapping(sections | {"batch_size": float(batch_size), "epochs": epochs})
    assert TrainingConfig.from_mapping(config.to_mapping()) == config
