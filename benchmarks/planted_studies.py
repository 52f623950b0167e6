"""Simulated studies with a known fault, or with none, for measuring the rules of the diagnosis."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.functions import FUNCTIONS, Function
from service.analysis.diagnosis.facts import AttemptFacts, StudyFacts
from service.contract.attempt import FailureClass
from service.contract.study import ReferenceValue, StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.search.replay import simulate
from service.search.space.sampling import sample

Build = Callable[[int], StudyFacts]
"""Seed -> the facts about one study."""

SPACE: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "width": {"type": "int", "low": 16, "high": 1024, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
    "activation": {"type": "categorical", "choices": ["relu", "gelu", "tanh"]},
}


def spec_of(space: Mapping[str, Any] = SPACE, **more: Any) -> StudySpec:
    """Return the spec of a study that minimises `value`, unless `more` says otherwise."""
    objective = {"metric": "value", "direction": "minimize"}
    return StudySpec.model_validate({"name": "measured", "objective": objective, "space": dict(space), **more})


def accuracy_spec(**more: Any) -> StudySpec:
    """Return the spec of a study that maximises `val/accuracy`."""
    return spec_of(objective={"metric": "val/accuracy", "direction": "maximize"}, **more)


def study_of(
    function: Callable[[Mapping[str, Any]], float],
    seed: int,
    *,
    trials: int = 60,
    sampler: str = "random",
    noise: float = 0.0,
    space: Mapping[str, Any] = SPACE,
) -> StudyFacts:
    """Simulate a study that minimises a function of the parameters with a sampler."""
    spec = spec_of(space, sampler={"name": sampler, "seed": seed}, budget={"trials": trials})
    draw = random.Random(seed)
    found = simulate.run(spec, lambda parameters, _: {"value": function(parameters) + draw.gauss(0, noise)}, workers=1)
    return StudyFacts(spec=spec, history=found.history)


def plain(function: Function, sampler: str, trials: int) -> Build:
    """Return a study of a benchmark function, which has its optimum inside and every parameter at work."""

    def build(seed: int) -> StudyFacts:
        return study_of(
            function.value, seed, trials=trials, sampler=sampler, noise=function.noise, space=function.space
        )

    return build


def rows(seed: int, num: int, spec: StudySpec, value: Callable[[Mapping[str, Any], random.Random], float]) -> History:
    """Return a history of completed random trials with a value each."""
    draw, trials = random.Random(seed), []
    for number in range(num):
        parameters = sample(spec.space, seed, number)
        trials.append(TrialRecord(number, TrialState.COMPLETED, parameters, value=value(parameters, draw)))
    return History(trials=tuple(trials))


def bowl(parameters: Mapping[str, Any], rate: float = -3.5) -> float:
    """Return a smooth function of the rate (in decades), the width and the dropout with its optimum inside."""
    far = math.log10(parameters["rate"]) - rate
    width = math.log2(parameters["width"]) - 7
    dropout = parameters["dropout"] - 0.3
    return far**2 + 0.1 * width**2 + 10 * dropout**2 + 0.6 * (parameters["activation"] == "tanh")


def _beyond_high(sampler: str, trials: int = 60) -> Build:
    return lambda seed: study_of(lambda each: bowl(each, rate=-1.2), seed, trials=trials, sampler=sampler, noise=0.05)


def _beyond_low(seed: int) -> StudyFacts:
    return study_of(lambda each: bowl(each, rate=-6.0), seed, noise=0.05)


def _beyond_linear(seed: int) -> StudyFacts:
    space = {**SPACE, "units": {"type": "int", "low": 10, "high": 100}}
    return study_of(lambda each: bowl(each) + ((each["units"] - 130) / 25) ** 2, seed, noise=0.05, space=space)


def _idle_parameter(sampler: str) -> Build:
    space = {**SPACE, "idle": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True}}
    return lambda seed: study_of(bowl, seed, trials=120, sampler=sampler, noise=0.1, space=space)


def _repeated(seed: int, *, signal: float, noise: float) -> StudyFacts:
    spec, draw = spec_of(), random.Random(seed)
    trials = []
    for configuration in range(20):
        parameters = sample(spec.space, seed, configuration)
        mean = draw.gauss(0, signal)
        for _ in range(2 if configuration < 12 else 1):
            value = mean + draw.gauss(0, noise)
            trials.append(TrialRecord(len(trials), TrialState.COMPLETED, parameters, value=value))
    return StudyFacts(spec=spec, history=History(trials=tuple(trials)))


def _spread_over_repeats(seed: int, *, signal: float, noise: float) -> StudyFacts:
    task = {"train": {"data": {"name": "digits"}, "model": {"name": "mlp"}, "loss": {"name": "cross_entropy"}}}
    task["train"] |= {"optimizer": {"name": "adamw"}, "repeats": 4}  # type: ignore[dict-item]
    spec, draw = accuracy_spec(task=task), random.Random(seed)
    history = rows(seed, 30, spec, lambda _, draw: 0.9 + draw.gauss(0, math.hypot(signal, noise / 2)))
    metrics = {trial.number: {"val/accuracy/std": noise * draw.uniform(0.6, 1.4)} for trial in history}
    return StudyFacts(spec=spec, history=history, metrics=metrics)


def _validated(seed: int, *, num: int, low: float, high: float) -> StudyFacts:
    """Return accuracies on `num` examples, which all trials share: half of the sampling error is common to them."""
    spec, common = accuracy_spec(), random.Random(f"common {seed}").gauss(0, math.sqrt(0.5))

    def value(_: Mapping[str, Any], draw: random.Random) -> float:
        right = draw.uniform(low, high)
        luck = common + draw.gauss(0, math.sqrt(0.5))
        return min(1.0, round(num * right + math.sqrt(num * right * (1 - right)) * luck) / num)

    return StudyFacts(spec=spec, history=rows(seed, 40, spec, value), num_validation=num)


def _failing(seed: int, *, is_region: bool) -> StudyFacts:
    spec, draw = spec_of(), random.Random(seed)
    trials, attempts = [], []
    for number in range(60):
        parameters = sample(spec.space, seed, number)
        fails = draw.random() < ((0.9 if parameters["width"] > 400 else 0.02) if is_region else 0.25)
        state = TrialState.FAILED if fails else TrialState.COMPLETED
        trials.append(TrialRecord(number, state, parameters, value=None if fails else bowl(parameters)))
        failure = FailureClass.OUT_OF_MEMORY if fails else None
        attempts.append(AttemptFacts(number, "tower", failure, None, 5, 10.0))
    return StudyFacts(spec=spec, history=History(trials=tuple(trials)), attempts=attempts)


def _pruned(seed: int, *, is_misleading: bool) -> StudyFacts:
    spec = spec_of(
        sampler={"name": "random", "seed": seed},
        budget={"trials": 80},
        pruner={"name": "median", "warmup_steps": 2, "startup_trials": 20},
        resource={"name": "epoch", "max": 20},
    )
    draw = random.Random(seed)

    def value(parameters: Mapping[str, Any], step: int) -> dict[str, float]:
        """With a misleading start, what learns slowly ends best."""
        speed = (math.log10(parameters["rate"]) + 5) / 3
        end = speed if is_misleading else bowl(parameters) / 4
        decay = math.exp(-step / (2 + 10 * (1 - speed))) if is_misleading else math.exp(-step / 5)
        return {"value": end + 4 * decay + draw.gauss(0, 0.02)}

    return StudyFacts(spec=spec, history=simulate.run(spec, value, workers=1).history)


def _flat(seed: int) -> StudyFacts:
    spec = spec_of()
    history = rows(seed, 100, spec, lambda _, draw: 1 + draw.expovariate(1.0))
    trials = [
        trial if trial.number < 40 else TrialRecord(trial.number, trial.state, trial.parameters, value=1 + 0.01 * at)
        for at, trial in enumerate(history)
    ]
    trials[20] = TrialRecord(20, TrialState.COMPLETED, trials[20].parameters, value=1.0)
    near = random.Random(seed)
    trials[40:] = [
        TrialRecord(each.number, each.state, each.parameters, value=1.0 + 1e-4 + near.expovariate(100.0))
        for each in trials[40:]
    ]
    return StudyFacts(spec=spec, history=History(trials=tuple(trials)))


def _improving(seed: int) -> StudyFacts:
    spec = spec_of()
    history = rows(seed, 100, spec, lambda _, draw: draw.expovariate(1.0))
    trials = [
        TrialRecord(each.number, each.state, each.parameters, value=(each.value or 0) + 3 * math.exp(-each.number / 40))
        for each in history
    ]
    return StudyFacts(spec=spec, history=History(trials=tuple(trials)))


def _hosts(seed: int, *, factor: float, is_confounded: bool = False) -> StudyFacts:
    spec, draw = spec_of(), random.Random(seed)
    history = rows(seed, 45, spec, lambda parameters, _: bowl(parameters))
    attempts = []
    for trial in history:
        width = trial.parameters["width"]
        assert isinstance(width, int)
        host = ("attic", "cellar", "tower")[trial.number % 3]
        if is_confounded:  # The widest trials go to one host.
            host = "tower" if width > 200 else ("attic", "cellar")[trial.number % 2]
        seconds = 20 * (width / 100) ** 0.7 * draw.lognormvariate(0, 0.1) * (factor if host == "tower" else 1.0)
        attempts.append(AttemptFacts(trial.number, host, None, None, 20, seconds + 3))
    return StudyFacts(spec=spec, history=history, attempts=attempts)


def _costly(seed: int, *, penalty: float) -> StudyFacts:
    """Return a study in which the quarter of cheap trials is worse by `penalty`, on 2,000 validation examples."""
    spec, draw = accuracy_spec(), random.Random(seed)
    history = rows(
        seed, 40, spec, lambda each, draw: 0.95 - 0.02 * abs(draw.gauss(0, 1)) - penalty * (each["width"] <= 64)
    )
    size = {trial.number: float(trial.parameters["width"]) * 1_000 for trial in history}  # type: ignore[arg-type]
    size = {number: each if each <= 64_000 else max(each, 250_000 + draw.random()) for number, each in size.items()}
    metrics = {number: {"num_parameters": each} for number, each in size.items()}
    best = max(history, key=lambda trial: trial.value or 0.0)
    metrics[best.number] = {"num_parameters": 400_000.0}
    return StudyFacts(spec=spec, history=history, metrics=metrics, num_validation=2_000)


def _read(num: int) -> Build:
    def build(seed: int) -> StudyFacts:
        spec = accuracy_spec()
        history = rows(seed, 20, spec, lambda _, draw: draw.uniform(0.7, 0.95))
        return StudyFacts(spec=spec, history=history, num_test_reads=num)

    return build


def _finetuned(num: int) -> Build:
    task = {"train": {"data": {"name": "images", "path": "photos"}, "model": {"name": "timm", "arch": "resnet18"}}}
    task["train"] |= {"loss": {"name": "cross_entropy"}, "optimizer": {"name": "adamw"}}

    def build(seed: int) -> StudyFacts:
        space = {"optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}}
        spec = accuracy_spec(task=task, space=space)
        return StudyFacts(spec=spec, history=rows(seed, 10, spec, lambda _, draw: draw.random()), num_train=num)

    return build


def _beside_linear(linear: float) -> Build:
    def build(seed: int) -> StudyFacts:
        spec = accuracy_spec()
        history = rows(seed, 20, spec, lambda _, draw: draw.uniform(0.7, 0.9))
        reference = ReferenceValue(name="linear", kind="baseline", value=linear)
        return StudyFacts(spec=spec, history=history, references=[reference])

    return build


PLANTED: dict[str, dict[str, Build]] = {
    "below_linear": {"linear model better by 0.05": _beside_linear(0.95)},
    "failure_region": {"90 % of wide trials fail": lambda seed: _failing(seed, is_region=True)},
    "slow_host": {
        "2 times slower": lambda seed: _hosts(seed, factor=2.0),
        "3 times slower, wide trials there": lambda seed: _hosts(seed, factor=3.0, is_confounded=True),
    },
    "best_at_border": {
        "optimum a decade above, random": _beyond_high("random"),
        "the same, 150 trials": _beyond_high("random", 150),
        "optimum a decade above, tpe": _beyond_high("tpe"),
        "optimum a decade below, random": _beyond_low,
        "linear range, random": _beyond_linear,
    },
    "pruner_too_eager": {"slow starters end best": lambda seed: _pruned(seed, is_misleading=True)},
    "noise_exceeds_differences": {
        "noise twice the signal, equal configurations": lambda seed: _repeated(seed, signal=0.5, noise=1.0),
        "noise twice the signal, repeats": lambda seed: _spread_over_repeats(seed, signal=0.005, noise=0.02),
    },
    "validation_too_small": {"100 examples": lambda seed: _validated(seed, num=100, low=0.88, high=0.92)},
    "seeds_overlap": {"noise as large as the signal": lambda seed: _repeated(seed, signal=1.0, noise=1.0)},
    "consulted_test_split": {"30 looks": _read(30)},
    "finetunes_all_on_few": {"300 images": _finetuned(300)},
    "past_point_of_return": {"80 of 100 trials without gain": _flat},
    "parameter_without_effect": {
        "one idle of five, random": _idle_parameter("random"),
        "one idle of five, tpe": _idle_parameter("tpe"),
    },
    "cheaper_as_good": {"a quarter is cheap and as good": lambda seed: _costly(seed, penalty=0.0)},
}
"""Rule -> studies in which it must speak."""

HEALTHY: dict[str, dict[str, Build]] = {
    "below_linear": {"linear model worse": _beside_linear(0.6)},
    "failure_region": {"25 % fail anywhere": lambda seed: _failing(seed, is_region=False)},
    "slow_host": {
        "equal hosts": lambda seed: _hosts(seed, factor=1.0),
        "equal hosts, wide trials on one": lambda seed: _hosts(seed, factor=1.0, is_confounded=True),
    },
    "best_at_border": {"optimum inside, random": lambda seed: study_of(bowl, seed, noise=0.05)},
    "pruner_too_eager": {"early order is the final one": lambda seed: _pruned(seed, is_misleading=False)},
    "noise_exceeds_differences": {
        "signal 3 times the noise, equal configurations": lambda seed: _repeated(seed, signal=3.0, noise=1.0),
        "signal 3 times the noise, repeats": lambda seed: _spread_over_repeats(seed, signal=0.03, noise=0.02),
    },
    "validation_too_small": {"20,000 examples": lambda seed: _validated(seed, num=20_000, low=0.7, high=0.95)},
    "seeds_overlap": {"signal 20 times the noise": lambda seed: _repeated(seed, signal=20.0, noise=1.0)},
    "consulted_test_split": {"1 look": _read(1)},
    "finetunes_all_on_few": {"50,000 images": _finetuned(50_000)},
    "past_point_of_return": {"still improving": _improving},
    "parameter_without_effect": {"all at work": lambda seed: study_of(bowl, seed, trials=120, noise=0.1)},
    "cheaper_as_good": {"cheap trials are worse": lambda seed: _costly(seed, penalty=0.05)},
}
"""Rule -> studies in which it must be silent."""

PLAIN_FUNCTIONS = [name for name in FUNCTIONS if name != "rosenbrock-10"]
"""The benchmark functions whose studies have no fault. Ten dimensions need more trials than these studies have."""
