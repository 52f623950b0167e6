"""The plan of a scenario, drawn from its seed: studies, replicas, workers, users and faults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities, Device
from service.contract.study import StudySpec
from tests.simulation import faults as faulty
from tests.simulation.faults import Faults

GPUS_GIB = (10.0, 24.0, 80.0)


@dataclass(frozen=True)
class ReplicaPlan:
    """One replica of the service."""

    skew_seconds: float
    """How far the clock of its host is off."""
    upkeep_seconds: float
    """How much longer each step of its upkeep may wait for its turn."""


@dataclass(frozen=True)
class WorkerPlan:
    """One agent: where it runs, what it offers, and which studies it serves."""

    name: str
    host: str
    slots: tuple[str, ...]
    gpu_gib: float
    """Memory of its GPU; 0: it has none."""
    labels: dict[str, str]
    studies: tuple[str, ...] | None
    """None: whichever the service chooses."""

    @property
    def capabilities(self) -> Capabilities:
        """What it tells with every claim."""
        devices = [Device(kind="cuda", memory_gib=self.gpu_gib)] if self.gpu_gib else [Device(kind="cpu")]
        return Capabilities(devices=devices, tasks=[TaskKind.EXTERNAL], labels=self.labels)

    def serves(self, spec: StudySpec) -> bool:
        """Whether it may be given trials of this study."""
        needed = spec.requires.labels if spec.requires else {}
        return (self.studies is None or spec.name in self.studies) and needed.items() <= self.labels.items()


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a world before it begins."""

    faults: Faults
    specs: dict[str, StudySpec]
    broken: frozenset[str]
    """Studies whose code fails until somebody repairs it."""
    replicas: tuple[ReplicaPlan, ...]
    workers: tuple[WorkerPlan, ...]
    deeds: tuple[tuple[str, str], ...]
    """What people do to which study."""
    is_restored: bool
    outlives_restore: bool
    """The replicas stay up while the database goes back, and keep what they know."""
    is_patient: bool
    """A claim waits for a study's turn and suggestion as long as they take; else no longer than the service does."""


EMPHASIZED_SHARE = 0.25
"""How many worlds have a plan that makes rare faults likely: a defect that few worlds could show shows in these."""


def drawn(seed: int) -> Plan:
    """The plan of a seed's world."""
    plan, chance = _drawn(seed), Random(f"emphasis/{seed}")
    if chance.random() >= EMPHASIZED_SHARE:
        return plan
    return chance.choice([_with_long_queues, _with_budgets_of_failures])(plan)


def _with_long_queues(plan: Plan) -> Plan:
    """People enqueue so much that most claims find several configurations of different priorities."""
    return replace(plan, deeds=plan.deeds + tuple(("enqueue", name) for name in plan.specs for _ in range(6)))


def _with_budgets_of_failures(plan: Plan) -> Plan:
    """Every study ends with its first failure, and training fails often."""
    specs = {
        name: spec.model_copy(update={"budget": spec.budget.model_copy(update={"failures": 1}), "retry_failed": 0})
        for name, spec in plan.specs.items()
    }
    return replace(plan, specs=specs, faults=replace(plan.faults, failing_step=0.15))


def _drawn(seed: int) -> Plan:
    chance = Random(f"plan/{seed}")
    faults = faulty.drawn(chance)
    specs = {name: _spec(chance, name, seed) for name in ("a", "b", "c")[: chance.choice([1, 1, 2, 2, 3])]}
    deeds = ["pause", "enqueue", "enqueue", "enqueue", "extend", "extend", "stop"]
    return Plan(
        faults=faults,
        specs=specs,
        broken=frozenset(name for name in specs if chance.random() < faults.broken_study),
        replicas=tuple(
            ReplicaPlan(chance.uniform(-1, 1) * faults.skew_seconds, chance.choice([0.0, 2.0, 8.0]))
            for _ in range(chance.choice([1, 2, 2, 3]))
        ),
        workers=_workers(chance, specs),
        deeds=tuple((deed, name) for name in specs for deed in chance.sample(deeds, chance.choice([0, 0, 1, 2, 4]))),
        is_restored=chance.random() < faults.restore,
        outlives_restore=chance.random() < 0.5,
        # By a chance of its own, so that the rest of the world is what it was without.
        is_patient=Random(f"patience/{seed}").random() < 0.7,
    )


def _workers(chance: Random, specs: dict[str, StudySpec]) -> tuple[WorkerPlan, ...]:
    is_shared = chance.random() < 0.3
    workers = []
    for index in range(chance.randint(2, 5)):
        # The first one can do everything, so that nothing waits for a worker which is not there.
        is_first = index == 0
        workers.append(
            WorkerPlan(
                name=f"w{index}",
                host=f"h{index // 2 if is_shared else index}",
                slots=tuple(str(slot) for slot in range(chance.choice([1, 1, 2, 3]))),
                gpu_gib=max(GPUS_GIB) if is_first else chance.choice([0.0, *GPUS_GIB]),
                labels={"site": "a"} if is_first or chance.random() < 0.6 else {},
                studies=None if is_first or chance.random() < 0.8 else (chance.choice(list(specs)),),
            )
        )
    return tuple(workers)


def _spec(chance: Random, name: str, seed: int) -> StudySpec:
    num_trials = chance.randint(4, 14)
    sampler: dict[str, Any] = chance.choice(
        [
            {"name": "random", "seed": seed},
            {"name": "grid", "seed": seed, "shuffle": True},
            {"name": "coarse_to_fine", "seed": seed, "review": seed % 2 == 0},
            {"name": "coarse_to_fine", "seed": seed, "stages": [{"trials": 2}, {"trials": num_trials - 2}]},
            # The one whose every suggestion depends on all of the history.
            {"name": "tpe", "seed": seed, "startup_trials": 2},
        ]
    )
    lr = {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}
    if sampler["name"] == "grid":
        lr = {"type": "categorical", "choices": [0.001, 0.003, 0.01, 0.03, 0.1, 0.0003, 0.0001]}
    return StudySpec.model_validate(
        {
            "name": name,
            "objective": {"metric": "loss", "direction": "minimize", "value": chance.choice(["last", "best"])},
            "space": {"lr": lr},
            "sampler": sampler,
            "pruner": chance.choice([{"name": "none"}, {"name": "median", "startup_trials": 2, "warmup_steps": 1}]),
            "resource": {"name": "step", "max": chance.randint(3, 8)},
            "budget": {"trials": num_trials} | _other_budget(name, seed),
            "retry_failed": chance.choice([None, 0, 1]),
            "priority": chance.choice([0, 0, 0, 1]),
            "owner": chance.choice([None, "ann", "bob"]),
            "requires": chance.choice([None, None, None, None, {"labels": {"site": "a"}}]),
        }
    )


def _other_budget(name: str, seed: int) -> dict[str, Any]:
    """Now and then one more budget; by a chance of its own, so that the rest of the world is what it was without."""
    chance = Random(f"budget/{seed}/{name}")
    others: list[dict[str, Any]] = [{"hours": 0.03}, {"target": 1.5}, {"no_improvement": 2}]
    # Few trials fail for good, so a budget of failures has to be drawn often to be met.
    others += [{"failures": 1}] * 3
    return chance.choice(others) if chance.random() < 0.3 else {}
