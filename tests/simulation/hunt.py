"""Hunts a mutant: a forked process imports the edited service and plays scenarios until one catches it."""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.mutants import Mutant
from tests.simulation.overlay import lay
from tests.support.forked import in_processes

ROOT = Path(__file__).resolve().parents[2]
WITNESSES = Path(__file__).with_name("witnesses.json")
PATIENCE_SECONDS = 900.0
"""A world takes some seconds where the machine is slow; one that never ends is a defect of the simulation."""


@dataclass(frozen=True)
class Caught:
    """A world in which a mutant breaks a promise."""

    seed: int
    violation: str


def read_witnesses() -> dict[str, list[int]]:
    """Return the seeds of the worlds that are known to catch each mutant, by the mutant's name."""
    known: dict[str, list[int]] = json.loads(WITNESSES.read_text(encoding="utf-8"))
    return known


def hunt(mutant: Mutant, seeds: Iterable[int], num_wanted: int = 1) -> list[Caught]:
    """Play the worlds of these seeds against the mutant until `num_wanted` of them have caught it.

    The process is forked, so that it imports neither the interpreter's nor other packages' modules again.

    Raises:
        StaleMutantError: the mutant does not fit the code any more.
        RuntimeError: the simulation itself failed.
    """
    texts = mutant.edited(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        (answer,) = in_processes(
            1, Path(folder), lambda _: _play(texts, seeds, num_wanted), patience_seconds=PATIENCE_SECONDS
        )
    if not isinstance(answer, list):
        raise RuntimeError(f"the simulation of {mutant.name!r} broke down: {answer}")
    return [Caught(seed, violation) for seed, violation in answer]


def _play(texts: Mapping[str, str], seeds: Iterable[int], num_wanted: int) -> list[tuple[int, str]]:
    """Play in this process, which ends afterwards; return plain values, which any process can read."""
    lay(ROOT, texts)
    # Worlds read what the service logs; nobody else does.
    logging.getLogger().addHandler(logging.NullHandler())
    play = importlib.import_module("tests.simulation.scenario").play
    caught: list[tuple[int, str]] = []
    for seed in seeds:
        if violations := play(seed).violations:
            caught.append((seed, violations[0]))
            if len(caught) == num_wanted:
                break
    return caught
