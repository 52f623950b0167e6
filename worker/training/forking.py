"""Forks: a training that begins where another one stood, with other settings; the weights are the other's."""

from typing import Any

from worker.training.errors import ConfigError
from worker.training.seeding import set_stream_states
from worker.training.state import TrainState


def resume_or_fork(state: TrainState, saved: dict[str, Any] | None, fork_at: int, steps_per_epoch: int) -> None:
    """Continue a fork's own checkpoint, or begin it from the one it was forked from, that of epoch `fork_at`.

    Raises ConfigError where there is neither, or where the model is another one.
    """
    if saved is None:
        raise ConfigError("checkpoint_dir", f"the checkpoint of epoch {fork_at} to fork from is gone")
    if saved["origin"] == state.origin:
        state.restore(saved)
        return
    if saved["epoch"] != fork_at or saved["batch"]:
        raise ConfigError("checkpoint_dir", f"its checkpoint is of epoch {saved['epoch']}, not {fork_at}, to fork from")
    _take_over(state, saved)
    # The schedule goes by steps: with another batch size an epoch has another number of them.
    state.epoch, state.step = fork_at, fork_at * steps_per_epoch
    state.metrics = saved["metrics"]


def _take_over(state: TrainState, saved: dict[str, Any]) -> None:
    """The weights, and of the rest what the settings still agree on.

    What is counted begins anew: seconds, the best epoch, snapshots. So nothing that was trained before counts twice.
    """
    before, now = saved["origin"], state.origin
    try:
        state.model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ConfigError("model", f"a fork goes on with the weights it is forked from; {error}") from error
    if before["optimizer"]["name"] == now["optimizer"]["name"]:
        # Moments are kept; rates, decay and momentum are those of the new settings.
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
    if state.scaler.is_enabled() and saved["scaler"]:
        state.scaler.load_state_dict(saved["scaler"])
    if state.plateau is not None and before["schedule"] == now["schedule"]:
        state.plateau.state = saved["plateau"]
    if state.average is not None and saved["average"] is not None:
        state.average.load_state_dict(saved["average"])
    set_stream_states(saved["streams"], state.device)
