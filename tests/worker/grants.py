"""Grants for tests that run without a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.contract.base import TaskKind
from service.contract.claim import Grant, Monitor
from worker.protocol import Start


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


def table(path: Path, num_train: int) -> dict[str, Any]:
    """Write a table and give it as data with so many examples to train on.

    With batches of one and a small model a step takes some tenths of a millisecond on any machine, as that is Python's
    time: a test that needs a long epoch sizes it by its steps.
    """
    num = 2 * num_train  # the rest is to validate and to test on
    path.write_text("x,y,label\n" + "".join(f"{row % 7},{row % 11},{row % 3}\n" for row in range(num)))
    return {"name": "csv", "path": str(path), "target": "label", "limit": num_train}


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


def start_of(granted: Grant, folder: Path, resume: Path | None = None) -> Start:
    """What a training process is told to carry out a grant, with all its files in `folder`."""
    return Start(
        grant=granted.model_dump(mode="json"),
        device="cpu",
        threads=1,
        stdout=str(folder / "out"),
        stderr=str(folder / "err"),
        checkpoints=str(folder / "checkpoints"),
        checkpoint_seconds=60.0,
        resume=None if resume is None else str(resume),
    )
