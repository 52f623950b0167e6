"""Stub training: cheap steps whose every value follows from the trial's seed and parameters, and from all steps before.

A step hashes the state that the step before left, so a training that resumes from anything but its own right checkpoint
measures other values from there on. The checker computes the same chain without having trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from tests.chaos.ledger import Ledger, Trained
from worker.protocol import CheckpointSaved, Ended, Start
from worker.trial.channel import AgentGone, Channel

NUM_STEPS = 6
METRIC = "val/accuracy"
STEP_SECONDS = 0.02
CHECKPOINT_STEPS = 2
"""A checkpoint is saved every so many steps, but not at the last, after which nobody resumes."""


def first_state(seed: int, parameters: Mapping[str, Any]) -> str:
    """The state of a training before its first step."""
    return _digest(json.dumps([seed, dict(parameters)], sort_keys=True).encode())


def state_after(state: str, step: int) -> str:
    """The state that a step leaves."""
    return _digest(f"{state}/{step}".encode())


def value_of(state: str) -> float:
    """What is measured after a step; 52 bits, so that no way of writing it loses any."""
    return int(state[:13], 16) / 16**13


def values(seed: int, parameters: Mapping[str, Any], num_steps: int = NUM_STEPS) -> dict[int, float]:
    """Step -> what a training that nothing ever interrupted measures."""
    state, measured = first_state(seed, parameters), {}
    for step in range(1, num_steps + 1):
        state = state_after(state, step)
        measured[step] = value_of(state)
    return measured


def carry_out(start: Start, channel: Channel) -> None:
    """Train as the grant says, in a process of its own; what a zygote's child does."""
    ledger = Ledger(Path(os.environ["CHAOS_LEDGER"]))
    with suppress(AgentGone):
        channel.send_outcome(
            Ended(_train(Grant.model_validate(start.grant), start, channel, ledger).model_dump(mode="json"))
        )


def _train(grant: Grant, start: Start, channel: Channel, ledger: Ledger) -> Outcome:
    step, state = 0, first_state(grant.seed, grant.parameters)
    if grant.resume is not None:
        assert start.resume is not None
        step, state = json.loads(Path(start.resume).read_text(encoding="ascii"))
        assert step == grant.resume.step, f"the checkpoint is of step {step}, the grant says {grant.resume.step}"
    assert grant.run_until is not None
    while step < grant.run_until:
        time.sleep(STEP_SECONDS)
        step += 1
        state = state_after(state, step)
        ledger.note(Trained(grant.trial, grant.attempt, step, value_of(state)))
        order = channel.report(step, {METRIC: value_of(state)})
        if order.action == "stop":
            return Outcome(result="pruned", message=order.reason)
        if step % CHECKPOINT_STEPS == 0 and step < grant.run_until:
            channel.send_checkpoint(_save(Path(start.checkpoints), step, state))
    return Outcome(result="succeeded")


def _save(directory: Path, step: int, state: str) -> CheckpointSaved:
    """Write a checkpoint under the name by which the agent looks for those of this host."""
    content = json.dumps([step, state]).encode()
    path = directory / f"step-{step:08d}.pt"
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return CheckpointSaved(step, str(path), hashlib.sha256(content).hexdigest(), len(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
