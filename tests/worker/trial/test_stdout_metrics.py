"""Metrics read from printed lines: their steps, and no duplicates."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.training.errors import ConfigError
from worker.trial.stdout_metrics import MetricParser, Tail

PATTERNS = {"loss": r"val_loss=(\S+)", "accuracy": r"acc (\S+)%"}


def steps(printed: MetricParser, *lines: str) -> list[tuple[int, dict[str, float]]]:
    return [found for line in lines for found in printed.read(line)]


def test_without_a_pattern_for_it_each_value_of_the_objective_is_a_step() -> None:
    printed = MetricParser(PATTERNS, None, "loss")
    lines = ["acc 10%", "val_loss=0.5", "hello", "acc 20%", "acc 30%", "val_loss=0.25 acc 40%"]
    assert steps(printed, *lines) == [(1, {"accuracy": 10, "loss": 0.5}), (2, {"accuracy": 40, "loss": 0.25})]


def test_a_resumed_program_counts_on() -> None:
    assert steps(MetricParser(PATTERNS, None, "loss", last_step=4), "val_loss=1") == [(5, {"loss": 1.0})]


def test_a_pattern_tells_the_step_on_the_same_line_or_on_one_before() -> None:
    printed = MetricParser(PATTERNS, r"epoch (\d+)", "loss")
    lines = ["val_loss=9", "epoch 0", "val_loss=0.5", "epoch 1: val_loss=0.4"]
    assert steps(printed, *lines) == [(0, {"loss": 0.5}), (1, {"loss": 0.4})]


def test_a_step_is_reported_once() -> None:
    printed = MetricParser(PATTERNS, r"epoch (\d+)", "loss")
    lines = ["epoch 2", "val_loss=0.5", "val_loss=0.6", "epoch 1 val_loss=0.7", "epoch 3 val_loss=nan"]
    found = steps(printed, *lines)
    assert [(step, str(metrics["loss"])) for step, metrics in found] == [(2, "0.5"), (3, "nan")]


def test_a_match_that_is_no_number_names_the_pattern() -> None:
    with pytest.raises(ConfigError, match="its group must match only a number"):
        steps(MetricParser(PATTERNS, None, "loss"), "val_loss=0.5,")


def test_a_tail_begins_at_the_end_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    tail = Tail(path)
    with path.open("ab", buffering=0) as file:
        file.write(b"50%\r100%\r\nva")
        assert [line for line in tail.lines() if line] == ["50%", "100%"]
        file.write("lüe\nrest".encode())
        assert tail.lines() == ["valüe"]
    assert tail.lines(is_over=True) == ["rest"]
