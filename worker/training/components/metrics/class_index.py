"""Finds the class that a metric's option names."""

from worker.training.data import Dataset
from worker.training.errors import ConfigError, did_you_mean


def class_index(dataset: Dataset, metric: str, name: str) -> int:
    """Return the index of the class `name`.

    Raises:
        ConfigError: the data has no such class.
    """
    if name not in dataset.class_names:
        raise ConfigError(
            f"metrics.{metric}.positive", f"there is no class {name!r}; {did_you_mean(name, dataset.class_names)}"
        )
    return dataset.class_names.index(name)
