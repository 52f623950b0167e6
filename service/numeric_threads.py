"""Limits the numerical libraries of the service to one thread."""

from __future__ import annotations

import os

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What OpenBLAS, MKL and OpenMP read when they are loaded."""


def use_one_thread() -> None:
    """Let numerical libraries that are loaded later use one thread, unless the environment says otherwise.

    The matrices of samplers are small: more threads would only wait for each other, and the results of a sum would
    depend on their number, so that a replica with other cores would suggest other configurations.
    """
    for variable in _VARIABLES:
        os.environ.setdefault(variable, "1")
