"""Forks: a training that starts from the weights of another training's checkpoint, with other settings."""

from collections.abc import Sequence
from typing import Any

from worker.training.build import Components
from worker.training.errors import ConfigError
from worker.training.loop.epoch import epoch_batches
from worker.training.state import TrainState


def fork(replicates: Sequence[tuple[Components, TrainState]], content: dict[str, Any], origin: dict[str, Any]) -> None:
    """Start each model from its state in another training's checkpoint, taken at the end of epoch `fork_at`.

    Totals start anew (seconds, the best epoch, snapshots), so that nothing trained before counts twice.

    Args:
        replicates: the components and the state of each model; the states are changed in place.
        content: the checkpoint.
        origin: the new settings, with `fork_at`.

    Raises:
        ConfigError: the checkpoint is of another epoch, or of other models.
    """
    epoch, saved = origin["fork_at"], content["replicates"]
    if saved[0]["epoch"] != epoch or any(state["batch"] for state in saved):
        raise ConfigError("fork_at", f"the checkpoint is of epoch {saved[0]['epoch']}, not of the end of epoch {epoch}")
    if len(saved) != len(replicates):
        raise ConfigError("folds", f"a fork continues the {len(saved)} models of its checkpoint, not {len(replicates)}")
    for (components, state), saved_state in zip(replicates, saved, strict=True):
        _restore(state, saved_state, content["origin"], origin)
        # The schedule counts steps, and with another batch size an epoch has another number of steps.
        state.epoch, state.step = epoch, epoch * len(epoch_batches(components, epoch))


def _restore(state: TrainState, saved: dict[str, Any], saved_origin: dict[str, Any], origin: dict[str, Any]) -> None:
    """Copy the weights, and those parts of the state whose settings are unchanged."""
    try:
        state.model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ConfigError(
            "model", f"a fork continues the weights of its checkpoint, which do not fit this model; {error}"
        ) from error
    # If other weights are trained, or at other rates, the optimizer's moments don't apply.
    if (
        saved_origin["optimizer"]["name"] == origin["optimizer"]["name"]
        and saved_origin["finetune"] == origin["finetune"]
    ):
        # The moments are kept; rates, decay and momentum come from the new settings.
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
    if state.scaler.is_enabled() and saved["scaler"]:
        state.scaler.load_state_dict(saved["scaler"])
    if state.plateau is not None and saved_origin["schedule"] == origin["schedule"]:
        state.plateau.state = saved["plateau"]
    if state.average is not None:
        if saved["average"] is None:
            state.average.restart(state.model)
        else:
            state.average.load_state_dict(saved["average"])
    state.rng_states |= saved["rng_states"]  # dropout continues the same random sequence
    state.metrics = saved["metrics"]
