"""TPE through the bridge: random first, then better than random; every kind of trial is the right observation."""

from __future__ import annotations

from statistics import mean

from service.contract.base import Direction
from service.contract.trial import TrialState
from service.domain.history import History
from service.search import decide
from service.search.observations import is_observation
from service.search.samplers.tpe import TpeSampler
from tests.search.studies import begun, curve, played, record, smooth, study

SPEC = study(sampler={"name": "tpe", "startup_trials": 5})


def best(sampler: str, seed: int) -> float:
    history = played(study(sampler={"name": sampler, "seed": seed}, budget={"trials": 40}), smooth, at_once=2)
    found = history.best("minimize")
    assert found is not None
    assert found.value is not None
    return found.value


def test_it_beats_random_search_on_a_smooth_function() -> None:
    seeds = range(8)
    assert mean(best("tpe", seed) for seed in seeds) < 0.5 * mean(best("random", seed) for seed in seeds)


def test_it_says_what_it_learned_from() -> None:
    history = played(SPEC, smooth)
    reasons = [TpeSampler(SPEC.space, ("minimize",), 5).suggest(history, number, 0).reason for number in (3, 20)]
    assert reasons == [
        "tpe startup: random, 3 of 5 trials to learn from",
        "tpe: a model of 20 trials, 2 of them good",
    ]


def test_it_knows_exactly_which_trials_are_open() -> None:
    history = played(SPEC, smooth)
    half = History(trials=history.trials[:20])
    for _ in range(3):
        decision = decide.next_action(half, SPEC)
        assert isinstance(decision, decide.Suggest)
        half = begun(half, decision)
    assert (
        "20 trials, 2 of them good and 3 open ones to stay away from"
        in decide.next_action(half, SPEC).suggestion.reason
    )  # type: ignore[union-attr]


def test_open_trials_push_the_next_one_away() -> None:
    history = played(SPEC, smooth)
    alone = TpeSampler(SPEC.space, ("minimize",), 5).suggest(history, 30, 0)
    crowd = (record(30 + at, alone.parameters) for at in range(15))
    crowded = History(trials=(*history.trials, *crowd))
    assert TpeSampler(SPEC.space, ("minimize",), 5).suggest(crowded, 45, 0).parameters != alone.parameters


def test_it_learns_from_completed_pruned_and_infeasible_trials_only() -> None:
    lessons = [
        record(0, value=1.0),
        record(1, state=TrialState.PRUNED, series=curve(1.0)),
        record(2, state=TrialState.FAILED, infeasible=True),
    ]
    others = [record(3), record(4, state=TrialState.FAILED), record(5, state=TrialState.CANCELLED)]
    assert [is_observation(trial) for trial in [*lessons, *others]] == [True] * 3 + [False] * 3


def test_it_keeps_away_from_where_trials_were_infeasible() -> None:
    spec = study({"x": {"type": "float", "low": 0.0, "high": 1.0}}, sampler={"name": "tpe", "startup_trials": 0})
    half = [record(at, {"x": at / 40}, value=0.5) for at in range(20)]
    bad = [record(at, {"x": at / 40}, value=0.0, infeasible=True) for at in range(20, 40)]
    history = History(trials=(*half, *bad))
    drawn = [TpeSampler(spec.space, ("minimize",), 0).suggest(history, 40, seed).parameters["x"] for seed in range(20)]
    assert sum(x < 0.5 for x in drawn if isinstance(x, float)) >= 18


def test_larger_is_better_when_maximizing() -> None:
    spec = study({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    history = History(trials=tuple(record(at, {"x": at / 40}, value=float(at)) for at in range(40)))

    def drawn(direction: Direction) -> list[float]:
        tpe = TpeSampler(spec.space, (direction,), 5)
        values = [tpe.suggest(history, 40, seed).parameters["x"] for seed in range(10)]
        return [value for value in values if isinstance(value, float)]

    assert min(drawn("maximize")) > max(drawn("minimize"))
