"""Random streams of one training, each with a seed of its own; the process's global streams stay untouched."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive(seed: int, purpose: str) -> int:
    """A seed for one purpose: streams of one training are independent, and adding one moves no other."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator of its own for `purpose`."""
    return torch.Generator(device).manual_seed(derive(seed, purpose))


@contextmanager
def own_stream(seed: int, device: torch.device) -> Iterator[None]:
    """Run with torch's default streams seeded from `seed`, and put them back afterwards.

    Initialisation and dropout draw from the default stream and take no generator, hence this fork of it.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        set_stream_states(first_states(seed, device), device)
        yield


def first_states(seed: int, device: torch.device) -> dict[str, Tensor]:
    """The states with which the default streams begin for `seed`."""
    states = {"cpu": generator(seed, "torch").get_state()}
    if device.type == "cuda":
        states["cuda"] = generator(seed, "torch", device).get_state()
    return states


def stream_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's default streams that training on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_stream_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the default streams where `stream_states` found them; a state of another kind of device is passed over."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
