"""Check 8, splits: examples in two splits, and splits that a classifier can tell apart (adversarial validation)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from worker.training.data import Dataset, Split, SplitName
from worker.training.preflight.bench import Bench
from worker.training.preflight.result import Check, Status
from worker.training.preflight.tabular_view import sample, table_of
from worker.training.seeding import derive

_NUMBER = 8
_HELD_OUT: tuple[SplitName, ...] = ("val", "test_val", "test")
_MAX_ROWS = 100_000
_MOSTLY_DIFFERENT = 0.7
"""The share of different training examples from which on an equal example elsewhere is no coincidence."""
_LEAKED_WARNED, _LEAKED_FAILED = 0.01, 0.05
_SHIFTED_WARNED, _SHIFTED_FAILED = 0.65, 0.8
_STANDARD_ERRORS = 4.0
_NUM_TREES = 60
_MIN_EXAMPLES = 20


def check_duplicates(bench: Bench) -> list[Check]:
    """Count held-out examples that equal a training example in all features and the target."""
    name, dataset = "duplicates", bench.dataset
    train = set(_hashes(dataset.train))
    different = len(train) / min(len(dataset.train), _MAX_ROWS)
    shares: dict[SplitName, float] = {}
    counts: dict[SplitName, int] = {}
    for split_name in _held_out(dataset):
        hashes = list(_hashes(dataset.splits[split_name]))
        counts[split_name] = sum(each in train for each in hashes)
        shares[split_name] = counts[split_name] / len(hashes)
    figures = {"shares": shares, "counts": counts, "different_training_examples": different}
    if not shares:
        return [Check(_NUMBER, name, Status.NOT_RUN, "There are no held-out examples.", figures)]
    worst = max(shares, key=shares.__getitem__)
    of_all = f"{counts[worst]} of the {len(dataset.splits[worst])} {worst} examples ({shares[worst]:.1%})"
    seen = f"{of_all} equal a training example"
    if different < _MOSTLY_DIFFERENT:
        sentence = f"{seen}; only {different:.0%} of the training examples differ, so equal ones are to be expected."
        return [Check(_NUMBER, name, Status.PASSED, sentence, figures)]
    if shares[worst] < _LEAKED_WARNED or counts[worst] < 2:
        return [Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)]
    status = Status.FAILED if shares[worst] >= _LEAKED_FAILED else Status.WARNED
    remedy = "Remove duplicates before the split, or keep them together with data.group; else the metrics flatter."
    return [Check(_NUMBER, name, status, f"{seen}.", figures, remedy)]


def check_shift(bench: Bench) -> list[Check]:
    """Train a random forest to tell training examples from held-out ones: it should not do better than chance."""
    name, dataset = "distribution_shift", bench.dataset
    if dataset.kind in ("language", "ranking"):
        return [Check(_NUMBER, name, Status.NOT_RUN, f"It is not defined for {dataset.kind} data.")]
    scores: dict[str, float] = {}
    limits: dict[str, float] = {}
    for split_name in _held_out(dataset):
        split = dataset.splits[split_name]
        if len(split) >= _MIN_EXAMPLES and len(dataset.train) >= _MIN_EXAMPLES and not bench.deadline.has_passed:
            scores[split_name], limits[split_name] = _auc(bench, split)
    figures = {"auc": scores, "warned_above": limits}
    if not scores:
        sentence = f"No held-out split has {_MIN_EXAMPLES} examples."
        return [Check(_NUMBER, name, Status.NOT_RUN, sentence, figures)]
    worst = max(scores, key=lambda each: scores[each] - limits[each])
    seen = f"A random forest tells {worst} from training examples with an AUC of {scores[worst]:.2f} (chance: 0.5)"
    if scores[worst] <= limits[worst]:
        return [Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)]
    status = Status.FAILED if scores[worst] >= max(_SHIFTED_FAILED, limits[worst]) else Status.WARNED
    remedy = (
        "Their distributions differ. If that is not on purpose (a split by time or group), shuffle before the split, "
        "or treat all files alike; if it is, validate on examples like those of the test (data.test_val)."
    )
    return [Check(_NUMBER, name, status, f"{seen}.", figures, remedy)]


def _auc(bench: Bench, split: Split) -> tuple[float, float]:
    """Return the out-of-bag AUC of train against a split, and the one above which it is no accident."""
    dataset, seed = bench.dataset, bench.seed
    held_out = table_of(dataset, split, sample(split, seed))
    train = table_of(dataset, dataset.train, sample(dataset.train, seed, 2 * len(held_out)))
    features = np.concatenate([train, held_out])
    labels = np.repeat([0, 1], [len(train), len(held_out)])
    forest = RandomForestClassifier(
        _NUM_TREES, min_samples_leaf=5, class_weight="balanced", oob_score=True, bootstrap=True,
        random_state=derive(seed, "preflight/shift") % 2**32,
    )  # fmt: skip
    forest.fit(features, labels)
    scores = np.nan_to_num(forest.oob_decision_function_[:, 1], nan=0.5)
    error = math.sqrt((1 / len(train) + 1 / len(held_out)) / 12)
    return float(roc_auc_score(labels, scores)), max(_SHIFTED_WARNED, 0.5 + _STANDARD_ERRORS * error)


def _held_out(dataset: Dataset) -> list[SplitName]:
    return [name for name in _HELD_OUT if name in dataset.splits]


def _hashes(split: Split) -> Iterator[bytes]:
    """Yield a hash of the features and the target of each example."""
    features, targets = (
        each[:_MAX_ROWS].flatten(1).cpu().contiguous().numpy()
        for each in (split.features, split.targets.view(len(split), -1))
    )
    for row, target in zip(features, targets, strict=True):
        yield hashlib.blake2b(row.tobytes() + target.tobytes(), digest_size=16).digest()
