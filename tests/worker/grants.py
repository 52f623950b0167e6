"""Grants as the service would give them, for tests that need one without a service."""

from __future__ import annotations

from typing import Any

from service.contract.base import TaskKind
from service.contract.lease import Grant, Monitor


def digits(**changes: Any) -> dict[str, Any]:
    """A small training task; `changes` replace top-level settings."""
    task = {
        "data": {"name": "digits", "limit": 300},
        "model": {"name": "mlp", "hidden": [16]},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "schedule": {"name": "constant"},
        "batch_size": 64,
        "epochs": 2,
    }
    return {**task, **changes}


def grant(**changes: Any) -> Grant:
    """A grant to train `digits`; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "study": "s1",
        "study_name": "digits-mlp",
        "trial": "t1",
        "number": 0,
        "attempt": 1,
        "nonce": "n-1",
        "task_kind": TaskKind.TRAIN,
        "task": digits(),
        "parameters": {"optimizer.lr": 1e-3},
        "seed": 7,
        "monitor": Monitor(metric="val/accuracy", direction="maximize", keep="best"),
        "resource": "epoch",
        "run_until": None,
        "lease_seconds": 60.0,
        "heartbeat_seconds": 10.0,
    }
    return Grant(**{**fields, **changes})
