"""Random streams of the replicates: each replicate draws from its own, on each process of a group.

Models and augmentations draw from torch's default streams, of which there is one per device. So the states of the
replicate that trains are set there, and those of the others are stored.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.training.distributed.group import Group
from worker.training.seeding import derive, initial_rng_states, rng_states, set_rng_states
from worker.training.state import TrainState

RngStates = dict[str, Tensor]
"""The states of torch's default streams, by kind of device."""


class RandomStreams:
    """Switches torch's default random streams between the replicates of a training.

    The first replicate draws the same numbers as if it trained alone. All processes of the group begin with the same
    weights. What they draw from then on (dropout, augmentation) differs from process to process.

    Args:
        seed: the training's seed; the first replicate uses it as it is, the others derive theirs from it.
        device: the device that trains.
        group: the processes that train together.
    """

    def __init__(self, seed: int, device: torch.device, group: Group) -> None:
        self._seed, self._device, self._group = seed, device, group
        self._owners: list[TrainState] = []
        self._initial: list[RngStates] = []
        self._active = 0

    def begin_replicate(self) -> int:
        """Seed the default streams for the next replicate, from which its weights are drawn, and return its seed."""
        index = len(self._owners)
        seed = derive(self._seed, f"member/{index}") if index else self._seed
        set_rng_states(initial_rng_states(seed, self._device), self._device)
        return seed

    def add_replicate(self, state: TrainState, seed: int) -> None:
        """Add the replicate that was built after `begin_replicate` returned `seed`; `state` stores its streams."""
        if not self._group.is_first:
            rank_seed = derive(seed, f"rank/{self._group.rank}")
            set_rng_states(initial_rng_states(rank_seed, self._device), self._device)
        self._owners.append(state)
        self._active = len(self._owners) - 1
        self._store()
        self._initial.append(dict(state.rng_states))  # a copy, because states are updated in place

    def activate(self, index: int) -> None:
        """Set the default streams to those of replicate `index`, and store those of the replicate before."""
        self._store()
        self._active = index
        self._set()

    def state_dict(self) -> list[list[RngStates]]:
        """Store the active streams, and return those of all processes but the first: by rank, then by replicate.

        A checkpoint holds the first process's streams in each replicate's own state.
        """
        self._store()
        _, *others = self._group.all_gather([owner.rng_states for owner in self._owners])
        return others

    def load_state_dict(self, others: Sequence[Sequence[RngStates]]) -> None:
        """Continue with the streams of a checkpoint, after each replicate's own state was restored.

        A process that the checkpoint does not know (it was written by fewer processes) keeps its initial streams.

        Args:
            others: what `state_dict` returned.
        """
        rank = self._group.rank
        if not self._group.is_first:
            saved = others[rank - 1] if rank <= len(others) else self._initial
            for owner, initial, states in zip(self._owners, self._initial, saved, strict=True):
                owner.rng_states = initial | states
        self._set()

    def _store(self) -> None:
        self._owners[self._active].rng_states = rng_states(self._device)

    def _set(self) -> None:
        set_rng_states(self._owners[self._active].rng_states, self._device)
