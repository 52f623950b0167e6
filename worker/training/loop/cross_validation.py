"""Cross-validation: trains one model per fold and repeat (one model without these) in a single training.

In every epoch each member trains one epoch, one after the other. So the mean over all members is a learning curve that
pruners can judge step by step, and the end of an epoch is a checkpoint of all members.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.build import Components, build
from worker.training.callbacks import Training
from worker.training.checkpoints.load import require_same
from worker.training.components.ensemble import MeanOf
from worker.training.config import LISTS, TrainingConfig
from worker.training.data import Dataset, SplitName
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.evaluate import evaluate
from worker.training.events import Monitor, Verdict
from worker.training.loop.epoch import train_epoch
from worker.training.loop.fork import fork
from worker.training.predictions import Predictions, mean_by_id, predict
from worker.training.seeding import derive, first_states, set_stream_states, stream_states
from worker.training.state import Best, TrainState, Weights


@dataclass(frozen=True)
class Replicate:
    """The model of one fold and repeat, with its data, its seed and its training state."""

    parts: Components
    state: TrainState


class Replicates:
    """All models of one training. They have completed the same epochs, and the best epoch is that of their mean metric.

    Attributes:
        config: the configuration.
        first_epoch: the completed epochs at the start: 0, or the epoch of the fork.
        seconds: the time spent training, over all resumptions.
        metrics: the means over the members after the last epoch, as `mean_and_spread` returns them.
        ended: a callback's reason to end training; empty: none.
        best: the best epoch so far by the monitor; None: none yet, or no monitor.
    """

    def __init__(
        self,
        config: TrainingConfig,
        seed: int,
        datasets: Sequence[Dataset],
        constraints: Mapping[str, Any],
        fork_at: int | None = None,
        *,
        teacher: Path | None = None,
        folders: AllowedFolders = ANYWHERE,
        group: Group = SINGLE_PROCESS,
    ) -> None:
        """Build a member for each dataset (one per fold) and repeat.

        The members draw from torch's default random streams; the first member draws the same numbers as if it trained
        alone. All ranks of the group begin with the same weights. What they draw from then on (dropout, augmentation)
        differs from rank to rank.

        Args:
            config: the configuration.
            seed: the training's seed; the first member uses it as it is, the others derive theirs from it.
            datasets: one for each fold, or a single one.
            constraints: `{"parameters": {"max": n}}` or empty.
            fork_at: the epoch of another training's checkpoint from which this training forks; None: it is no fork.
            teacher: the file of the checkpoint that `loss.teacher` names, where that is not a path.
            folders: the folders that the configuration's paths must lie in.
            group: the processes that train together.

        Raises:
            ConfigError: settings do not fit together.
            Infeasible: the model breaks a constraint.
            OutsideFolders: a path of the configuration lies outside the `folders`.
        """
        self.config = config
        self.first_epoch = fork_at or 0
        self.seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.ended = ""
        self.best: Best | None = None
        self._fork_at = fork_at
        self._seed = seed
        # Callbacks are left out: a checkpoint may be resumed with others.
        trained = {name: value for name, value in config.to_mapping().items() if name not in LISTS}
        self._origin = {"seed": seed, **trained} | ({} if fork_at is None else {"fork_at": fork_at})
        self._device = datasets[0].device
        self._group = group
        self._all: list[Replicate] = []
        for index, dataset in enumerate([*datasets] * config.repeats):
            own_seed = derive(seed, f"member/{index}") if index else seed
            set_stream_states(first_states(own_seed, self._device), self._device)
            parts, state = build(config, own_seed, dataset, constraints, group, teacher=teacher, folders=folders)
            self._all.append(Replicate(parts, state))
            if not group.is_first:
                own_streams = first_states(derive(own_seed, f"rank/{group.rank}"), self._device)
                set_stream_states(own_streams, self._device)
            self._turn = index
            self._put_streams_aside()

    @property
    def each(self) -> Sequence[Replicate]:
        return self._all

    @property
    def epoch(self) -> int:
        """Number of epochs that every member has completed."""
        return self._all[0].state.epoch

    @property
    def batch(self) -> int:
        """Number of completed batches of the next epoch, summed over the members."""
        return sum(member.state.batch for member in self._all)

    @property
    def models(self) -> list[nn.Module]:
        """The evaluated models (averaged weights, if there are any) in evaluation mode."""
        return [member.state.eval_model.eval() for member in self._all]

    @property
    def seen(self) -> Training:
        """The training as callbacks see it."""
        return Training(
            config=self.config.to_mapping(),
            seed=self._seed,
            epoch=self.epoch,
            datasets=[member.parts.dataset for member in self._all],
            models=[member.state.eval_model for member in self._all],
            optimizers=[member.state.optimizer for member in self._all],
        )

    @property
    def snapshots(self) -> list[Weights]:
        """The weights of all snapshots: those of the first member, then those of the next."""
        return [weights for member in self._all for weights in member.state.snapshots]

    def train_epoch(self, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
        """Train each member to the end of the epoch, from its current state, or until `poll` returns another verdict.

        Args:
            poll: asked before each optimizer step; any verdict but CONTINUE ends the epoch there.
            save: called after each optimizer step but a member's last; may save a checkpoint.

        Returns:
            CONTINUE at the end of the epoch, else the verdict of `poll`.
        """
        for index, member in enumerate(self._all):
            self._give_turn(index)
            if (verdict := train_epoch(member.parts, member.state, poll, save)) is not Verdict.CONTINUE:
                return verdict
        return Verdict.CONTINUE

    def measure(self) -> list[dict[str, float]]:
        """Return each member's metrics after an epoch: its training loss, and those on `val` and `test_val`."""
        measured = zip(self._all, self.evaluate("val", "test_val"), strict=True)
        return self._group.broadcast([{"train/loss": member.state.mean_loss(), **rest} for member, rest in measured])

    def evaluate(self, *names: SplitName) -> list[dict[str, float]]:
        """Return the loss and metrics of each member on those splits of `names` that its dataset has."""
        return [_evaluated(member, member.state.eval_model, names) for member in self._all]

    def evaluate_snapshots(self, *names: SplitName) -> list[dict[str, float]]:
        """Return `snapshots/…` metrics: each member's snapshots, evaluated as one model that averages predictions.

        That is a snapshot ensemble (Huang et al. 2017).
        """
        measured = (_evaluated(member, _ensemble(member), names) for member in self._all)
        return [{f"snapshots/{name}": value for name, value in values.items()} for values in measured]

    def predict(self, *names: SplitName) -> dict[SplitName, Predictions]:
        """Return the predictions on each split of `names`: for each example the mean over the members that hold it out.

        In a cross-validation each fold holds out other examples, so the predictions on `val` are out-of-fold. For
        language modelling there are no predictions, because an example has as many outputs as tokens.
        """
        data = self._all[0].parts.dataset
        return {
            name: mean_by_id(
                [
                    predict(
                        each.state.eval_model,
                        each.parts.dataset,
                        name,
                        each.parts.link,
                        each.parts.autocast,
                        group=self._group,
                    )
                    for each in self._all
                ]
            )
            for name in names
            if name in data.splits and data.kind != "language"
        }

    def complete_epoch(
        self, each: Sequence[dict[str, float]], of_callbacks: Mapping[str, float], monitor: Monitor | None
    ) -> None:
        """Record an epoch's metrics, and keep it as the best if the monitored mean is the best so far.

        Args:
            each: the metrics of each member, as `measure` returns them.
            of_callbacks: the callbacks' metrics by name.
            monitor: decides which epoch is the best; None: none is kept. A non-finite value is never the best.
        """
        for member, metrics in zip(self._all, each, strict=True):
            member.state.complete_epoch(metrics)
        self.metrics = {**mean_and_spread(each), **of_callbacks}
        if monitor is None or not math.isfinite(value := self.metrics[monitor.metric]):
            return
        if self.best is None or monitor.is_better(value, self.best.metrics[monitor.metric]):
            kept = [member.state.weights() for member in self._all] if monitor.keep == "best" else None
            self.best = Best(self.epoch, self.metrics, kept)

    def take_snapshot(self) -> None:
        """Keep a copy of the current weights for the snapshot ensemble."""
        for member in self._all:
            member.state.snapshots.append(member.state.weights())

    def restore_best(self) -> None:
        """Replace the last epoch's weights and metrics with those of the best epoch, if its weights are kept."""
        if self.best is not None and self.best.weights is not None:
            for member, weights in zip(self._all, self.best.weights, strict=True):
                member.state.eval_model.load_state_dict(weights)
            self.metrics = self.best.metrics

    def state_dict(self) -> dict[str, Any]:
        """Return everything that must survive a restart, as a mapping for `torch.load(weights_only=True)`."""
        self._put_streams_aside()
        _, *others = self._group.all_gather([member.state.streams for member in self._all])
        return {
            "origin": self._origin,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "ended": self.ended,
            "best": None if self.best is None else vars(self.best),
            "members": [member.state.state_dict() for member in self._all],
            "streams_of_others": others,
        }

    def load_state_dict(self, content: dict[str, Any]) -> bool:
        """Continue from a checkpoint's `content`.

        A fork restores its own checkpoint, or else begins with its parent's. A rank that the checkpoint does not know
        (it was written by fewer processes) keeps its initial random streams.

        Returns:
            Whether the checkpoint is this training's own: False for a fork that begins with its parent's.

        Raises:
            ConfigError: the checkpoint is of another configuration or seed.
        """
        streams = [dict(member.state.streams) for member in self._all]
        is_own = self._fork_at is None or content["origin"] == self._origin
        if not is_own:
            fork([(member.parts, member.state) for member in self._all], content, self._origin)
            self.metrics = content["metrics"]
        else:
            require_same("checkpoint_dir", content["origin"], self._origin)
            for member, saved in zip(self._all, content["members"], strict=True):
                member.state.load_state_dict(saved)
            self.seconds, self.metrics, self.ended = content["seconds"], content["metrics"], content["ended"]
            self.best = None if content["best"] is None else Best(**content["best"])
        if not self._group.is_first:
            others = content.get("streams_of_others", [])
            saved_streams = others[self._group.rank - 1] if self._group.rank <= len(others) else streams
            for member, fresh, each in zip(self._all, streams, saved_streams, strict=True):
                member.state.streams = fresh | each
        set_stream_states(self._all[self._turn].state.streams, self._device)
        return is_own

    def _give_turn(self, index: int) -> None:
        """Switch torch's default random streams to those of member `index`."""
        self._put_streams_aside()
        self._turn = index
        set_stream_states(self._all[index].state.streams, self._device)

    def _put_streams_aside(self) -> None:
        self._all[self._turn].state.streams = stream_states(self._device)


def _evaluated(member: Replicate, model: nn.Module, names: tuple[SplitName, ...]) -> dict[str, float]:
    parts = member.parts
    return evaluate(model, parts.loss, parts.metrics, parts.dataset, names, autocast=parts.autocast, group=parts.group)


def _ensemble(member: Replicate) -> nn.Module:
    models = [copy.deepcopy(member.state.eval_model) for _ in member.state.snapshots]
    for model, weights in zip(models, member.state.snapshots, strict=True):
        model.load_state_dict(weights)
    return MeanOf(models, member.parts.link)


def mean_and_spread(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's mean over the members, and with several members its sample standard deviation `…/std`."""
    if len(each) == 1 or not each[0]:
        return dict(each[0])
    values = torch.tensor([list(metrics.values()) for metrics in each], dtype=torch.float64)
    means = dict(zip(each[0], values.mean(0).tolist(), strict=True))
    return means | {f"{name}/std": std for name, std in zip(each[0], values.std(0).tolist(), strict=True)}
