"""Rules about a whole table: its target, leaks, repeated rows and columns, and its size."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from service.cli.look import identical_columns
from service.cli.look.class_rules import class_findings
from service.cli.look.report import Finding, Level
from service.cli.look.statistics import is_constant
from service.cli.look.table_facts import TableFacts, TargetFacts
from service.cli.look.text_statistics import describe, normalised, revealing_word
from service.cli.look.wording import columns_that, counted, named, percent

_SUSPICIOUS, _STRONG = 0.97, 0.9
_HEAVY_TAIL, _CAPPED = 0.5, 0.02
_FEWEST_ROWS = 50


def target_values(facts: TableFacts) -> Iterator[Finding]:
    """A target that training refuses: unreadable, with missing values, or with one value."""
    target = facts.target
    if target is None:
        return
    if target.refusal:
        message, _, remedy = target.refusal.partition("; ")
        if not remedy:
            message, _, remedy = target.refusal.partition(": ")
        yield _about(target, "target_refused", "error", 1, message=message, remedy=remedy)
    num_missing = int((~target.present).sum())
    if num_missing:
        share = num_missing / facts.num_rows
        yield _about(
            target,
            "target_missing",
            "error",
            share,
            message=f"the target `{target.name}` lacks a value in {counted(num_missing, 'row')} ({percent(share)})",
            remedy="remove these rows: training refuses a target without a value",
        )
    known = target.target[target.present]
    if len(np.unique(known)) == 1:
        yield _about(
            target,
            "target_constant",
            "error",
            1,
            message=f"the target `{target.name}` has only one value",
            remedy="there is nothing to learn: choose another target",
        )


def classes(facts: TableFacts) -> Iterator[Finding]:
    """Classes that are rare, or one that dominates."""
    target = facts.target
    if target is None or target.kind != "classification":
        return
    counts = Counter(str(label) for label in target.values if label is not None)
    yield from class_findings(target.name, counts, facts.sample.num_rows / facts.num_rows)


def numeric_target(facts: TableFacts) -> Iterator[Finding]:
    """A regression target with a heavy tail, or cut off at its largest or smallest value."""
    target = facts.target
    if target is None or target.kind != "regression":
        return
    known = target.target[target.present]
    if len(known) < _FEWEST_ROWS or is_constant(known):
        return
    squares = np.sort((known / np.abs(known).max() - (known / np.abs(known).max()).mean()) ** 2)
    num_top = max(1, len(known) // 100)
    share = float(squares[-num_top:].sum() / squares.sum())
    if share > _HEAVY_TAIL:
        yield _about(
            target,
            "heavy_tail",
            "warning",
            share,
            message=f"{counted(num_top, 'row')} of {len(known):,} make {percent(share)} of the variance of the target "
            f"`{target.name}`",
            remedy="squared error is mostly about these rows: check them, try loss: {name: huber}, or predict the "
            "logarithm",
        )
    values, counts = np.unique(known, return_counts=True)
    usual = float(np.median(counts))
    for place, name in ((-1, "largest"), (0, "smallest")):
        part = float(counts[place] / counts.sum())
        is_zero = values[place] == 0
        if part >= _CAPPED and counts[place] >= 5 * usual and counts[place] == counts.max() and not is_zero:
            yield _about(
                target,
                "capped",
                "note",
                part,
                message=f"{percent(part)} of the rows have the {name} value of the target `{target.name}`, "
                f"{values[place]:g}",
                remedy="if values were cut off there, the model learns the limit of the measurement: consider "
                "removing these rows",
            )


def leak(facts: TableFacts) -> Iterator[Finding]:
    """Columns that predict the target almost alone, on rows that the one-column rule has not seen."""
    if facts.target is None:
        return
    for column in sorted(facts.columns.values(), key=lambda each: -(each.score or 0)):
        if column.score is None or column.score < _STRONG:
            continue
        is_suspicious = column.score >= _SUSPICIOUS
        what = "error" if facts.target.kind == "classification" else "variance (of the ranks)"
        ask = "check that it is known before the target is, and not derived from it"
        yield Finding(
            rule="leak" if is_suspicious else "strong_column",
            level="warning" if is_suspicious else "note",
            columns=[column.name],
            figure=column.score,
            message=f"column `{column.name}` alone predicts the target `{facts.target.name}`: a rule of this column "
            f"removes {percent(column.score)} of the {what} of a constant guess, on the half of the rows that "
            "it was not learned on",
            remedy=f"{ask}; if it is, leave it out of data.features" if is_suspicious else ask,
        )


def identical(facts: TableFacts) -> Iterator[Finding]:
    """Columns that repeat another one."""
    present = {name: column.codes for name, column in facts.columns.items()}
    pairs: dict[str, list[str]] = defaultdict(list)
    for first, second in identical_columns.equal_codes(present):
        pairs[first].append(second)
    found = {second for seconds in pairs.values() for second in seconds}
    for first, others in pairs.items():
        yield Finding(
            rule="identical_columns",
            level="warning",
            columns=[first, *others],
            figure=1,
            message=columns_that(others, "says", "say") + f" the same as column `{first}` in every row",
            remedy=f"leave {named(others)} out of data.features",
        )
    numbers = {
        name: column.numbers
        for name, column in facts.columns.items()
        if column.numbers is not None and name not in found
    }
    for first, second, correlation in identical_columns.linear_copies(numbers, facts.seed):
        yield Finding(
            rule="identical_columns",
            level="warning",
            columns=[first, second],
            figure=correlation,
            message=f"column `{second}` is a multiple of column `{first}` or nearly so (correlation {correlation:.5f})",
            remedy=f"leave one of them out of data.features: together they only count double ({second})",
        )


def duplicate_rows(facts: TableFacts) -> Iterator[Finding]:
    """Rows that repeat an earlier row in every column."""
    sample = facts.sample
    num_duplicates = sample.num_rows - sample.num_distinct
    share = num_duplicates / sample.num_rows
    if num_duplicates == 0 or (not sample.is_distinct_exact and share < 0.01):
        return
    # Few columns of few values repeat by chance.
    log_combinations = sum(math.log(column.num_distinct or 1) for column in facts.columns.values())
    is_expected = log_combinations < math.log(20 * sample.num_rows)
    about = "" if sample.is_distinct_exact else "about "
    yield Finding(
        rule="duplicate_rows",
        level="note" if is_expected else "warning",
        columns=[],
        figure=num_duplicates,
        message=f"{about}{counted(num_duplicates, 'row repeats', 'rows repeat')} an earlier row in every column "
        f"({percent(share)})",
        remedy="the columns have few different values, so rows may repeat by chance; if not, remove the copies"
        if is_expected
        else "remove them: a copy in the training part and in the validation part makes the score too good",
    )


def conflicting_rows(facts: TableFacts) -> Iterator[Finding]:
    """Rows that are equal in every column but the target."""
    target = facts.target
    if target is None or not facts.columns:
        return
    matrix = np.stack([column.codes for column in facts.columns.values()], axis=1)
    outcomes: dict[bytes, Counter[object]] = defaultdict(Counter)
    for row, value in zip(matrix, target.values, strict=True):
        outcomes[row.tobytes()][value] += 1
    num_rows = sum(each.total() for each in outcomes.values() if len(each) > 1)
    share = num_rows / facts.num_rows
    if share < 0.01 or num_rows < 2 or target.kind == "regression":
        return
    best = sum(each.most_common(1)[0][1] for each in outcomes.values()) / facts.num_rows
    yield _about(
        target,
        "conflicting_rows",
        "warning" if share > 0.05 else "note",
        share,
        message=f"{counted(num_rows, 'row')} ({percent(share)}) equal another row in every column but the target "
        f"`{target.name}`",
        remedy=f"no model can be right on more than {percent(best)} of all rows: check the labels, or add a column "
        "that tells them apart",
    )


def sentences(facts: TableFacts) -> Iterator[Finding]:
    """Columns of sentences: how to learn from them, and what is wrong with them."""
    for column in facts.columns.values():
        if column.kind != "sentences":
            continue
        name = column.name
        texts = [str(value) for value in column.values if value is not None]
        summary = describe(texts)
        if summary is None:
            continue
        yield Finding(
            rule="sentences",
            level="note",
            columns=[name],
            figure=summary.words.median,
            message=f"column `{name}` holds sentences ({summary.words.median:.0f} words in the middle, "
            f"{summary.vocabulary:,} different words)",
            remedy=f"learn from it by data: {{name: texts, text: {name}, …}}, or leave it out of data.features",
        )
        gaps = facts.num_rows - len(texts)
        if gaps:
            yield Finding(
                rule="empty_texts",
                level="error",
                columns=[name],
                figure=gaps,
                message=f"column `{name}` has no text in {counted(gaps, 'row')} ({percent(gaps / facts.num_rows)})",
                remedy="remove these rows: a study of texts refuses them",
            )
        if summary.num_duplicates:
            share = summary.num_duplicates / len(texts)
            yield Finding(
                rule="duplicate_texts",
                level="warning" if share > 0.01 else "note",
                columns=[name],
                figure=share,
                message=f"{counted(summary.num_duplicates, 'text repeats', 'texts repeat')} an earlier one in column "
                f"`{name}`, but for case and spaces ({percent(share)})",
                remedy="remove them: a copy in the training part and in the validation part makes the score too good",
            )
        if summary.words.high > 256:
            share = sum(len(text.split()) > 256 for text in texts) / len(texts)
            yield Finding(
                rule="long_texts",
                level="note",
                columns=[name],
                figure=share,
                message=f"{percent(share)} of the texts in column `{name}` are longer than 256 words (up to "
                f"{summary.words.high:,.0f})",
                remedy="data.length cuts a text's end off: choose it by what must be read, not by the longest text",
            )
        yield from _revealing(facts, name)


def _revealing(facts: TableFacts, name: str) -> Iterator[Finding]:
    target = facts.target
    if target is None or target.kind != "classification":
        return
    values = facts.columns[name].values
    rows = [row for row, value in enumerate(values) if value is not None and target.present[row]][:5_000]
    found = revealing_word([str(values[row]) for row in rows], target.target[rows].astype(np.int64), facts.seed)
    if found is not None and found[1] >= _STRONG:
        word, score = found
        yield Finding(
            rule="revealing_word",
            level="warning",
            columns=[name],
            figure=score,
            message=f"the word {word!r} in column `{name}` alone tells the class of the target `{target.name}`: it "
            f"removes {percent(score)} of the error of a constant guess, on rows that the rule has not seen",
            remedy="check that the label was not written into the text, and remove the word if it was",
        )


def conflicting_texts(facts: TableFacts) -> Iterator[Finding]:
    """Equal texts of different classes."""
    target = facts.target
    if target is None or target.kind != "classification":
        return
    for column in facts.columns.values():
        if column.kind != "sentences":
            continue
        outcomes: dict[str, set[object]] = defaultdict(set)
        for value, label in zip(column.values, target.values, strict=True):
            if value is not None:
                outcomes[normalised(str(value))].add(label)
        num = sum(len(each) > 1 for each in outcomes.values())
        if num:
            yield Finding(
                rule="conflicting_texts",
                level="warning",
                columns=[column.name],
                figure=num,
                message=f"{counted(num, 'text')} of column `{column.name}` occur with different classes",
                remedy="check their labels: no model can be right on all of them",
            )


def size(facts: TableFacts) -> Iterator[Finding]:
    """Tables with few rows, or fewer rows than columns."""
    num_rows, num_columns = facts.sample.num_rows, len(facts.columns)
    if num_rows < _FEWEST_ROWS:
        yield Finding(
            rule="few_rows",
            level="warning",
            columns=[],
            figure=num_rows,
            message=f"the table has {counted(num_rows, 'row')}, so a validation part of 20 % has {num_rows // 5}",
            remedy="folds: 5 with repeats: 3 averages over more of them; more data helps most",
        )
    elif num_columns > num_rows:
        yield Finding(
            rule="more_columns_than_rows",
            level="warning",
            columns=[],
            figure=num_columns,
            message=f"the table has more columns ({num_columns:,}) than rows ({num_rows:,})",
            remedy="a model can fit any target with them: search optimizer.weight_decay and model.dropout, and try "
            "model: {name: linear}",
        )


def _about(target: TargetFacts, rule: str, level: Level, figure: float, *, message: str, remedy: str) -> Finding:
    return Finding(rule=rule, level=level, columns=[target.name], figure=figure, message=message, remedy=remedy)


TABLE_RULES: tuple[Callable[[TableFacts], Iterator[Finding]], ...] = (
    target_values,
    classes,
    numeric_target,
    leak,
    identical,
    duplicate_rows,
    conflicting_rows,
    sentences,
    conflicting_texts,
    size,
)
