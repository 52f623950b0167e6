"""The number of weights of a model, counted without the memory for them where possible."""

from __future__ import annotations

import torch

from worker.training.config import TrainingConfig
from worker.training.models import MODELS
from worker.training.preflight.bench import Bench, ModelSize


def model_size(bench: Bench, config: TrainingConfig) -> ModelSize:
    """Return the size of a configuration's model, before any fine-tuning method changes it.

    Raises:
        ConfigError: the model's settings do not fit the dataset.
    """
    section = config.model
    if (known := bench.sizes.get(repr(section))) is not None:
        return known
    try:
        with torch.device("meta"):
            model = MODELS.create(section.name, section.settings, bench.dataset, folders=bench.folders)
    except (NotImplementedError, RuntimeError, TypeError):  # a model that looks at its own weights
        model = MODELS.create(section.name, section.settings, bench.dataset, folders=bench.folders)
    numbers = (sum(each.numel() for each in values) for values in (model.parameters(), model.buffers()))
    size = bench.sizes[repr(section)] = ModelSize(*numbers)
    return size
