"""Test functions for comparing samplers, with their search spaces and optima."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function to minimise; `noise` is the standard deviation of the noise in a trial's report."""

    family: str
    space: dict[str, Any]
    value: Callable[[Parameters], float]
    optimum: float = 0.0
    noise: float = 0.0

    def report(self, parameters: Parameters, seed: int, number: int) -> float:
        """Return the value that a trial reports: the function's value plus noise that depends on seed and number."""
        return self.value(parameters) + random.Random(f"{seed}/{number}").gauss(0.0, self.noise)


def box(num: int, low: float, high: float) -> dict[str, Any]:
    """Return a space of `num` float parameters x00, x01, … in [low, high]."""
    return {f"x{at:02}": {"type": "float", "low": low, "high": high} for at in range(num)}


def point(parameters: Parameters) -> list[float]:
    """Return the parameters' values as a vector, in the order of their names."""
    return [parameters[name] for name in sorted(parameters)]


def branin(parameters: Parameters) -> float:
    """Return the Branin function (Dixon and Szegö 1978), which has three global minima."""
    x, y = parameters["x"], parameters["y"]
    inner = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_HARTMANN_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_HARTMANN_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann(parameters: Parameters) -> float:
    """Return the six-dimensional Hartmann function (Dixon and Szegö 1978)."""
    x = point(parameters)
    rows = zip((1.0, 1.2, 3.0, 3.2), _HARTMANN_A, _HARTMANN_P, strict=True)
    return -sum(
        weight * math.exp(-sum(a * (value - p) ** 2 for value, a, p in zip(x, scales, places, strict=True)))
        for weight, scales, places in rows
    )


def rosenbrock(parameters: Parameters) -> float:
    """Return the Rosenbrock function, a curved valley with its minimum at (1, …, 1)."""
    x = point(parameters)
    return sum(100 * (x[at + 1] - x[at] ** 2) ** 2 + (1 - x[at]) ** 2 for at in range(len(x) - 1))


def ackley(parameters: Parameters) -> float:
    """Return the Ackley function with its minimum shifted to (1.3, …, 1.3)."""
    x = [value - 1.3 for value in point(parameters)]
    spread = math.sqrt(sum(value**2 for value in x) / len(x))
    waves = sum(math.cos(2 * math.pi * value) for value in x) / len(x)
    return 20 + math.e - 20 * math.exp(-0.2 * spread) - math.exp(waves)


MIXED: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.8},
    "depth": {"type": "int", "low": 1, "high": 8},
    "width": {"type": "int", "low": 8, "high": 1024, "log": True},
    "activation": {"type": "categorical", "choices": ["relu", "tanh", "gelu", "silu"]},
    "batch": {"type": "categorical", "choices": [16, 32, 64, 128, 256], "ordered": True},
}


def mixed(parameters: Parameters) -> float:
    """Return a smooth function of float, integer and categorical parameters."""
    penalty = {"relu": 0.2, "tanh": 0.8, "gelu": 0.0, "silu": 0.1}[parameters["activation"]]
    rate = math.log10(parameters["rate"]) + 2.7 - 0.2 * math.log2(parameters["batch"] / 64)
    width = math.log2(parameters["width"] / 200)
    depth = parameters["depth"] - 4
    return rate**2 + (parameters["dropout"] - 0.25) ** 2 + 0.05 * depth**2 + 0.05 * width**2 + penalty


CONDITIONAL: dict[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "lbfgs"]},
    "sgd.rate": {"type": "float", "low": 1e-4, "high": 10.0, "log": True, "when": {"optimizer": "sgd"}},
    "sgd.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    "adam.rate": {"type": "float", "low": 1e-6, "high": 1.0, "log": True, "when": {"optimizer": "adam"}},
    "adam.decay": {
        "type": "float",
        "low": 1e-6,
        "high": 1e-1,
        "log": True,
        "zero": True,
        "when": {"optimizer": "adam"},
    },
    "dropout": {"type": "float", "low": 0.0, "high": 0.8},
}


def conditional(parameters: Parameters) -> float:
    """Return a function whose other parameters depend on the chosen optimizer."""
    shared = (parameters["dropout"] - 0.3) ** 2
    match parameters["optimizer"]:
        case "sgd":
            rate = math.log10(parameters["sgd.rate"] * (1 - parameters["sgd.momentum"]))
            return shared + (rate + 1.5) ** 2 + 0.3 * (parameters["sgd.momentum"] - 0.9) ** 2
        case "adam":
            decay = parameters["adam.decay"]
            return shared + 0.1 + (math.log10(parameters["adam.rate"]) + 3.1) ** 2 + (0.0 if decay < 1e-4 else 0.3)
        case _:
            return shared + 0.5


NESTED: dict[str, Any] = {
    "depth": {"type": "int", "low": 1, "high": 4},
    **{
        f"width{at}": {"type": "int", "low": 4, "high": 512, "log": True, "when": {"depth": {"low": at}}}
        for at in range(1, 5)
    },
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
}


def nested(parameters: Parameters) -> float:
    """Return a function in which the parameter `depth` determines how many widths are active."""
    widths = [parameters[f"width{at}"] for at in range(1, parameters["depth"] + 1)]
    taper = sum((math.log2(width) - (8 - at)) ** 2 for at, width in enumerate(widths))
    return 0.3 * (4 - len(widths)) + 0.1 * taper + (math.log10(parameters["rate"]) + 2) ** 2


BRANIN = {"x": {"type": "float", "low": -5.0, "high": 10.0}, "y": {"type": "float", "low": 0.0, "high": 15.0}}
BRANIN_OPTIMUM, HARTMANN_OPTIMUM = 0.397887, -3.32237
MIXED_OPTIMUM = mixed({"rate": 10**-2.7, "dropout": 0.25, "depth": 4, "width": 200, "activation": "gelu", "batch": 64})

FUNCTIONS = {
    "branin": Function("smooth", BRANIN, branin, BRANIN_OPTIMUM),
    "hartmann-6": Function("smooth", box(6, 0.0, 1.0), hartmann, HARTMANN_OPTIMUM),
    "rosenbrock-2": Function("smooth", box(2, -2.0, 2.0), rosenbrock),
    "rosenbrock-5": Function("smooth", box(5, -2.0, 2.0), rosenbrock),
    "rosenbrock-10": Function("smooth", box(10, -2.0, 2.0), rosenbrock),
    "ackley-5": Function("smooth", box(5, -8.0, 8.0), ackley),
    "mixed": Function("mixed", MIXED, mixed, MIXED_OPTIMUM),
    "conditional": Function("conditional", CONDITIONAL, conditional),
    "nested": Function("conditional", NESTED, nested),
    "noisy branin": Function("noisy", BRANIN, branin, BRANIN_OPTIMUM, noise=2.0),
    "noisy hartmann-6": Function("noisy", box(6, 0.0, 1.0), hartmann, HARTMANN_OPTIMUM, noise=0.3),
    "noisy mixed": Function("noisy", MIXED, mixed, MIXED_OPTIMUM, noise=0.2),
    "noisy conditional": Function("noisy", CONDITIONAL, conditional, noise=0.1),
}
