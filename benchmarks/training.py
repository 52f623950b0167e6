"""Measures the training core's overhead over a hand-written loop: ratios of processor time and peak memory.

`python -m benchmarks.training --out benchmarks/results/training.md`. The hand-written loop contains what a user would
write for this one model: the same data, weights, batches, optimizer and schedule, and the same metrics after each epoch
and once on the test split. Both must end with the same loss, and both are measured in one run. On a GPU, the benchmark
also compares data on the device, bf16 and compile with plain fp32.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import resource
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import psutil
import torch
from torch import nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision, MulticlassRecall

from benchmarks.machine import machine
from benchmarks.service import ROOT, Service
from service.client import Client
from worker.training import Report, TrainingConfig, Verdict, train
from worker.training.build import build
from worker.training.data import DATA, Split
from worker.training.data.dataset import RESIDENT_SHARE
from worker.training.loop.epoch import epoch_batches
from worker.training.seeding import forked_rng
from worker.trial.channel import Channel

CPU = torch.device("cpu")

CASES: Mapping[str, dict[str, Any]] = {
    "MLP 128-64, digits": {"model": {"name": "mlp", "hidden": [128, 64]}, "epochs": 20},
    "MLP 512-512, digits": {"model": {"name": "mlp", "hidden": [512, 512]}, "epochs": 20},
    "LeNet, digits": {"model": {"name": "lenet"}, "epochs": 20},
    "ResNet, digits": {"model": {"name": "resnet"}, "epochs": 10},
}
NUM_EXAMPLES = 1079
"""The number of training examples of the digits dataset."""
LONG_STEP: dict[str, Any] = {"model": {"name": "mlp", "hidden": [512, 512]}, "batch_size": NUM_EXAMPLES}
"""An epoch of a single step, which takes about 50 ms on one core."""


def configuration(case: str, **changes: Any) -> TrainingConfig:
    """Return the training configuration of a case, with `changes` to its settings."""
    return TrainingConfig.from_mapping(
        {
            "data": {"name": "digits", "val_fraction": 0.2, "test_fraction": 0.2},
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "schedule": {"name": "cosine"},
            "batch_size": 64,
        }
        | CASES[case]
        | changes
    )


def by_core(config: TrainingConfig, device: torch.device = CPU) -> float:
    """Train with the core; return the last validation loss."""
    return train(config, seed=0, device=str(device), on_report=lambda _: Verdict.CONTINUE).metrics["val/loss"]


def by_hand(config: TrainingConfig, device: torch.device = CPU) -> float:
    """Train the same model with a plain loop; return the last validation loss."""
    dataset = DATA.create(config.data.name, config.data.settings).to(device)
    with forked_rng(0, device):
        parts, state = build(config, 0, dataset, {})
        model, optimizer, train_split = state.model, state.optimizer, dataset.train
        loss_of, step = nn.CrossEntropyLoss(), 0
        base = optimizer.param_groups[0]["lr"]
        mean = math.nan
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(dataset.num_classes, average="micro", validate_args=False),
                "precision": MulticlassPrecision(dataset.num_classes, validate_args=False),
                "recall": MulticlassRecall(dataset.num_classes, validate_args=False),
                "f1": MulticlassF1Score(dataset.num_classes, validate_args=False),
            }
        )

        def evaluate(split: Split) -> float:
            model.eval()
            metrics.reset()
            with torch.inference_mode():
                outputs = model(split.features)
                metrics.update(outputs, split.targets)
                {name: value.item() for name, value in metrics.compute().items()}
                return loss_of(outputs, split.targets).item()

        for epoch in range(config.epochs):
            model.train()
            batches = epoch_batches(parts, epoch)
            total = torch.zeros((), device=device)
            for chosen in batches:
                rate = base * (1 + math.cos(math.pi * (step + 0.5) / (len(batches) * config.epochs))) / 2
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad()
                loss = loss_of(model(train_split.features[chosen]), train_split.targets[chosen])
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(chosen)
                step += 1
            mean = evaluate(dataset.splits["val"])
            total.item()
        evaluate(dataset.splits["test"])
    return mean


def overhead(config: TrainingConfig, rounds: int) -> tuple[float, float, float, float]:
    """Compare the core's processor time with that of the hand-written loop.

    Returns:
        The median, first and third quartile of the ratio, and the milliseconds per step of the hand-written loop.
    """
    if not math.isclose(by_core(config), by_hand(config), rel_tol=1e-5):
        raise SystemExit("core and hand-written loop have not trained the same")
    core, hand = [], []
    for at in range(rounds):
        for each in (by_core, by_hand) if at % 2 else (by_hand, by_core):
            (core if each is by_core else hand).append(_seconds(each, config))
    low, middle, high = statistics.quantiles([one / other for one, other in zip(core, hand, strict=True)], n=4)
    num_steps = config.epochs * math.ceil(NUM_EXAMPLES / config.batch_size)
    return middle, low, high, 1e3 * statistics.median(hand) / num_steps


def _seconds(trains: Callable[[TrainingConfig], float], config: TrainingConfig) -> float:
    began = time.process_time()
    trains(config)
    return time.process_time() - began


def peak_mib(case: str, loop: str) -> float:
    """Return the peak resident memory, in MiB, of a fresh process that trains one case with batches of 512."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_mib, (case, loop))


