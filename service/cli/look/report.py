"""The report of `study look`: plain data with stable keys, printed as JSON, as a terminal page or as an HTML page."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from service.cli.data_columns import ColumnKind

Level = Literal["error", "warning", "note"]

LEFT_OUT = frozenset({"constant", "empty", "identifier", "dates", "unreadable"})
"""Rules whose columns a study leaves out: nothing can be learned from them."""


class Part(BaseModel):
    """Base class of the report's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Finding(Part):
    """Something about the data that a user should know before training."""

    rule: str
    level: Level
    """error: training refuses the data as they are; warning: the result will be worse or wrong; note: worth a look."""
    columns: list[str] = []
    """The columns, classes or files that the finding is about."""
    figure: float
    """The number on which the finding rests: a share, a count or a score, as the sentence says."""
    message: str
    """What was found, as a sentence without its period."""
    remedy: str
    """What to do, with the settings of the study file."""

    @property
    def sentence(self) -> str:
        """The finding and its remedy."""
        return f"{self.message}; {self.remedy}."


class Histogram(Part):
    """Counts of values in bins of equal width."""

    edges: list[float]
    """The bounds of the bins, one more than there are bins."""
    counts: list[int]


class Numbers(Part):
    """A summary of numbers. Quartiles interpolate linearly; the standard deviation is that of the values themselves."""

    low: float
    q1: float
    median: float
    q3: float
    high: float
    mean: float
    std: float
    num_outliers: int
    """Values farther from the quartiles than three interquartile ranges (Tukey's outer fences)."""
    histogram: Histogram


class Count(Part):
    """How often a value occurs."""

    value: str
    count: int


class Texts(Part):
    """A summary of texts: their lengths in words, their vocabulary, and repetitions."""

    num_texts: int
    num_empty: int
    num_duplicates: int
    """Texts that repeat an earlier one, but for case and spaces."""
    words: Numbers
    """Words per text."""
    vocabulary: int
    """The number of different words, in small letters."""
    num_rare_words: int
    """Words of the vocabulary that occur once."""
    most_frequent: list[Count]


class Association(Part):
    """How strongly a column is associated with the target."""

    measure: Literal["pearson", "spearman", "cramers_v", "correlation_ratio"]
    value: float
    """-1 to 1 for Pearson and Spearman, 0 to 1 for the others."""


class Column(Part):
    """A column: what it holds, and what the preprocessing does with it."""

    name: str
    kind: ColumnKind
    treatment: str
    """What the training core makes of the column, or why it leaves it out or refuses it."""
    num_missing: int
    missing_share: float
    num_distinct: int
    numbers: Numbers | None = None
    most_frequent: list[Count] = []
    texts: Texts | None = None
    associations: list[Association] = []
    prediction_score: float | None = None
    """Share of a constant guess's error that a rule of this column alone removes, on the half that it did not see."""


class Target(Part):
    """The distribution of the target."""

    name: str
    kind: Literal["classification", "regression"]
    num_missing: int
    classes: list[Count] = []
    """All classes of a classification, the most frequent first."""
    numbers: Numbers | None = None
    """The numbers of a regression."""


class MissingPattern(Part):
    """Columns whose values are missing in the same rows."""

    columns: list[str]
    """The columns that lack a value; empty: complete rows."""
    num_rows: int


class Example(Part):
    """An example of the data."""

    index: int
    """Its row, counted from 0 without the header, or its place in the list of files."""
    values: dict[str, str]
    why: str = ""
    """Why it is rare; empty: it was drawn at random."""
    image: str | None = None
    """A small picture as a data URI."""


class Images(Part):
    """A summary of images."""

    num_images: int
    num_decoded: int
    num_broken: int
    num_duplicates: int
    """Images whose pixels equal those of an earlier image."""
    sizes: list[Count]
    """Width by height, the most frequent first."""
    channels: list[Count]
    formats: list[Count]
    widths: Numbers
    heights: Numbers
    brightness: Numbers
    """Mean brightness per image, from 0 to 255."""


class Report(Part):
    """What `study look` found in a data file."""

    format: Literal[1] = 1
    source: str
    kind: Literal["table", "images", "text"]
    num_examples: int
    num_sampled: int
    """The number of examples behind the statistics; less than num_examples: a random sample."""
    notes: list[str] = []
    """How the data were read, and what is estimated."""
    findings: list[Finding] = []
    target: Target | None = None
    columns: list[Column] = []
    num_duplicates: int = 0
    """Rows, texts or images that repeat an earlier one."""
    missing_patterns: list[MissingPattern] = []
    images: Images | None = None
    examples: list[Example] = []
    data: dict[str, Any] = {}
    """A `data` section for the study file, without the columns that a finding leaves out."""


_ORDER = {"error": 0, "warning": 1, "note": 2}


def sort_findings(findings: list[Finding]) -> list[Finding]:
    """Return the findings with errors first, then warnings, then notes."""
    return sorted(findings, key=lambda finding: _ORDER[finding.level])
