"""Optuna's quasi-random sequences, with each point computed from its index; sampling loads SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler
from optuna.study import Study
from optuna.trial import TrialState, create_trial


def qmc_point(names: Sequence[str], sequence: str, index: int, seed: int) -> dict[str, float]:
    """Return point `index` of a scrambled sequence: a number in [0, 1] for each name."""
    cube: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in names}
    sampler = _Indexed(index, sequence, seed)
    return sampler.sample_relative(cast("Study", None), create_trial(state=TrialState.RUNNING), cube)


class _Indexed(QMCSampler):
    """A QMC sampler that takes the index of the point as an argument; Optuna's counts it in a storage."""

    def __init__(self, index: int, sequence: str, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(qmc_type=sequence, scramble=True, seed=seed)
        self._index = index

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        del study, search_space
        return self._index
