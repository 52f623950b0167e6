"""`batch_size: auto`: a default limited by the data, and the proposal from the largest batch that fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.conftest import Configure
from worker.training import ConfigError, TrainingConfig
from worker.training.batch_size import is_auto, limited_by_data, proposed_batch_size, with_default


@pytest.mark.parametrize(
    ("base", "largest", "num_examples", "proposed"),
    [
        (64, 4096, 1_000_000, 4096),
        (64, 4096, 20_000, 512),  # 1,024 would leave an epoch 19 steps
        (64, 512, 1_000_000, 512),
        (64, 64, 1_000_000, 64),
        (64, 4096, 100, 64),  # never below the base
        (48, 400, 1_000_000, 384),
    ],
)
def test_the_proposal_is_the_largest_that_leaves_an_epoch_twenty_steps(
    base: int, largest: int, num_examples: int, proposed: int
) -> None:
    assert proposed_batch_size(base, largest, num_examples) == proposed


def test_auto_becomes_the_default_and_at_most_all_training_examples(mapping: dict[str, Any]) -> None:
    auto = mapping | {"batch_size": "auto"}
    assert is_auto(auto)
    assert not is_auto(mapping)
    assert with_default(mapping) == mapping
    config = TrainingConfig.from_mapping(with_default(auto))
    assert config.batch_size == 64
    assert limited_by_data(config) == config  # wine has more training examples
    few = TrainingConfig.from_mapping(with_default(auto | {"data": {"name": "wine", "limit": 40}}))
    assert limited_by_data(few).batch_size == 40


def test_the_core_itself_takes_numbers_alone(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        configure(batch_size="auto")
