"""Random studies with trials, and random remedies of random findings, for the tests of actions."""

from __future__ import annotations

import random
from typing import Any

from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.usecases.studies import lifecycle
from tests.usecases.situations import Bench

_MODELS: list[tuple[str, dict[str, Any]]] = [
    ("digits", {"name": "mlp"}),
    ("digits", {"name": "mlp", "hidden": [64, 32], "dropout": 0.1}),
    ("digits", {"name": "mlp", "width": 32, "norm": "batch", "activation": "tanh"}),
    ("digits", {"name": "lenet"}),
    ("digits", {"name": "resnet", "width": 8}),
    ("wine", {"name": "linear"}),
    ("breast_cancer", {"name": "mlp", "depth": 2}),
    ("diabetes", {"name": "mlp", "hidden": [16]}),
]
_OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd"},
    {"name": "sgd", "lr": 0.1, "momentum": 0.5, "weight_decay": 0.01},
    {"name": "adamw", "lr": 3e-3, "weight_decay": 0.5},
    {"name": "adam"},
]
_SCHEDULES: list[dict[str, Any] | None] = [
    None,
    {"name": "cosine", "warmup": 0.1},
    {"name": "step", "every": 0.2},
    {"name": "multi_step"},
    {"name": "plateau"},
]
_SEARCHED: dict[str, dict[str, Any]] = {
    "optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "optimizer.weight_decay": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True, "zero": True},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64], "ordered": True},
    "clip_norm": {"type": "float", "low": 0.5, "high": 4.0, "step": 0.5},
    "patience": {"type": "int", "low": 2, "high": 8, "step": 2},
    "schedule.name": {"type": "categorical", "choices": ["constant", "cosine", "step"]},
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "ema_decay": {"type": "float", "low": 0.5, "high": 0.99},
}
_OF_MLP: dict[str, dict[str, Any]] = {
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "model.width": {"type": "int", "low": 8, "high": 128, "log": True},
    "model.activation": {"type": "categorical", "choices": ["relu", "tanh"]},
    "model.norm": {"type": "constant", "value": "none"},
}
_STATES = ("active", "active", "completed", "stopped", "paused")


def random_spec(rng: random.Random) -> dict[str, Any]:
    """Return a train study of any model, optimizer, schedule, space, sampler, pruner and budget."""
    data, model = rng.choice(_MODELS)
    train: dict[str, Any] = {
        "data": {"name": data, **({"limit": 100} if rng.random() < 0.3 else {})},
        "model": dict(model),
        "loss": {"name": "mse" if data == "diabetes" else "cross_entropy"},
        "optimizer": dict(rng.choice(_OPTIMIZERS)),
        "epochs": rng.choice([4, 9]),
        "batch_size": rng.choice([16, "auto"]),
    }
    schedule = rng.choice(_SCHEDULES)
    if schedule is not None:
        train["schedule"] = dict(schedule)
    pool = {**_SEARCHED, **(_OF_MLP if model["name"] == "mlp" and "hidden" not in model else {})}
    space = {key: pool[key] for key in rng.sample(sorted(pool), rng.randint(1, 4))}
    if "batch_size" in space:
        train["batch_size"] = 16
    if "optimizer.name" in space and "optimizer.lr" in space:
        space["optimizer.momentum"] = {
            "type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer.name": "sgd"},
        }  # fmt: skip
    metric = rng.choice(["val/loss", "val/rmse" if data == "diabetes" else "val/cross_entropy"])
    is_finite = all(each["type"] in ("categorical", "constant") for each in space.values())
    return {
        "objective": {"metric": metric, "direction": "minimize", "value": rng.choice(["last", "best"])},
        "task": {"train": train},
        "space": space,
        "sampler": rng.choice(["random", "tpe", "coarse_to_fine", *(["grid"] if is_finite else [])]),
        "pruner": rng.choice(["none", "none", {"name": "median", "startup_trials": 2}, "asha"]),
        "budget": {"trials": rng.choice([3, 8]), **({"hours": 50.0} if rng.random() < 0.2 else {})},
    }


async def random_study(bench: Bench, rng: random.Random) -> str:
    """Create a random study, train some of its trials, and bring it into a random state; return its name."""
    replica = bench.replica
    name = await replica.create(**random_spec(rng))
    state = rng.choice(_STATES)
    for number in range(8 if state == "completed" else 2):
        if (await replica.study(name)).state != "active":
            break
        grant = await replica.claim(name)
        for step in range(1, (grant.run_until or 4) + 1):
            await replica.report(grant, step, rng.uniform(0.1, 2.0), step=step)
        if number == 0:
            await replica.checkpoint(grant, 1)
        await replica.finish(grant)
    if state == "stopped":
        await lifecycle.stop_study(replica.context, name, "")
    elif state == "paused" and (await replica.study(name)).state == "active":
        await lifecycle.pause_study(replica.context, name, "")
    return name


def random_finding(rng: random.Random, space: list[str], num_trials: int) -> Finding:
    """Return a finding with every remedy, each with settings as a rule may give them."""
    trial = rng.choice([None, *range(num_trials)])
    remedies = [
        Remedy(name=name, sentence="Do it.", settings=_random_settings(rng, name, space)) for name in RemedyName
    ]
    return Finding(rule="planted", confidence=Confidence.HIGH, sentence="It is so.", remedies=remedies, trial=trial)


def _random_settings(rng: random.Random, name: RemedyName, space: list[str]) -> dict[str, Any]:
    known: dict[str, Any] = {
        "factor": rng.choice([0.1, 0.3, 0.5, 2, 4, "much", None]),
        "low": rng.choice([1e-6, 0.0, -1, 1, 3]),
        "high": rng.choice([0.5, 1, 10.0, 1000]),
        "side": rng.choice(["low", "high", "left"]),
        "value": rng.choice([0.01, 1, 64, "x", True]),
        "choices": rng.choice([[16], ["adamw"], [128, 256], "all"]),
        "without": rng.choice([[64], ["sgd"], []]),
        "epochs": rng.choice([1, 7, 50]),
        "patience": rng.choice([1, 3, 100]),
        "trials": rng.choice([1, 5, 40]),
        "pruner": rng.choice(["median", "asha", {"name": "percentile", "percentile": 50}, "nonsense"]),
        "parameters": rng.choice([1_000, -1, "many"]),
        "loss": rng.choice(["focal", "mae", "nonsense"]),
        "warmup": rng.choice([0.1, 0.9]),
        "optimizer.weight_decay": rng.choice([0.0, 0.1]),
        "model.dropout": rng.choice([0.0, 0.3]),
    }
    settings = {key: known[key] for key in rng.sample(sorted(known), rng.randint(0, 4))}
    about_parameter = (
        RemedyName.WIDEN_RANGE,
        RemedyName.NARROW_RANGE,
        RemedyName.FIX_PARAMETER,
        RemedyName.LIMIT_MEMORY,
    )
    if name in about_parameter and rng.random() < 0.9:
        settings["parameter"] = rng.choice(space)
    return settings
