"""The commands `export-model` and `predict`: make a model of a trial that people can use, and use it on a file.

The `study` command must not load torch, so it downloads the trial's checkpoint and starts the worker's commands.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.cli.commands.trials import named_trial, save_checkpoint
from service.client.client import Client
from service.client.errors import ClientError, invalid_study
from service.contract.base import TaskKind

_ENDINGS = {"bundle": ".zip", "safetensors": ".safetensors", "onnx": ".onnx", "torch-export": ".pt2"}


def export_model(client: Client, arguments: argparse.Namespace) -> None:
    """Download a trial's checkpoint, and write its model in the chosen format.

    Raises:
        ClientError: there is no such checkpoint, the worker's packages are missing, or the model can't be exported.
    """
    _require_torch(arguments.command)
    path = Path(arguments.out or f"{arguments.name}-{arguments.trial}{_ENDINGS[arguments.format]}")
    if path.exists():
        raise invalid_study(path, "already exists; choose another file with --out, or remove it")
    with TemporaryDirectory(prefix="assayer-") as folder:
        checkpoint, evidence = Path(folder) / "trial.pt", Path(folder) / "evidence.json"
        _download(client, arguments, checkpoint)
        evidence.write_text(json.dumps(_evidence(client, arguments)), encoding="utf-8")
        words = [str(checkpoint), "--format", arguments.format, "--out", str(path), "--evidence", str(evidence)]
        _run(arguments, "export-model", words)


def predict(client: Client, arguments: argparse.Namespace) -> None:
    """Predict on a file by a trial's model, or by a bundle, for which no service is needed.

    Raises:
        ClientError: there is no such checkpoint, the worker's packages are missing, or the model can't predict on it.
    """
    _require_torch(arguments.command)
    words = ["--data", arguments.data, "--out", arguments.out]
    if arguments.submission is not None:
        words += ["--submission", arguments.submission]
    if arguments.encoding is not None:
        words += ["--encoding", arguments.encoding]
    if arguments.impute_columns:
        words.append("--impute-columns")
    if arguments.bundle is not None:
        _run(arguments, "predict", [arguments.bundle, *words])
        return
    with TemporaryDirectory(prefix="assayer-") as folder:
        checkpoint = Path(folder) / "trial.pt"
        _download(client, arguments, checkpoint)
        _run(arguments, "predict", [str(checkpoint), *words])


def _require_torch(command: str) -> None:
    if find_spec("torch") is None:
        raise ClientError(
            f"study {command} runs the model on this machine, and the worker's packages are missing: "
            "pip install 'assayer[worker]'"
        )


def _download(client: Client, arguments: argparse.Namespace, path: Path) -> None:
    kind = client.study(arguments.name).spec.task_kind
    if kind is not TaskKind.TRAIN:
        remedy = "its trials have no model of the training core; study checkpoint downloads what they saved"
        raise ClientError(
            f"study {arguments.command} needs a study with a train task, and {arguments.name} has none: {remedy}"
        )
    save_checkpoint(client, arguments.name, named_trial(client, arguments.name, arguments.trial), path)


def _evidence(client: Client, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the study knows about the trial, for the model card."""
    study = client.study(arguments.name)
    trial = client.trial(arguments.name, named_trial(client, arguments.name, arguments.trial))
    attempt = trial.attempts[-1] if trial.attempts else None
    return {
        "study": study.name,
        "trial": trial.id if trial.number is None else trial.number,
        "objective": ", ".join(f"{each.metric} ({each.direction})" for each in study.spec.objectives),
        "value": ", ".join(f"{value:.6g}" for value in trial.values or []),
        "num_trials": {str(state): count for state, count in study.num_trials.items()},
        "parameters": trial.parameters,
        "metrics": {name: value for name, value in trial.metrics.items() if isinstance(value, int | float)},
        "code": None if attempt is None else attempt.code,
        "environment": {} if attempt is None else attempt.environment,
    }


def _run(arguments: argparse.Namespace, command: str, words: list[str]) -> None:
    """Run a command of the worker; its answer goes to standard output, notes and errors to standard error."""
    options = [f"--register={module}" for module in arguments.register or []]
    if arguments.json:
        options.append("--json")
    ended = subprocess.run([sys.executable, "-m", "worker", command, *words, *options], check=False)  # noqa: S603
    if ended.returncode:
        reason = "see the message above" if ended.returncode == 2 else f"its process ended with {ended.returncode}"
        raise ClientError(f"study {arguments.command} failed; {reason}")
