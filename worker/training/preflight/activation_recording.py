"""Records the outputs of activation functions in a forward pass, whether they are modules or called as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_CONSTANT = 0.01
"""The largest share of examples for which a dead unit is not 0."""
_TANH_END, _SIGMOID_END = 0.99, 0.01


@dataclass(frozen=True)
class Activation:
    """The output of one activation function on a batch.

    Attributes:
        layer: the module that computed it.
        function: relu, tanh or sigmoid.
        stuck: for relu the share of its units that are 0 for nearly all examples (dead); for tanh and sigmoid the share
            of its values that are near an end (saturated).
    """

    layer: str
    function: str
    stuck: float


def _is_zero(values: Tensor) -> Tensor:
    return values == 0


def _is_tanh_end(values: Tensor) -> Tensor:
    return values.abs() > _TANH_END


def _is_sigmoid_end(values: Tensor) -> Tensor:
    return (values < _SIGMOID_END) | (values > 1 - _SIGMOID_END)


_FUNCTIONS: Mapping[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "relu": ("relu", _is_zero),
    "relu_": ("relu", _is_zero),
    "threshold": ("relu", _is_zero),
    "clamp_min": ("relu", _is_zero),
    "tanh": ("tanh", _is_tanh_end),
    "tanh_": ("tanh", _is_tanh_end),
    "hardtanh": ("tanh", _is_tanh_end),
    "sigmoid": ("sigmoid", _is_sigmoid_end),
    "sigmoid_": ("sigmoid", _is_sigmoid_end),
}


class ActivationRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator that a model calls. Use `record`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.activations: list[Activation] = []
        self.path: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call an operator, and record its output if it is an activation function."""
        output = func(*args, **(kwargs or {}))
        known = _FUNCTIONS.get(func.overloadpacket.__name__)
        if known is not None and isinstance(output, Tensor) and output.ndim >= 2:
            name, is_stuck = known
            stuck = is_stuck(output.detach())
            share = _dead_share(stuck) if name == "relu" else float(stuck.float().mean())
            self.activations.append(Activation(self.path[-1] if self.path else "", name, share))
        return output


@contextmanager
def record(model: nn.Module) -> Iterator[list[Activation]]:
    """Record the activation functions that `model` calls inside the block."""
    recorder = ActivationRecorder()
    handles = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: recorder.path.append(name)

    def leave(*_: object) -> None:
        recorder.path.pop()

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name or type(model).__name__)))
        handles.append(module.register_forward_hook(leave))
    try:
        with recorder:
            yield recorder.activations
    finally:
        for handle in handles:
            handle.remove()


def _dead_share(is_zero: Tensor) -> float:
    """Return the share of units that are 0 for nearly all examples.

    A unit is a channel of images [n, channels, height, width], else an element of the last dimension.
    """
    units = is_zero.movedim(1, -1) if is_zero.ndim == 4 else is_zero
    share_zero = units.flatten(0, -2).float().mean(0)
    return float((share_zero >= 1 - _CONSTANT).float().mean())
