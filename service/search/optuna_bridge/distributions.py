"""Converts parameters to Optuna distributions, on the scale of `coordinates`."""

from __future__ import annotations

from typing import assert_never, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from service.contract.space import CategoricalParameter, ConstantParameter, FloatParameter, IntParameter, Parameter
from service.domain.parameter import values_of


def distribution(parameter: Parameter) -> BaseDistribution:
    """Convert a parameter to an Optuna distribution.

    Choices are represented by their index, because Optuna supports no lists and treats 1 and True as equal.
    """
    match parameter:
        case CategoricalParameter(ordered=True):
            return IntDistribution(0, len(parameter.choices) - 1)
        case CategoricalParameter():
            return CategoricalDistribution(range(len(parameter.choices)))
        case ConstantParameter():
            return CategoricalDistribution([0])
        case IntParameter():
            high = range(parameter.low, parameter.high + 1, parameter.step)[-1]
            return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
        case FloatParameter():
            values = values_of(parameter)
            top = parameter.high if values is None else cast("float", values[-1])
            low = parameter.low / 10 if parameter.zero else parameter.low
            return FloatDistribution(low, top, log=parameter.log, step=parameter.step)
        case _:
            assert_never(parameter)
