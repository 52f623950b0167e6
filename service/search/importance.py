"""Parameter importance by PED-ANOVA: which parameters distinguish a study's best trials; for display only."""

from __future__ import annotations

from service.contract.importance import Importance, ParameterImportance
from service.contract.study import StudySpec
from service.domain.history import History
from service.domain.other_data import stages_on_other_data
from service.domain.rungs import rungs_of
from service.search.observations import ObservationKind
from service.search.schedulers.rung_observations import observations_at_rung

MIN_TRIALS = 20
"""Smallest number of observations; with fewer, the result would be chance."""

_LEAST_BEST = 5
"""Smallest number of best trials, which are otherwise a tenth of all; a density of fewer trials says little."""

_FEW = 50
"""Number of trials below which a note calls the result a first impression; from here on, a tenth of them suffices."""


def importance(history: History, spec: StudySpec) -> Importance:
    """Compute each parameter's importance by PED-ANOVA (Watanabe, Bansal and Hutter 2023): the best trials versus all.

    Trials are ordered as TPE orders them. Completed ones come first, by value or, in a multi-objective study, by Pareto
    rank; then pruned ones by the step they reached and their value there, then infeasible ones. With a scheduler, all
    trials are compared at one rung, as the study's sampler compares them.
    """
    revision, notes = history.revision, []
    rungs = rungs_of(spec)
    if rungs is not None:
        history, compared = observations_at_rung(history, spec, rungs)
        notes.append(f"trials are compared {compared}")

    # Import NumPy and Optuna only when importance is requested.
    import numpy as np  # noqa: PLC0415

    from service.search.optuna_bridge.pareto import loss_rank  # noqa: PLC0415
    from service.search.optuna_bridge.ped_anova import divergences  # noqa: PLC0415
    from service.search.trial_matrix import trial_matrix_of  # noqa: PLC0415

    left_out = stages_on_other_data(spec)
    trials = [trial for trial in history.trials if trial.stage not in left_out]
    columns = trial_matrix_of(spec.space, trials, len(spec.objectives))
    is_observed = columns.roles <= ObservationKind.INFEASIBLE
    num_trials = int(is_observed.sum())
    if num_trials < MIN_TRIALS:
        notes.append(f"{num_trials} trials have ended so far; importance needs {MIN_TRIALS}")
        return Importance(revision=revision, num_trials=num_trials, num_best=0, parameters=[], notes=notes)
    losses = loss_rank(columns, spec.directions)
    keys = np.column_stack([columns.roles, -columns.steps, losses])[is_observed]
    # Equal trials share a rank, so that none of them is among the best by chance.
    places = np.unique(keys, axis=0, return_inverse=True)[1]
    cutoff = np.sort(places)[max(_LEAST_BEST, -(-num_trials // 10)) - 1]
    best = np.zeros(len(is_observed), bool)
    best[is_observed] = places <= cutoff
    found = divergences(spec.space, columns, is_observed, best)
    total = sum(found.values())
    if best.sum() == num_trials or not total:
        notes.append("no parameter separates the better trials from the others")
        found, total = dict.fromkeys(found, 0.0), 1.0
    elif num_trials < _FEW:
        notes.append(f"{num_trials} trials give a rough estimate; with {_FEW} it is more reliable")
    had = {name: int((is_observed & np.isfinite(columns.columns([name])[:, 0])).sum()) for name in found}
    return Importance(
        revision=revision,
        num_trials=num_trials,
        num_best=int(best.sum()),
        parameters=[
            ParameterImportance(name=name, share=found[name] / total, num_trials=had[name])
            for name in sorted(found, key=lambda name: (-found[name], name))
        ],
        notes=notes,
    )
