"""Independent random streams of one training, each with a seed derived for it.

The process's global streams are unchanged afterwards.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for one purpose, from SHA-256: streams are independent, and adding one changes no other."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a new generator on `device`, seeded for `purpose`."""
    return torch.Generator(device).manual_seed(derive(seed, purpose))


@contextmanager
def forked_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run with torch's default random streams seeded from `seed`, and restore them afterwards.

    Weight initialisation and dropout take no generator and draw from the default stream, so the stream itself is
    forked.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        set_rng_states(initial_rng_states(seed, device), device)
        yield


def initial_rng_states(seed: int, device: torch.device) -> dict[str, Tensor]:
    """Return the initial states of the default streams for `seed`, by kind of device (`cpu`, `cuda`)."""
    states = {"cpu": generator(seed, "torch").get_state()}
    if device.type == "cuda":
        states["cuda"] = generator(seed, "torch", device).get_state()
    return states


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """Return the current states of torch's default streams that training on `device` draws from, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_rng_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Set torch's default streams to these states; a state for a kind of device that is not in use is ignored."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
