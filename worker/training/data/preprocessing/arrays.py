"""Preprocessing of arrays: rows or images of numbers, standardised by column or channel."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.number_checks import require_finite
from worker.training.errors import ConfigError


@dataclass(frozen=True)
class ArrayPreprocessing:
    """Turns an array of rows or images into features as training did.

    Attributes:
        shape: the shape of one example, (columns,) or (channels, height, width).
        means: the mean of each column or channel.
        deviations: their standard deviations; 1 where it does not vary.
        is_pixels: whether examples are images of uint8, which stay so until a batch is made.
        columns: the names of the columns of rows; empty: they have none.
        arrays: the names of the arrays of features and of ids in an archive, by role; empty: there is no archive.
    """

    shape: tuple[int, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    is_pixels: bool = False
    columns: tuple[str, ...] = ()
    arrays: tuple[tuple[str, str], ...] = ()
    kind: Literal["array"] = "array"

    def encode(self, values: NDArray[Any]) -> Tensor:
        """Return the features [n, *shape] of examples; images of one channel may lack its dimension.

        Raises:
            ConfigError: the examples have another shape or type, or a number is not finite.
        """
        if values.ndim == 3 and len(self.shape) == 3:
            values = values[:, np.newaxis]
        if values.shape[1:] != self.shape or values.dtype.kind not in "uifb":
            raise ConfigError(
                "data",
                f"the examples are {values.dtype} of the shape {list(values.shape[1:])}, but training's were numbers "
                f"of the shape {list(self.shape)}",
            )
        if self.is_pixels and values.dtype != np.uint8:
            raise ConfigError("data", f"the images are {values.dtype}, but training's were uint8, from 0 to 255")
        require_finite("data", "the array", values)
        return self.standardise(values)

    def standardise(self, values: NDArray[Any]) -> Tensor:
        """Return the features of examples of the right shape and type: pixels as they are, others standardised."""
        if self.is_pixels:
            return torch.from_numpy(np.ascontiguousarray(values))
        shape = (-1, *(1 for _ in self.shape[1:]))
        mean, deviation = (np.array(each).reshape(shape) for each in (self.means, self.deviations))
        return torch.from_numpy(((values - mean) / deviation).astype(np.float32))


def fit_array(values: NDArray[Any]) -> ArrayPreprocessing:
    """Fit the scale of rows [n, columns] or images [n, channels, height, width] of training."""
    axes = (0, *range(2, values.ndim))
    means, deviations = values.mean(axis=axes, dtype=np.float64), values.std(axis=axes, dtype=np.float64)
    # The deviation of equal numbers may differ from 0 by rounding.
    deviations = np.where(values.min(axis=axes) == values.max(axis=axes), 1.0, deviations)
    return ArrayPreprocessing(
        tuple(values.shape[1:]),
        tuple(float(each) for each in means),
        tuple(float(each) for each in deviations),
        is_pixels=values.dtype == np.uint8 and values.ndim == 4,
    )
