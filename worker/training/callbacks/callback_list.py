"""Calls all callbacks of a training: names the one that raised, and refuses state that a checkpoint can't hold."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from worker.training.callbacks.callback import Callback, Training
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.events import Report, TrainingResult


class CallbackList:
    """Calls each callback in order.

    A second callback of the same name is called `NAME-2`. Every rank of a group has a CallbackList.
    """

    def __init__(self, named: Sequence[tuple[str, Callback]], group: Group = SINGLE_PROCESS) -> None:
        self._group = group
        self._callbacks: dict[str, Callback] = {}
        for name, callback in named:
            num_before = sum(other.partition("-")[0] == name for other in self._callbacks)
            self._callbacks[f"{name}-{num_before + 1}" if num_before else name] = callback

    def begin(self, training: Training, states: Mapping[str, Any]) -> None:
        """Restore each callback's state from a checkpoint if it has one there, and call `on_begin`."""
        for name, callback in self._callbacks.items():
            with _add_note(f"callback {name!r}, before the first step"):
                if name in states:
                    callback.load_state_dict(states[name])
                callback.on_begin(training)

    def measure(self, taken: Collection[str]) -> dict[str, float]:
        """Return the metrics of all callbacks.

        Raises:
            ValueError: a callback uses a name that is already `taken` or used by another.
        """
        metrics: dict[str, float] = {}
        for name, callback in self._callbacks.items():
            with _add_note(f"callback {name!r}, measuring"):
                for metric, value in callback.measure().items():
                    if metric in taken or metric in metrics:
                        raise ValueError(f"metric {metric!r} is reported already; give it another name")
                    metrics[metric] = float(value)
        return self._group.broadcast(metrics)

    def report(self, report: Report) -> str:
        """Call `on_report` of all callbacks; return the first reason to end the training, or an empty text."""
        reason = ""
        for name, callback in self._callbacks.items():
            with _add_note(f"callback {name!r}, after epoch {report.step}"):
                answer = callback.on_report(report)
                if answer is not None and not (isinstance(answer, str) and answer):
                    raise TypeError(f"on_report must return a reason to end training, or None; it returned {answer!r}")
            reason = reason or answer or ""
        return self._group.broadcast(reason)

    def end(self, result: TrainingResult) -> None:
        for name, callback in self._callbacks.items():
            with _add_note(f"callback {name!r}, after the last epoch"):
                callback.on_end(result)

    def close(self) -> None:
        """Close all callbacks, even if one of them raises."""
        with ExitStack() as stack:
            for name, callback in self._callbacks.items():
                stack.callback(_close, name, callback)

    def state_dict(self) -> dict[str, Any]:
        """Return the callbacks' states for a checkpoint, by name; empty states are left out.

        Raises:
            TypeError: a state holds something that `torch.load(weights_only=True)` refuses.
        """
        states = {}
        for name, callback in self._callbacks.items():
            with _add_note(f"callback {name!r}, saving"):
                if state := callback.state_dict():
                    _require_plain(state)
                    states[name] = state
        return states


def _require_plain(state: Mapping[str, Any]) -> None:
    # A checkpoint that can't be read is worse than none, so this is checked before it is written.
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    if types := get_unsafe_globals_in_checkpoint(file):
        raise TypeError(
            f"state_dict may only hold tensors, numbers, texts, lists and mappings; it holds {', '.join(types)}"
        )


def _close(name: str, callback: Callback) -> None:
    with _add_note(f"callback {name!r}, closing"):
        callback.close()


@contextmanager
def _add_note(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by {where}")
        raise
