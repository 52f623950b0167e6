"""The report of `study errors` as data: what `--json` prints in format 1, and what the pages render.

Keys may be added to a format; a key that is renamed or removed makes a new format.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Kind = Literal["classification", "regression", "ranking"]


class ErrorExample(BaseModel):
    """One example and the model's answer."""

    id: int | str
    label: str
    """The class or the value in the data; of a ranking's query the number of its rows."""
    prediction: str
    """The predicted class or value; of a ranking's query its NDCG."""
    probability: float | None = None
    """The probability of the predicted class."""
    label_probability: float | None = None
    """The probability of the class in the data."""
    loss: float
    """Cross-entropy of the class in the data, absolute error, or 1 - NDCG."""
    values: dict[str, str] = {}
    """The example's row in the data file; empty: it was not read, or the example has no columns."""
    text: str | None = None
    image: str | None = None
    """A small PNG as a data URI."""


class ErrorGroup(BaseModel):
    """The error of the examples that have something in common."""

    name: str
    num_examples: int
    num_mistakes: int | None = None
    """null: the examples have errors of any size, not mistakes."""
    error: float
    """The share of mistakes, the mean absolute error, or the mean of 1 - NDCG."""
    error_of_rest: float | None = None
    """null: there is no other example."""
    low: float | None = None
    """The lower end of the 95 % interval of `error - error_of_rest`."""
    high: float | None = None
    is_beyond_noise: bool = False
    """Whether the difference is more than chance explains, corrected for the number of groups compared."""
    share_of_error: float
    """Its share of all mistakes, or of the sum of all errors."""
    value_if_fixed: float
    """The metric if every example of the group were right."""
    gain: float
    """By how much the metric would be better."""


class ColumnGroup(ErrorGroup):
    """The examples with one value, or a range of values, of a column."""

    column: str


class Category(BaseModel):
    """The groups of a category that the user named."""

    name: str
    """The column, or the file."""
    groups: list[ErrorGroup]
    num_without: int
    """The number of examples without a category."""


class ConfusedPair(BaseModel):
    """Examples of one class that the model takes for another class."""

    label: str
    prediction: str
    num_examples: int
    share_of_error: float
    value_if_fixed: float
    gain: float
    ids: list[int | str]
    """Up to `--top` of them, the worst first."""


class LabelSuspect(ErrorExample):
    """An example whose label is probably wrong."""

    suggested: str
    """The class that the trials agree on, or the median of their values."""
    confidence: float
    """The trials' mean probability of that class; of a value the residual in robust standard deviations."""
    num_agreeing: int
    """The number of trials that predict that class; of a value those on the same side of it."""


class LabelErrors(BaseModel):
    """Examples on which good trials agree against the label."""

    trials: list[str]
    """The trials that are used: those within noise of the best."""
    num_kept: int
    """The number of trials with kept predictions."""
    num_independent: float
    """The number of independent trials that they count as."""
    num_suspects: int
    suspects: list[LabelSuspect]
    """Up to `--top` of them, the likeliest first."""


class ErrorsReport(BaseModel):
    """What `study errors` says of a trial's model."""

    format: int = 1
    study: str
    trial: str
    split: str
    kind: Kind
    num_examples: int
    num_mistakes: int | None
    metric: str
    """What gains are measured in."""
    is_maximized: bool
    value: float
    """The metric now, computed from the predictions."""
    data: str | None
    """The data file that was read; null: none."""
    notes: list[str]
    worst: list[ErrorExample]
    confusions: list[ConfusedPair]
    num_confused_pairs: int
    classes: list[ErrorGroup]
    """The error by class, or by ranges of the target; the largest possible gain first."""
    columns: list[ColumnGroup]
    """The groups of columns whose error differs from the rest by more than noise."""
    num_columns: int
    """The number of columns compared, derived ones such as the length of a text among them."""
    num_groups_compared: int
    categories: list[Category]
    label_errors: LabelErrors | None
