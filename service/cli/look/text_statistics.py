"""Statistics of texts: lengths, vocabulary, repetitions, and words that give the class away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from service.cli.look import statistics
from service.cli.look.one_column_rule import prediction_score
from service.cli.look.report import Count, Texts
from service.cli.look.statistics import Codes

_WORD = re.compile(r"\w+")
_NUM_SHOWN, _NUM_JUDGED = 12, 300
_FEWEST_SHARE = 0.02


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return _WORD.findall(text.lower())


def normalised(text: str) -> str:
    """Return a text without differences in case and spaces."""
    return " ".join(text.lower().split())


def describe(texts: Sequence[str]) -> Texts | None:
    """Summarise texts. None if there are none."""
    lengths, counts = [], Counter[str]()
    for text in texts:
        words = words_of(text)
        lengths.append(len(words))
        counts.update(words)
    summary = statistics.summarise(np.array(lengths, dtype=np.float64))
    if summary is None:
        return None
    most = sorted(counts, key=lambda word: (-counts[word], word))[:_NUM_SHOWN]
    return Texts(
        num_texts=len(texts),
        num_empty=sum(not text.strip() for text in texts),
        num_duplicates=len(texts) - len({normalised(text) for text in texts}),
        words=summary,
        vocabulary=len(counts),
        num_rare_words=sum(count == 1 for count in counts.values()),
        most_frequent=[Count(value=word, count=counts[word]) for word in most],
    )


def revealing_word(texts: Sequence[str], classes: Codes, seed: int) -> tuple[str, float] | None:
    """Return the word whose presence predicts the class best, and its score; None if no word is frequent enough.

    Args:
        texts: the texts, [n].
        classes: the class of each, [n].
        seed: decides the halves of the rule.
    """
    words = [set(words_of(text)) for text in texts]
    counts = Counter(word for each in words for word in each)
    fewest = _FEWEST_SHARE * len(texts)
    frequent = [word for word, count in counts.most_common(_NUM_JUDGED) if fewest <= count < len(texts)]
    best: tuple[str, float] | None = None
    for word in frequent:
        has_word = np.array([word in each for each in words], dtype=np.int64)
        score = prediction_score(has_word, classes, seed)
        if score is not None and (best is None or score > best[1]):
            best = (word, score)
    return best
