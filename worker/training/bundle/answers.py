"""Predictions on new examples: ids with classes and probabilities, or with values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.data import Kind


@dataclass(frozen=True)
class Answers:
    """The predictions of a bundle.

    Attributes:
        kind: the kind of task.
        ids: [n], the user's own ids, or positions from 0.
        outputs: [n, num_classes] probabilities; [n] values in the target's own unit; [n] scores of a ranking; or [n]
            the mean loss of each window of a text, in nats per token.
        class_names: the classes in order; for a text the tokens; empty for values and scores.
        next_tokens: [n], the most probable token after each window of a text; None: the task is another one.
        notes: what the user should know about the examples, one sentence each.
    """

    kind: Kind
    ids: NDArray[Any]
    outputs: NDArray[np.float32]
    class_names: tuple[str, ...] = ()
    next_tokens: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The probability of each class, [n, num_classes]; AttributeError for another kind of task."""
        if self.kind != "classification":
            raise AttributeError(f"a {self.kind} task has no probabilities of classes; use values")
        return self.outputs

    @property
    def classes(self) -> NDArray[Any]:
        """The most probable class of each example, [n]."""
        names: NDArray[Any] = np.array(self.class_names)[self.probabilities.argmax(1)]
        return names

    @property
    def values(self) -> NDArray[np.float32]:
        """The value, score or loss of each example, [n]; AttributeError for a classification."""
        if self.kind == "classification":
            raise AttributeError("a classification has no values; use classes or probabilities")
        return self.outputs

    def to_table(self, id_name: str = "id") -> pa.Table:
        """Return a table with the ids, `prediction`, and for a classification `p/CLASS` for each class.

        For a text the columns are `loss` and `next`, the most probable next token.
        """
        columns: dict[str, Any] = {id_name: pa.array(self.ids.tolist())}
        if self.kind == "language":
            assert self.next_tokens is not None
            columns |= {"loss": pa.array(self.outputs), "next": [self.class_names[each] for each in self.next_tokens]}
        elif self.kind == "classification":
            best = pa.array(self.outputs.argmax(1).astype(np.int32))
            columns["prediction"] = pa.DictionaryArray.from_arrays(best, pa.array(self.class_names)).cast(pa.string())
            columns |= {f"p/{name}": pa.array(self.outputs[:, index]) for index, name in enumerate(self.class_names)}
        else:
            columns["prediction"] = pa.array(self.outputs)
        return pa.table(columns)
