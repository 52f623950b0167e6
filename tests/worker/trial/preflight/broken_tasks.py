"""Functions that are sound, or broken in one place each, as tasks of a preflight."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from worker.trial import Trial

NUM_STEPS = 12


def sound(trial: Trial) -> None:
    """Gradient descent that saves its state, follows orders and uses both parameters."""
    saved = trial.load_checkpoint()
    x = json.loads(saved.read_text())["x"] if saved else float(trial.parameters["start"])
    for step in range((trial.step or 0) + 1, NUM_STEPS + 1):
        x -= trial.parameters["rate"] * 2 * x
        trial.report(step, {"loss": x * x + random.Random(trial.seed).random() / 10})
        trial.save_checkpoint(json.dumps({"x": x}).encode())
        if trial.should_stop:
            return


def returns_a_number(trial: Trial) -> float:
    """An objective in one value, as a black-box function has."""
    return (float(trial.parameters["start"]) * trial.parameters["rate"] - 1) ** 2


def raises(trial: Trial) -> None:
    """Opens a file that does not exist."""
    Path(f"/nowhere/at/all/{trial.seed}.csv").read_text()


def reports_another_name(trial: Trial) -> None:
    """Reports `error`, while the objective is `loss`."""
    for step in range(1, NUM_STEPS):
        trial.report(step, {"error": 1 / step})
        if trial.should_stop:
            return


def reports_nothing(trial: Trial) -> None:
    """Trains and tells nobody."""


def no_number(trial: Trial) -> None:
    """A loss that is no number from the first step on."""
    for step in range(1, NUM_STEPS):
        trial.report(step, {"loss": float("nan")})
        if trial.should_stop:
            return


def hangs(trial: Trial) -> None:
    """Waits for something that never comes."""
    time.sleep(600)


def begins_anew(trial: Trial) -> None:
    """Saves checkpoints, and begins with step 1 whether there is one or not."""
    for step in range(1, NUM_STEPS):
        trial.report(step, {"loss": trial.parameters["start"] * (1 - trial.parameters["rate"]) ** step})
        trial.save_checkpoint(b"state")
        if trial.should_stop:
            return


def forgets_its_state(trial: Trial) -> None:
    """Continues with the step of the checkpoint, but with the first value."""
    x = float(trial.parameters["start"])
    for step in range((trial.step or 0) + 1, NUM_STEPS):
        x -= trial.parameters["rate"] * 2 * x
        trial.report(step, {"loss": x * x})
        trial.save_checkpoint(json.dumps({"x": x}).encode())
        if trial.should_stop:
            return


def cannot_read_its_checkpoint(trial: Trial) -> None:
    """Saves one format and reads another."""
    saved = trial.load_checkpoint()
    x = json.loads(saved.read_text()) if saved else 1.0
    for step in range((trial.step or 0) + 1, NUM_STEPS):
        x -= trial.parameters["rate"] * x * trial.parameters["start"] / 10
        trial.report(step, {"loss": x})
        trial.save_checkpoint(f"x is {x}".encode())
        if trial.should_stop:
            return


def ignores_its_rate(trial: Trial) -> None:
    """Takes the rate from somewhere else."""
    x = float(trial.parameters["start"])
    for step in range(1, NUM_STEPS):
        x -= 0.05 * 2 * x
        trial.report(step, {"loss": x * x})
        if trial.should_stop:
            return


def draws_without_the_seed(trial: Trial) -> None:
    """Noise that no seed repeats."""
    for step in range(1, NUM_STEPS):
        trial.report(step, {"loss": trial.parameters["start"] * trial.parameters["rate"] / step + random.random()})
        if trial.should_stop:
            return


def never_stops(trial: Trial) -> None:
    """Never asks whether to stop."""
    for step in range(1, 500):
        trial.report(step, {"loss": trial.parameters["start"] * trial.parameters["rate"] / step})
