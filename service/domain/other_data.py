"""Coarse-to-fine stages whose trials are validated on other data than the study's, so that values are not compared."""

from __future__ import annotations

from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.study import StudySpec

_TRAINING_ONLY = {"data.limit", "data.bootstrap", "data.train_fraction", "data.train_fraction_seed"}
"""Settings of the data that choose training examples and leave the validation split as it is."""


def stages_on_other_data(spec: StudySpec) -> frozenset[int]:
    """Return the stages, counted from 0, whose overrides change the data that validates.

    A stage that starts simple, with fewer classes or smaller images, has higher values for an easier task. Its trials
    are never the best of the study.
    """
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSamplerSpec) else None
    return frozenset(
        at
        for at, stage in enumerate(stages or [])
        if any(key.startswith("data.") and key not in _TRAINING_ONLY for key in stage.overrides)
    )
