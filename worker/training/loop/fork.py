"""Forks: a training that starts from the weights of another training's checkpoint, with other settings."""

from collections.abc import Sequence
from typing import Any

from worker.training.build import Components
from worker.training.errors import ConfigError
from worker.training.loop.epoch import epoch_batches
from worker.training.state import TrainState


def fork(models: Sequence[tuple[Components, TrainState]], content: dict[str, Any], origin: dict[str, Any]) -> None:
    """Start each model from its state in another training's checkpoint, taken at the end of epoch `fork_at`.

    Totals start anew (seconds, the best epoch, snapshots), so that nothing trained before counts twice.

    Args:
        models: the components and the state of each model; the states are changed in place.
        content: the checkpoint.
        origin: the new settings, with `fork_at`.

    Raises:
        ConfigError: the checkpoint is of another epoch, or of other models.
    """
    at, saved = origin["fork_at"], content["members"]
    if saved[0]["epoch"] != at or any(each["batch"] for each in saved):
        raise ConfigError("fork_at", f"the checkpoint is of epoch {saved[0]['epoch']}, not of the end of epoch {at}")
    if len(saved) != len(models):
        raise ConfigError("folds", f"a fork goes on with the {len(saved)} models it is forked from, not {len(models)}")
    for (parts, state), each in zip(models, saved, strict=True):
        _take_over(state, each, content["origin"], origin)
        # The schedule counts steps, and with another batch size an epoch has another number of steps.
        state.epoch, state.step = at, at * len(epoch_batches(parts, at))


def _take_over(state: TrainState, saved: dict[str, Any], before: dict[str, Any], now: dict[str, Any]) -> None:
    """Copy the weights, and those parts of the state whose settings are unchanged."""
    try:
        state.model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ConfigError("model", f"a fork goes on with the weights it is forked from; {error}") from error
    # If other weights are trained, or at other rates, the optimizer's moments don't apply.
    if before["optimizer"]["name"] == now["optimizer"]["name"] and before["finetune"] == now["finetune"]:
        # The moments are kept; rates, decay and momentum come from the new settings.
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
    if state.scaler.is_enabled() and saved["scaler"]:
        state.scaler.load_state_dict(saved["scaler"])
    if state.plateau is not None and before["schedule"] == now["schedule"]:
        state.plateau.state = saved["plateau"]
    if state.average is not None and saved["average"] is not None:
        state.average.load_state_dict(saved["average"])
    state.streams |= saved["streams"]  # dropout continues the same random sequence
    state.metrics = saved["metrics"]