def _peak_mib(case: str, loop: str) -> float:
    torch.set_num_threads(1)
    config = configuration(case, epochs=1, batch_size=512)
    (by_core if loop == "core" else by_hand)(config)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Surroundings(NamedTuple):
    """What service, agent and reporting add to one trial that reports each step; times in milliseconds."""

    step: float
    """Wall time per step."""
    agent: float
    """Processor time of the agent per step."""
    report: float
    """Processor time of the training process per report."""


def surroundings(num_steps: int = 200) -> Surroundings:
    """Run one trial with a real worker and a real service; each step is an epoch of a single batch."""
    study = {
        "name": "surroundings",
        "objective": {"metric": "val/loss", "direction": "minimize"},
        "task": {"train": configuration("MLP 128-64, digits", **LONG_STEP, epochs=num_steps).to_mapping()},
        "preflight": "off",
        "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-3}},
        "budget": {"trials": 1},
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        service = Service(f"{folder}/assayer.db", folder)
        stack.callback(service.stop)
        client = stack.enter_context(Client(service.url))
        client.create_study(study)
        command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", service.url]
        command += ["--state-dir", f"{folder}/worker", "--study", "surroundings", "--until-done"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
            agent = psutil.Process(worker.pid)
            first, last = (_reached(client, agent, step) for step in (num_steps // 10, num_steps * 9 // 10))
            worker.terminate()
    step, wall, busy = (after - before for before, after in zip(first, last, strict=True))
    return Surroundings(1e3 * wall / step, 1e3 * busy / step, 1e3 * _report_seconds())


def _reached(client: Client, agent: psutil.Process, step: int) -> tuple[int, float, float]:
    """Wait until the trial has reported `step`.

    Returns:
        The newest step then, the time, and the agent's processor time so far; times in seconds.
    """
    while True:
        trials = client.trials("surroundings").trials
        if trials and (trials[0].step or 0) >= step:
            spent = agent.cpu_times()
            return trials[0].step or 0, time.monotonic(), spent.user + spent.system
        if not agent.is_running():
            raise SystemExit("the worker has ended before its trial")
        time.sleep(0.2)


def _report_seconds(num_reports: int = 2000) -> float:
    """Return the processor time of one report to an agent that reads it at once."""
    ours, agents = socket.socketpair()
    reader = multiprocessing.get_context("fork").Process(target=_drain, args=(agents,), daemon=True)
    reader.start()
    channel, metrics = Channel(ours), {f"val/{name}": 0.123456789 for name in ("loss", "accuracy", "precision", "f1")}
    began = time.process_time()
    for step in range(num_reports):
        channel.report(step, metrics)
        channel.newest_order()
    spent = time.process_time() - began
    reader.terminate()
    return spent / num_reports


def _drain(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


WAYS: Mapping[str, Mapping[str, Any]] = {
    "fp32, data on the host": {},
    "fp32, data on the GPU": {},
    "bf16, data on the GPU": {"precision": "bf16"},
    "compiled, data on the GPU": {"compile": True},
}
"""Settings of the ways to train faster on a GPU; the first is the plain baseline."""


def on_gpu() -> Iterator[str]:
    """Yield a table that compares each way to train faster on a GPU with plain fp32."""
    if not torch.cuda.is_available():
        yield "No GPU was at hand: data that is resident there, bf16 and compile are not measured here."
        return
    device = torch.device("cuda")
    yield from (f"On {torch.cuda.get_device_name()}, ResNet, batches of 256, an epoch with its evaluation:", "")
    yield from _row("", "ms", "by plain", "first epoch, s", header=True)
    config = configuration("ResNet, digits", epochs=20, batch_size=256)
    plain = None
    for way in WAYS:
        first, *others = epoch_seconds(way, config, device)
        middle = statistics.median(others)
        plain = plain or middle
        yield from _row(way, f"{1e3 * middle:.1f}", f"{middle / plain:.2f}", f"{first:.1f}")


def epoch_seconds(way: str, config: TrainingConfig, device: torch.device) -> list[float]:
    """Return the duration of each epoch, including its evaluation, with one of the settings."""
    ends: list[float] = []

    def on_report(_: Report) -> Verdict:  # the metrics were copied to the host, so the device has finished
        ends.append(time.perf_counter())
        return Verdict.CONTINUE

    share = RESIDENT_SHARE if "on the GPU" in way else 0.0
    with mock.patch("worker.training.data.dataset.RESIDENT_SHARE", share):
        began = time.perf_counter()
        train(replace(config, **WAYS[way]), device=device.type, on_report=on_report)
    return [end - start for start, end in pairwise([began, *ends])]


def page(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the page of results, line by line."""
    command = f"python -m benchmarks.training {shlex.join(sys.argv[1:])}".rstrip()
    yield from ("# The training core, measured", "", f"`{command}`", "")
    yield from (f"Machine: {machine()}, torch {torch.__version__}, one thread.", "")
    yield "Processor time of the core by that of a loop written by hand for the same model, data, batches,"
    yield from (f"schedule and reported metrics: median of {arguments.rounds} pairs, with quartiles.", "")
    yield from _row("", "epochs", "core by hand-written", "quartiles", "ms per step by hand", header=True)
    for case in arguments.cases:
        config = configuration(case)
        middle, low, high, step = overhead(config, arguments.rounds)
        yield from _row(case, config.epochs, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{step:.2f}")
    yield from ("", "Peak memory of a process that trains one epoch in batches of 512, MiB:", "")
    yield from _row("", "core", "by hand", "ratio", header=True)
    for case in arguments.cases:
        core, hand = peak_mib(case, "core"), peak_mib(case, "hand")
        yield from _row(case, f"{core:.0f}", f"{hand:.0f}", f"{core / hand:.3f}")
    told = surroundings()
    yield from ("", f"A real worker on a real service that reports after each step, of {told.step:.0f} ms:", "")
    yield f"- the training process is busy with a report for {told.report:.3f} ms, {told.report / told.step:.2%} of it;"
    yield f"- the agent, another process, takes {told.agent:.2f} ms of a core, {told.agent / told.step:.1%} of it."
    yield ""
    yield from on_gpu()


def _row(*cells: object, header: bool = False) -> Iterator[str]:
    yield f"| {' | '.join(str(cell) for cell in cells)} |"
    if header:
        yield "| --- " * len(cells) + "|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="write the page here, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = ""
    for line in page(arguments):
        print(line, flush=True)
        text += line + "\n"
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
