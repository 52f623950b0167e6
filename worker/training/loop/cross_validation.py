"""Cross-validation: trains one model per fold and repeat (one model without these) in a single training.

In every epoch each replicate trains one epoch, one after the other. So the mean over all replicates is a learning curve
that pruners can judge step by step, and the end of an epoch is a checkpoint of all replicates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.build import build
from worker.training.callbacks import Training
from worker.training.checkpoints.load import require_same
from worker.training.config import TrainingConfig
from worker.training.data import Dataset, SplitName
from worker.training.data.facts import describe_dataset
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.events import Monitor, Verdict
from worker.training.loop.best_epoch import BestTracker
from worker.training.loop.epoch import train_epoch
from worker.training.loop.fork import fork
from worker.training.loop.random_streams import RandomStreams
from worker.training.loop.replicate import Replicate
from worker.training.models.blocks import Blocks
from worker.training.predictions import Predictions, mean_by_id
from worker.training.state import Weights


class Replicates:
    """All models of one training. They have completed the same epochs, and the best epoch is that of their mean metric.

    Attributes:
        config: the configuration.
        seconds: the time spent training, over all resumptions.
        metrics: the means over the replicates after the last epoch, as `mean_and_spread` returns them.
        ended: a callback's reason to end training; empty: none.
        best: the best epoch so far.
    """

    def __init__(
        self,
        config: TrainingConfig,
        seed: int,
        datasets: Sequence[Dataset],
        constraints: Mapping[str, Any],
        fork_at: int | None = None,
        *,
        monitor: Monitor | None = None,
        teacher: Path | None = None,
        folders: AllowedFolders = ANYWHERE,
        group: Group = SINGLE_PROCESS,
    ) -> None:
        """Build a replicate for each dataset (one per fold) and repeat.

        The replicates draw from torch's default random streams, as `RandomStreams` describes.

        Args:
            config: the configuration.
            seed: the training's seed.
            datasets: one for each fold, or a single one.
            constraints: `{"parameters": {"max": n}}` or empty.
            fork_at: the epoch of another training's checkpoint from which this training forks; None: it is no fork.
            monitor: decides which epoch is the best; None: none is.
            teacher: the file of the checkpoint that `loss.teacher` names, where that is not a path.
            folders: the folders that the configuration's paths must lie in.
            group: the processes that train together.

        Raises:
            ConfigError: settings do not fit together.
            Infeasible: the model breaks a constraint.
            OutsideFolders: a path of the configuration lies outside the `folders`.
        """
        self.config = config
        self.seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.ended = ""
        self.best = BestTracker(monitor, fork_at or 0, config.min_delta)
        self._fork_at = fork_at
        self._seed = seed
        # Callbacks are left out: a checkpoint may be resumed with others.
        settings = {name: value for name, value in config.to_mapping().items() if name != "callbacks"}
        self._origin = {"seed": seed, **settings} | ({} if fork_at is None else {"fork_at": fork_at})
        self._preprocessing = [describe_dataset(dataset) for dataset in datasets]
        self._group = group
        self._streams = RandomStreams(seed, datasets[0].device, group)
        self._replicates: list[Replicate] = []
        for dataset in [*datasets] * config.repeats:
            replicate_seed = self._streams.begin_replicate()
            components, state = build(
                config, replicate_seed, dataset, constraints, group, teacher=teacher, folders=folders
            )
            self._streams.add_replicate(state, replicate_seed)
            self._replicates.append(Replicate(components, state))

    def __iter__(self) -> Iterator[Replicate]:
        return iter(self._replicates)

    @property
    def epoch(self) -> int:
        """Number of epochs that every replicate has completed."""
        return self._replicates[0].state.epoch

    @property
    def batch(self) -> int:
        """Number of completed batches of the next epoch, summed over the replicates."""
        return sum(replicate.state.batch for replicate in self)

    @property
    def num_parameters(self) -> int:
        """Number of trainable weights of the largest model."""
        return max(replicate.components.trainable.num_parameters for replicate in self)

    @property
    def models(self) -> list[nn.Module]:
        """The evaluated models (averaged weights, if there are any) in evaluation mode."""
        return [replicate.state.eval_model.eval() for replicate in self]

    @property
    def has_blocks(self) -> bool:
        """Whether the models have stacks of blocks, whose activations can be computed again instead of kept."""
        modules = self._replicates[0].state.model.modules()
        return any(isinstance(module, Blocks) for module in modules)

    @property
    def snapshots(self) -> list[Weights]:
        """The weights of all snapshots: those of the first replicate, then those of the next."""
        return [weights for replicate in self for weights in replicate.state.snapshots]

    @property
    def callback_view(self) -> Training:
        """The training as callbacks see it."""
        return Training(
            config=self.config.to_mapping(),
            seed=self._seed,
            epoch=self.epoch,
            datasets=[replicate.components.dataset for replicate in self],
            models=[replicate.state.eval_model for replicate in self],
            optimizers=[replicate.state.optimizer for replicate in self],
        )

    @property
    def reason_to_end(self) -> str:
        """A callback's reason to end training, or that of early stopping; an empty text: train on."""
        return self.ended or self.best.reason_to_stop(self.epoch, self.config.patience)

    def train_epoch(self, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
        """Train each replicate from its current state to the epoch's end, or until `poll` returns another verdict.

        Args:
            poll: asked before each optimizer step; any verdict but CONTINUE ends the epoch there.
            save: called after each optimizer step but a replicate's last; may save a checkpoint.

        Returns:
            CONTINUE at the end of the epoch, else the verdict of `poll`.
        """
        for index, replicate in enumerate(self):
            self._streams.activate(index)
            if (verdict := train_epoch(replicate.components, replicate.state, poll, save)) is not Verdict.CONTINUE:
                return verdict
        return Verdict.CONTINUE

    def measure(self) -> list[dict[str, float]]:
        """Return each replicate's metrics after an epoch: those on `val`, `test_val` and a sample of `train`."""
        return self._group.broadcast([each.evaluate("train", "val", "test_val") for each in self])

    def predict(self, *names: SplitName) -> dict[SplitName, Predictions]:
        """Return the predictions on each split of `names`: an example's mean over the replicates that hold it out.

        In a cross-validation each fold holds out other examples, so the predictions on `val` are out-of-fold. For
        language modelling there are no predictions, because an example has as many outputs as tokens.
        """
        data = self._replicates[0].components.dataset
        return {
            name: mean_by_id([replicate.predict(name) for replicate in self])
            for name in names
            if name in data.splits and data.kind != "language"
        }

    def complete_epoch(self, values: Sequence[dict[str, float]], callback_metrics: Mapping[str, float]) -> None:
        """Record an epoch's metrics, and keep it as the best if the monitored mean is the best so far.

        Args:
            values: the metrics of each replicate, as `measure` returns them.
            callback_metrics: the callbacks' metrics by name.
        """
        for replicate, metrics in zip(self, values, strict=True):
            replicate.state.complete_epoch(metrics)
        self.metrics = {**mean_and_spread(values), **callback_metrics}
        self.best.update(self.epoch, self.metrics, lambda: [replicate.state.weights() for replicate in self])

    def take_snapshot(self) -> None:
        """Keep a copy of the current weights for the snapshot ensemble."""
        for replicate in self:
            replicate.state.snapshots.append(replicate.state.weights())

    def restore_best(self) -> None:
        """Replace the last epoch's weights and metrics with those of the best epoch, if its weights are kept."""
        best = self.best.epoch
        if best is not None and best.weights is not None:
            for replicate, weights in zip(self, best.weights, strict=True):
                replicate.state.eval_model.load_state_dict(weights)
            self.metrics = best.metrics

    def state_dict(self) -> dict[str, Any]:
        """Return everything that must survive a restart, as a mapping for `torch.load(weights_only=True)`."""
        other_ranks = self._streams.state_dict()  # first, because it stores the active random streams
        return {
            "origin": self._origin,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "ended": self.ended,
            "best": self.best.state_dict(),
            # One per fold: a model is of the dataset at its own index modulo their number.
            "preprocessing": self._preprocessing,
            "replicates": [replicate.state.state_dict() for replicate in self],
            "rng_states_of_other_ranks": other_ranks,
        }

    def load_state_dict(self, content: dict[str, Any]) -> bool:
        """Continue from a checkpoint's `content`.

        A fork restores its own checkpoint, or else begins with its parent's.

        Returns:
            Whether the checkpoint is this training's own: False for a fork that begins with its parent's.

        Raises:
            ConfigError: the checkpoint is of another configuration or seed.
        """
        is_own = self._fork_at is None or content["origin"] == self._origin
        if is_own:
            require_same("checkpoint_dir", content["origin"], self._origin)
            for replicate, saved in zip(self, content["replicates"], strict=True):
                replicate.state.load_state_dict(saved)
            self.seconds, self.metrics, self.ended = content["seconds"], content["metrics"], content["ended"]
            self.best.load_state_dict(content["best"])
        else:
            fork([(replicate.components, replicate.state) for replicate in self], content, self._origin)
            self.metrics = content["metrics"]
        self._streams.load_state_dict(content.get("rng_states_of_other_ranks", []))
        return is_own


def mean_and_spread(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's mean over the replicates, and with several its sample standard deviation `…/std`.

    Args:
        values: the metrics of each replicate. A metric that some replicate lacks is left out, such as R² over folds of
            which one validates with a single example.
    """
    names = [name for name in values[0] if all(name in metrics for metrics in values)]
    if len(values) == 1 or not names:
        return {name: values[0][name] for name in names}
    table = torch.tensor([[metrics[name] for name in names] for metrics in values], dtype=torch.float64)
    means = dict(zip(names, table.mean(0).tolist(), strict=True))
    return means | {f"{name}/std": std for name, std in zip(names, table.std(0).tolist(), strict=True)}
