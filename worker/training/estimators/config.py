"""The configuration of an estimator: validates the `task.estimator` mapping of a study file and holds it frozen."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.training.components.metrics import METRICS, MetricSettings
from worker.training.config import Section, parse_list, parse_section
from worker.training.data import DATA
from worker.training.errors import ConfigError, did_you_mean
from worker.training.estimators.entries import ESTIMATORS

_SECTIONS = ("data", "model", "metrics")


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """A complete and valid configuration; create it by `from_mapping`, which validates."""

    data: Section
    model: Section
    metrics: Sequence[Section]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> EstimatorConfig:
        """Read and validate `{"data": {"name": …}, "model": {"name": "hist_boosting", …}, "metrics": […]}`.

        Raises:
            ConfigError: a setting is unknown, missing or not valid; the error names its dotted path.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigError("task.estimator", f"must be a mapping of settings, got {mapping!r}")
        for name in mapping:
            if name not in _SECTIONS:
                raise ConfigError(str(name), f"an estimator has no such setting; {did_you_mean(name, _SECTIONS)}")
        return cls(
            data=parse_section(DATA, mapping.get("data")),
            model=parse_section(ESTIMATORS, mapping.get("model")),
            metrics=parse_list("metrics", METRICS, mapping.get("metrics")),
        )

    @classmethod
    def with_parameters(cls, mapping: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mapping with parameters applied by dotted path.

        Where `model.name` changes, the options that the new estimator does not have are left out.
        """
        config: dict[str, Any] = copy.deepcopy(dict(mapping))
        name, model = parameters.get("model.name"), config.get("model")
        if isinstance(model, dict) and name is not None:
            known = ESTIMATORS.entry(name).parameters
            config["model"] = {option: value for option, value in model.items() if option in known}
        for path, value in parameters.items():
            section, _, option = path.partition(".")
            config.setdefault(section, {})[option] = value
        return config

    @property
    def metric_settings(self) -> MetricSettings:
        """The metrics to report beyond the kind's defaults, by name with their settings."""
        return {section.name: section.settings for section in self.metrics}
