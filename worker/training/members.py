"""The models that one training trains side by side: a fold and a repeat each, usually one; knows no report.

In every epoch each member trains its own, one after the other. So the mean over all of them is a curve, step by step,
that pruners can judge, and an epoch's end is a checkpoint of all.
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
from worker.training.assembly import Parts, assemble
from worker.training.callbacks import Training
from worker.training.config import LISTS, TrainingConfig
from worker.training.data import Dataset, SplitName
from worker.training.ensemble import MeanOf
from worker.training.epoch import train_epoch
from worker.training.evaluate import evaluate
from worker.training.events import Monitor, Verdict
from worker.training.forking import fork
from worker.training.parallel import ALONE, Group
from worker.training.predictions import Predictions, mean_by_id, predict
from worker.training.seeding import derive, first_states, set_stream_states, stream_states
from worker.training.state import Best, TrainState, Weights, require_same


@dataclass(frozen=True)
class Member:
    """One model with its data and its seed."""

    parts: Parts
    state: TrainState


class Members:
    """All members, as one training: they have done the same epochs, and keep the best of them by their mean.

    `seconds` were spent training, over all resumptions; `metrics` are the means of the last epoch. `ended` is a
    callback's reason to train no further, if there is one.
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
        group: Group = ALONE,
    ) -> None:
        """A member for each dataset (of a fold) and repeat; raises what `assemble` raises.

        Uses torch's default streams, the first member as if it were alone. With `fork_at` it is a fork, to begin with
        another training's checkpoint of that epoch. All ranks of the group begin with the same weights; what they
        draw from then on is each one's own.
        """
        self.config = config
        self.first_epoch = fork_at or 0
        self.seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.ended = ""
        self.best: Best | None = None
        self._fork_at = fork_at
        self._seed = seed
        # Who looks on may change.
        trained = {name: value for name, value in config.to_mapping().items() if name not in LISTS}
        self._origin = {"seed": seed, **trained} | ({} if fork_at is None else {"fork_at": fork_at})
        self._device = datasets[0].device
        self._group = group
        self._all: list[Member] = []
        for index, dataset in enumerate([*datasets] * config.repeats):
            own_seed = derive(seed, f"member/{index}") if index else seed
            set_stream_states(first_states(own_seed, self._device), self._device)
            parts, state = assemble(config, own_seed, dataset, constraints, group, teacher=teacher, folders=folders)
            self._all.append(Member(parts, state))
            if not group.is_first:
                own_streams = first_states(derive(own_seed, f"rank/{group.rank}"), self._device)
                set_stream_states(own_streams, self._device)
            self._turn = index
            self._put_streams_aside()

    @property
    def each(self) -> Sequence[Member]:
        return self._all

    @property
    def epoch(self) -> int:
        """How many epochs every member has completed."""
        return self._all[0].state.epoch

    @property
    def batch(self) -> int:
        """How many batches of the next epoch are done, of all members together."""
        return sum(member.state.batch for member in self._all)

    @property
    def models(self) -> list[nn.Module]:
        return [member.state.answering.eval() for member in self._all]

    @property
    def seen(self) -> Training:
        """The training as callbacks see it."""
        return Training(
            config=self.config.to_mapping(),
            seed=self._seed,
            epoch=self.epoch,
            datasets=[member.parts.dataset for member in self._all],
            models=[member.state.answering for member in self._all],
            optimizers=[member.state.optimizer for member in self._all],
        )

    @property
    def snapshots(self) -> list[Weights]:
        return [weights for member in self._all for weights in member.state.snapshots]

    def train_epoch(self, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
        """Train each member to the epoch's end, from where it stands, or until `poll` answers anything but CONTINUE."""
        for index, member in enumerate(self._all):
            self._give_turn(index)
            if (verdict := train_epoch(member.parts, member.state, poll, save)) is not Verdict.CONTINUE:
                return verdict
        return Verdict.CONTINUE

    def measure(self) -> list[dict[str, float]]:
        """What is reported after an epoch, of each member: its loss while training, then the held-out splits."""
        measured = zip(self._all, self.evaluate("val", "test_val"), strict=True)
        return self._group.told([{"train/loss": member.state.mean_loss(), **rest} for member, rest in measured])

    def evaluate(self, *names: SplitName) -> list[dict[str, float]]:
        """Loss and metrics of each member on the splits of `names` that its data has."""
        return [_evaluated(member, member.state.answering, names) for member in self._all]

    def evaluate_snapshots(self, *names: SplitName) -> list[dict[str, float]]:
        """The same as `snapshots/…` of each member's snapshots as one model, with the mean of what they answer.

        That is a snapshot ensemble (Huang et al. 2017).
        """
        measured = (_evaluated(member, _ensemble(member), names) for member in self._all)
        return [{f"snapshots/{name}": value for name, value in values.items()} for values in measured]

    def predict(self, *names: SplitName) -> dict[SplitName, Predictions]:
        """Of each of the splits named, for each example the mean over the members that hold it out.

        So those on `val` are out-of-fold in a cross-validation, where each fold holds out other examples. Of a
        language, whose examples have as many answers as tokens, there are none.
        """
        data = self._all[0].parts.dataset
        return {
            name: mean_by_id(
                [
                    predict(
                        each.state.answering,
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
        """Count an epoch with each member's metrics, and remember it if the monitor finds its means the best so far."""
        for member, metrics in zip(self._all, each, strict=True):
            member.state.complete_epoch(metrics)
        self.metrics = {**mean_and_spread(each), **of_callbacks}
        if monitor is None or not math.isfinite(value := self.metrics[monitor.metric]):
            return
        if self.best is None or monitor.is_better(value, self.best.metrics[monitor.metric]):
            kept = [member.state.weights() for member in self._all] if monitor.keep == "best" else None
            self.best = Best(self.epoch, self.metrics, kept)

    def take_snapshot(self) -> None:
        """Keep the weights as they are now, for an ensemble."""
        for member in self._all:
            member.state.snapshots.append(member.state.weights())

    def restore_best(self) -> None:
        """Put the best epoch's weights and metrics in the place of the last one's, where the best is kept."""
        if self.best is not None and self.best.weights is not None:
            for member, weights in zip(self._all, self.best.weights, strict=True):
                member.state.answering.load_state_dict(weights)
            self.metrics = self.best.metrics

    def content(self) -> dict[str, Any]:
        """All that must survive, as a mapping that `torch.load(weights_only=True)` reads back."""
        self._put_streams_aside()
        _, *others = self._group.gathered([member.state.streams for member in self._all])
        return {
            "origin": self._origin,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "ended": self.ended,
            "best": None if self.best is None else vars(self.best),
            "members": [member.state.content() for member in self._all],
            "streams_of_others": others,
        }

    def restore(self, content: dict[str, Any]) -> bool:
        """Continue where `content` was taken; ConfigError where it is of another configuration or seed.

        A fork goes on with its own, or begins with that of its parent; the answer is whether the checkpoint is its own.
        Ranks that it doesn't know go on with random streams as at their beginning.
        """
        streams = [dict(member.state.streams) for member in self._all]
        is_own = self._fork_at is None or content["origin"] == self._origin
        if not is_own:
            fork([(member.parts, member.state) for member in self._all], content, self._origin)
            self.metrics = content["metrics"]
        else:
            require_same("checkpoint_dir", content["origin"], self._origin)
            for member, saved in zip(self._all, content["members"], strict=True):
                member.state.restore(saved)
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
        """Let the default streams be those of this member."""
        self._put_streams_aside()
        self._turn = index
        set_stream_states(self._all[index].state.streams, self._device)

    def _put_streams_aside(self) -> None:
        self._all[self._turn].state.streams = stream_states(self._device)


def _evaluated(member: Member, model: nn.Module, names: tuple[SplitName, ...]) -> dict[str, float]:
    parts = member.parts
    return evaluate(model, parts.loss, parts.metrics, parts.dataset, names, autocast=parts.autocast, group=parts.group)


def _ensemble(member: Member) -> nn.Module:
    models = [copy.deepcopy(member.state.answering) for _ in member.state.snapshots]
    for model, weights in zip(models, member.state.snapshots, strict=True):
        model.load_state_dict(weights)
    return MeanOf(models, member.parts.link)


def mean_and_spread(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the members, and with several `…/std`, their sample standard deviation."""
    if len(each) == 1 or not each[0]:
        return dict(each[0])
    values = torch.tensor([list(metrics.values()) for metrics in each], dtype=torch.float64)
    means = dict(zip(each[0], values.mean(0).tolist(), strict=True))
    return means | {f"{name}/std": std for name, std in zip(each[0], values.std(0).tolist(), strict=True)}
