"""Parameter importance on the wire: which parameters distinguish a study's best trials from the others."""

from __future__ import annotations

from service.contract.base import Response


class ParameterImportance(Response):
    """The importance of one parameter, and the number of trials it was computed from."""

    name: str
    share: float
    """From 0 to 1. The shares of all parameters add up to 1, or each is 0 if no parameter distinguishes the trials."""
    num_trials: int
    """Number of trials that had the parameter. A conditional parameter is missing from some trials."""


class Importance(Response):
    """The importance of every parameter of a study, as of a revision."""

    revision: int
    num_trials: int
    """Number of ended trials that are observations."""
    num_best: int
    """Number of best trials, which are compared with all trials."""
    parameters: list[ParameterImportance]
    """The most important parameter first. Empty while there are too few trials."""
    notes: list[str]
