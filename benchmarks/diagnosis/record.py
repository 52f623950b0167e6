"""Trains all variants of all groups with the core, and stores their learning curves."""

from __future__ import annotations

import json
import math
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.diagnosis import broken_parts
from benchmarks.diagnosis.groups import GROUPS, Group, rate_and_length_variants
from benchmarks.diagnosis.planted import planted_variants
from tests.training.preflight.healthy_studies import write_files
from worker.training import Report, TrainingConfig, Verdict, train
from worker.training.components.losses import LOSSES
from worker.training.data import DATA, Dataset
from worker.training.errors import Diverged

Curves = dict[str, list[float | None]]


def record(path: Path) -> None:
    """Train everything that `path` lacks, and append a line of JSON for each training."""
    torch.set_num_threads(1)
    broken_parts.register()
    known = set()
    if path.exists():
        known = {json.loads(line)["name"] for line in path.read_text(encoding="utf-8").splitlines()}
    with tempfile.TemporaryDirectory() as folder, path.open("a", encoding="utf-8") as out:
        files = write_files(Path(folder))
        for name, config, fault in trainings():
            if name not in known:
                out.write(json.dumps(run(name, config, fault, files)) + "\n")
                out.flush()


def trainings() -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield the name, the configuration and the data's fault of every training."""
    # The sound trainings come first, because the criteria compare with them.
    for group in GROUPS:
        for variant, config in rate_and_length_variants(group):
            yield f"{group.name} | {variant}", {**config, **_callbacks(group)}, None
    for group in GROUPS:
        for variant, config, fault in planted_variants(group) if group.planted else ():
            yield f"{group.name} | {variant}", {**_callbacks(group), **config}, fault


def _callbacks(group: Group) -> dict[str, Any]:
    return {"callbacks": [{"name": "norms"}]} if group.norms else {}


def run(name: str, config: Mapping[str, Any], fault: str | None, files: Mapping[str, str]) -> dict[str, Any]:
    """Train one configuration and return its curves, with what the criteria need."""
    began = time.process_time()
    trained = {**config, "data": with_files(config["data"], files)}
    if fault is not None:
        trained["data"] = broken_parts.broken_data(trained["data"], fault)
    parsed = TrainingConfig.from_mapping(trained)
    reports: list[Report] = []

    def keep(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    diverged = False
    try:
        train(parsed, seed=zlib.crc32(name.encode()) % 1000, on_report=keep)
    except Diverged:
        diverged = True
    names = dict.fromkeys(each for report in reports for each in report.metrics if _is_kept(each))
    curves = {each: [_rounded(report.metrics.get(each, math.nan)) for report in reports] for each in names}
    return {
        "name": name, "config": dict(config), "diverged": diverged, "curves": curves, "chance": _chance(parsed),
        "seconds": round(time.process_time() - began, 2),
    }  # fmt: skip


def with_files(section: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the section with each path of `$NAME` replaced by that of the file."""
    return {
        key: files[value[1:]] if isinstance(value, str) and value.startswith("$") else value
        for key, value in section.items()
    }


def _is_kept(metric: str) -> bool:
    return metric.startswith("norm/") or metric.removeprefix("train/").removeprefix("val/") in (
        "loss",
        "accuracy",
        "r2",
    )


def _rounded(value: float) -> float | None:
    # JSON has no NaN or infinity; a missing value is read as NaN.
    return float(f"{value:.4g}") if math.isfinite(value) else None


_CHANCE: dict[str, float] = {}


def _chance(config: TrainingConfig) -> float:
    """Return the validation loss of the best constant prediction on the training set: class frequencies or the mean."""
    key = repr((config.data, config.loss))
    if key not in _CHANCE:
        _CHANCE[key] = _constant_loss(config)
    return _CHANCE[key]


def _constant_loss(config: TrainingConfig) -> float:
    dataset: Dataset = DATA.create(config.data.name, config.data.settings)
    loss = LOSSES.create(config.loss.name, config.loss.settings, dataset)
    targets = dataset.splits["val"].targets
    if dataset.num_classes:
        shares = (dataset.class_counts.float() + 0.5) / (dataset.class_counts.sum() + 0.5 * dataset.num_classes)
        logits = shares.logit() if config.loss.name == "bce" else shares.log()
        outputs = logits.expand(*targets.shape, -1)
    else:
        outputs = torch.zeros(targets.shape)
    return float(loss(outputs, targets))
