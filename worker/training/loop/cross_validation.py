"""Cross-validation: trains one model per fold and repeat (one model without these) in a single training.

In every epoch each replicate trains one epoch, one after the other. So the mean over all replicates is a learning curve
that pruners can judge step by step, and the end of an epoch is a checkpoint of all replicates.
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
from worker.training.seeding import derive, initial_rng_states, rng_states, set_rng_states
from worker.training.state import Best, TrainState, Weights


@dataclass(frozen=True)
class Replicate:
    """The model of one fold and repeat, with its data, its seed and its training state."""

    components: Components
    state: TrainState


class Replicates:
    """All models of one training. They have completed the same epochs, and the best epoch is that of their mean metric.

    Attributes:
        config: the configuration.
        first_epoch: the completed epochs at the start: 0, or the epoch of the fork.
        seconds: the time spent training, over all resumptions.
        metrics: the means over the replicates after the last epoch, as `mean_and_spread` returns them.
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
        """Build a replicate for each dataset (one per fold) and repeat.

        The replicates draw from torch's default random streams; the first replicate draws the same numbers as if it
        trained alone. All ranks of the group begin with the same weights. What they draw from then on (dropout,
        augmentation) differs from rank to rank.

        Args:
            config: the configuration.
            seed: the training's seed; the first replicate uses it as it is, the others derive theirs from it.
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
        self._replicates: list[Replicate] = []
        for index, dataset in enumerate([*datasets] * config.repeats):
            replicate_seed = derive(seed, f"member/{index}") if index else seed
            set_rng_states(initial_rng_states(replicate_seed, self._device), self._device)
            components, state = build(
                config, replicate_seed, dataset, constraints, group, teacher=teacher, folders=folders
            )
            self._replicates.append(Replicate(components, state))
            if not group.is_first:
                rank_states = initial_rng_states(derive(replicate_seed, f"rank/{group.rank}"), self._device)
                set_rng_states(rank_states, self._device)
            self._active = index
            self._store_rng_states()

    @property
    def each(self) -> Sequence[Replicate]:
        return self._replicates

    @property
    def epoch(self) -> int:
        """Number of epochs that every replicate has completed."""
        return self._replicates[0].state.epoch

    @property
    def batch(self) -> int:
        """Number of completed batches of the next epoch, summed over the replicates."""
        return sum(replicate.state.batch for replicate in self._replicates)

    @property
    def models(self) -> list[nn.Module]:
        """The evaluated models (averaged weights, if there are any) in evaluation mode."""
        return [replicate.state.eval_model.eval() for replicate in self._replicates]

    @property
    def seen(self) -> Training:
        """The training as callbacks see it."""
        return Training(
            config=self.config.to_mapping(),
            seed=self._seed,
            epoch=self.epoch,
            datasets=[replicate.components.dataset for replicate in self._replicates],
            models=[replicate.state.eval_model for replicate in self._replicates],
            optimizers=[replicate.state.optimizer for replicate in self._replicates],
        )

    @property
    def snapshots(self) -> list[Weights]:
        """The weights of all snapshots: those of the first replicate, then those of the next."""
        return [weights for replicate in self._replicates for weights in replicate.state.snapshots]

    def train_epoch(self, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
        """Train each replicate from its current state to the epoch's end, or until `poll` returns another verdict.

        Args:
            poll: asked before each optimizer step; any verdict but CONTINUE ends the epoch there.
            save: called after each optimizer step but a replicate's last; may save a checkpoint.

        Returns:
            CONTINUE at the end of the epoch, else the verdict of `poll`.
        """
        for index, replicate in enumerate(self._replicates):
            self._activate(index)
            if (verdict := train_epoch(replicate.components, replicate.state, poll, save)) is not Verdict.CONTINUE:
                return verdict
        return Verdict.CONTINUE

    def measure(self) -> list[dict[str, float]]:
        """Return each replicate's metrics after an epoch: its training loss, and those on `val` and `test_val`."""
        measured = zip(self._replicates, self.evaluate("val", "test_val"), strict=True)
        return self._group.broadcast(
            [{"train/loss": replicate.state.mean_loss(), **rest} for replicate, rest in measured]
        )

    def evaluate(self, *names: SplitName) -> list[dict[str, float]]:
        """Return the loss and metrics of each replicate on those splits of `names` that its dataset has."""
        return [_evaluated(replicate, replicate.state.eval_model, names) for replicate in self._replicates]

    def evaluate_snapshots(self, *names: SplitName) -> list[dict[str, float]]:
        """Return `snapshots/…` metrics: each replicate's snapshots, evaluated as one model that averages predictions.

        That is a snapshot ensemble (Huang et al. 2017).
        """
        measured = (_evaluated(replicate, _ensemble(replicate), names) for replicate in self._replicates)
        return [{f"snapshots/{name}": value for name, value in values.items()} for values in measured]

    def predict(self, *names: SplitName) -> dict[SplitName, Predictions]:
        """Return the predictions on each split of `names`: an example's mean over the replicates that hold it out.

        In a cross-validation each fold holds out other examples, so the predictions on `val` are out-of-fold. For
        language modelling there are no predictions, because an example has as many outputs as tokens.
        """
        data = self._replicates[0].components.dataset
        return {
            name: mean_by_id(
                [
                    predict(
                        each.state.eval_model,
                        each.components.dataset,
                        name,
                        each.components.link,
                        each.components.autocast,
                        group=self._group,
                    )
                    for each in self._replicates
                ]
            )
            for name in names
            if name in data.splits and data.kind != "language"
        }

    def complete_epoch(
        self, each: Sequence[dict[str, float]], callback_metrics: Mapping[str, float], monitor: Monitor | None
    ) -> None:
        """Record an epoch's metrics, and keep it as the best if the monitored mean is the best so far.

        Args:
            each: the metrics of each replicate, as `measure` returns them.
            callback_metrics: the callbacks' metrics by name.
            monitor: decides which epoch is the best; None: none is kept. A non-finite value is never the best.
        """
        for replicate, metrics in zip(self._replicates, each, strict=True):
            replicate.state.complete_epoch(metrics)
        self.metrics = {**mean_and_spread(each), **callback_metrics}
        if monitor is None or not math.isfinite(value := self.metrics[monitor.metric]):
            return
        if self.best is None or monitor.is_better(value, self.best.metrics[monitor.metric]):
            kept = [replicate.state.weights() for replicate in self._replicates] if monitor.keep == "best" else None
            self.best = Best(self.epoch, self.metrics, kept)

    def take_snapshot(self) -> None:
        """Keep a copy of the current weights for the snapshot ensemble."""
        for replicate in self._replicates:
            replicate.state.snapshots.append(replicate.state.weights())

    def restore_best(self) -> None:
        """Replace the last epoch's weights and metrics with those of the best epoch, if its weights are kept."""
        if self.best is not None and self.best.weights is not None:
            for replicate, weights in zip(self._replicates, self.best.weights, strict=True):
                replicate.state.eval_model.load_state_dict(weights)
            self.metrics = self.best.metrics

    def state_dict(self) -> dict[str, Any]:
        """Return everything that must survive a restart, as a mapping for `torch.load(weights_only=True)`."""
        self._store_rng_states()
        _, *others = self._group.all_gather([replicate.state.rng_states for replicate in self._replicates])
        return {
            "origin": self._origin,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "ended": self.ended,
            "best": None if self.best is None else vars(self.best),
            "replicates": [replicate.state.state_dict() for replicate in self._replicates],
            "rng_states_of_other_ranks": others,
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
        streams = [dict(replicate.state.rng_states) for replicate in self._replicates]
        is_own = self._fork_at is None or content["origin"] == self._origin
        if not is_own:
            fork([(replicate.components, replicate.state) for replicate in self._replicates], content, self._origin)
            self.metrics = content["metrics"]
        else:
            require_same("checkpoint_dir", content["origin"], self._origin)
            for replicate, saved in zip(self._replicates, content["replicates"], strict=True):
                replicate.state.load_state_dict(saved)
            self.seconds, self.metrics, self.ended = content["seconds"], content["metrics"], content["ended"]
            self.best = None if content["best"] is None else Best(**content["best"])
        if not self._group.is_first:
            others = content.get("rng_states_of_other_ranks", [])
            saved_streams = others[self._group.rank - 1] if self._group.rank <= len(others) else streams
            for replicate, fresh, each in zip(self._replicates, streams, saved_streams, strict=True):
                replicate.state.rng_states = fresh | each
        set_rng_states(self._replicates[self._active].state.rng_states, self._device)
        return is_own

    def _activate(self, index: int) -> None:
        """Switch torch's default random streams to those of replicate `index`."""
        self._store_rng_states()
        self._active = index
        set_rng_states(self._replicates[index].state.rng_states, self._device)

    def _store_rng_states(self) -> None:
        self._replicates[self._active].state.rng_states = rng_states(self._device)


def _evaluated(replicate: Replicate, model: nn.Module, names: tuple[SplitName, ...]) -> dict[str, float]:
    components = replicate.components
    return evaluate(
        model,
        components.loss,
        components.metrics,
        components.dataset,
        names,
        autocast=components.autocast,
        group=components.group,
    )


def _ensemble(replicate: Replicate) -> nn.Module:
    models = [copy.deepcopy(replicate.state.eval_model) for _ in replicate.state.snapshots]
    for model, weights in zip(models, replicate.state.snapshots, strict=True):
        model.load_state_dict(weights)
    return MeanOf(models, replicate.components.link)


def mean_and_spread(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's mean over the replicates, and with several its sample standard deviation `…/std`."""
    if len(each) == 1 or not each[0]:
        return dict(each[0])
    values = torch.tensor([list(metrics.values()) for metrics in each], dtype=torch.float64)
    means = dict(zip(each[0], values.mean(0).tolist(), strict=True))
    return means | {f"{name}/std": std for name, std in zip(each[0], values.std(0).tolist(), strict=True)}
