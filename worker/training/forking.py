"""Forks: a training that begins where another one stood, with other settings; the weights are the other's."""

from collections.abc import Sequence
from typing import Any

from worker.training.assembly import Parts
from worker.training.epoch import epoch_batches
from worker.training.errors import ConfigError
from worker.training.state import TrainState


def fork(models: Sequence[tuple[Parts, TrainState]], content: dict[str, Any], origin: dict[str, Any]) -> None:
    """Begin each model's training with its state in `content`, a checkpoint of another training's epoch `fork_at`.

    `origin` are the new settings. What is counted begins anew: seconds, the best epoch, snapshots. So nothing that was
    trained before counts twice. Raises ConfigError where the checkpoint is of another epoch or of other models.
    """
    at, saved = origin["fork_at"], content["members"]
    if saved[0]["epoch"] != at or any(each["batch"] for each in saved):
        raise ConfigError("fork_at", f"the checkpoint is of epoch {saved[0]['epoch']}, not of the end of epoch {at}")
    if len(saved) != len(models):
        raise ConfigError("folds", f"a fork goes on with the {len(saved)} models it is forked from, not {len(models)}")
    for (parts, state), each in zip(models, saved, strict=True):
        _take_over(state, each, content["origin"], origin)
        # The schedule goes by steps: with another batch size an epoch has another number of them.
        state.epoch, state.step = at, at * len(epoch_batches(parts, at))


def _take_over(state: TrainState, saved: dict[str, Any], before: dict[str, Any], now: dict[str, Any]) -> None:
    """The weights, and of the rest what the settings still agree on."""
    try:
        state.model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ConfigError("model", f"a fork goes on with the weights it is forked from; {error}") from error
    # With other weights to learn, or at other rates, the moments would be those of others.
    if before["optimizer"]["name"] == now["optimizer"]["name"] and before["finetune"] == now["finetune"]:
        # Moments are kept; rates, decay and momentum are those of the new settings.
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
    if state.scaler.is_enabled() and saved["scaler"]:
        state.scaler.load_state_dict(saved["scaler"])
    if state.plateau is not None and before["schedule"] == now["schedule"]:
        state.plateau.state = saved["plateau"]
    if state.average is not None and saved["average"] is not None:
        state.average.load_state_dict(saved["average"])
    state.streams |= saved["streams"]  # dropout goes on in the same sequence
    state.metrics = saved["metrics"]
