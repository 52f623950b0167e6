"""Sequence to sequence as a function: translates English numerals into German ones, and reports BLEU.

German says the ones before the tens (`forty two` is `zwei und vierzig`), so the model has to learn an order of words.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchmetrics.functional.text import bleu_score

from worker.trial import Trial

EPOCHS = 12
LONGEST = 8
START, END, PADDING = 0, 1, 2

ONES = [
    ("one", "ein"), ("two", "zwei"), ("three", "drei"), ("four", "vier"), ("five", "fünf"), ("six", "sechs"),
    ("seven", "sieben"), ("eight", "acht"), ("nine", "neun"), ("ten", "zehn"), ("eleven", "elf"), ("twelve", "zwölf"),
    ("thirteen", "dreizehn"), ("fourteen", "vierzehn"), ("fifteen", "fünfzehn"), ("sixteen", "sechzehn"),
    ("seventeen", "siebzehn"), ("eighteen", "achtzehn"), ("nineteen", "neunzehn"),
]  # fmt: skip
TENS = [
    ("twenty", "zwanzig"), ("thirty", "dreißig"), ("forty", "vierzig"), ("fifty", "fünfzig"), ("sixty", "sechzig"),
    ("seventy", "siebzig"), ("eighty", "achtzig"), ("ninety", "neunzig"),
]  # fmt: skip


def numeral(number: int) -> tuple[str, str]:
    """Return a number from 1 to 999 in English and in German, as words."""
    hundreds, rest = divmod(number, 100)
    english, german = (
        [f"{ONES[hundreds - 1][at]} {word}"] if hundreds else [] for at, word in enumerate(("hundred", "hundert"))
    )
    if 0 < rest < 20:
        english.append(ONES[rest - 1][0])
        german.append("eins" if rest == 1 else ONES[rest - 1][1])
    elif rest:
        tens, ones = divmod(rest, 10)
        english += [TENS[tens - 2][0], *([ONES[ones - 1][0]] if ones else [])]
        german += [*([f"{ONES[ones - 1][1]} und"] if ones else []), TENS[tens - 2][1]]
    return " ".join(english), " ".join(german)


class Translator(nn.Module):
    """A GRU that reads a sentence, and another one that writes its translation word by word (Sutskever et al. 2014)."""

    def __init__(self, num_source_words: int, num_target_words: int, width: int) -> None:
        super().__init__()
        self.source = nn.Embedding(num_source_words, width, padding_idx=PADDING)
        self.target = nn.Embedding(num_target_words, width, padding_idx=PADDING)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.output = nn.Linear(width, num_target_words)

    def forward(self, sentences: Tensor, written: Tensor) -> Tensor:
        """Return the logits of the word after each word of `written`, [n, length, num_target_words]."""
        outputs, _ = self.decoder(self.target(written), self.encoder(self.source(sentences))[1])
        return self.output(outputs)

    @torch.no_grad()
    def translate(self, sentences: Tensor) -> Tensor:
        """Return the translations, always taking the most likely word, [n, LONGEST]."""
        state = self.encoder(self.source(sentences))[1]
        word, words = torch.full((len(sentences), 1), START, device=sentences.device), []
        for _ in range(LONGEST):
            outputs, state = self.decoder(self.target(word), state)
            word = self.output(outputs).argmax(-1)
            words.append(word)
        return torch.cat(words, 1)


def train(trial: Trial) -> dict[str, float]:
    """Train until the trial is ordered to stop, and measure BLEU on the test sentences once at the end."""
    generator = torch.Generator().manual_seed(trial.seed)
    pairs = [numeral(number) for number in range(1, 1000)]
    vocabularies = [_vocabulary(pair[at] for pair in pairs) for at in range(2)]
    english, german = (
        _encode([pair[at] for pair in pairs], words).to(trial.device) for at, words in enumerate(vocabularies)
    )
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
    train_part, val_part, test_part = order.split([699, 150, 150])

    model = Translator(len(vocabularies[0]), len(vocabularies[1]), int(trial.parameters["width"]))
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.1, generator=generator)
    model.to(trial.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.parameters["lr"])
    for epoch in range(1, EPOCHS + 1):
        for batch in train_part[torch.randperm(len(train_part), generator=generator)].split(32):
            targets = german[batch]
            logits = model(english[batch], targets[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=PADDING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(epoch, {"val/bleu": _bleu(model, english, pairs, val_part, vocabularies[1])})
        if trial.should_stop:
            break
    return {"test/bleu": _bleu(model, english, pairs, test_part, vocabularies[1])}


def _bleu(
    model: Translator, english: Tensor, pairs: list[tuple[str, str]], part: Tensor, vocabulary: list[str]
) -> float:
    """Return the corpus BLEU of the translations, with n-grams of up to 3 words (Papineni et al. 2002)."""
    translations = [_decode(row, vocabulary) for row in model.translate(english[part]).tolist()]
    return float(bleu_score(translations, [[pairs[at][1]] for at in part.tolist()], n_gram=3))


def _vocabulary(sentences: Iterable[str]) -> list[str]:
    words = {word for sentence in sentences for word in sentence.split()}
    return ["<start>", "<end>", "<padding>", *sorted(words)]


def _encode(sentences: list[str], vocabulary: list[str]) -> Tensor:
    index = {word: at for at, word in enumerate(vocabulary)}
    rows = [torch.tensor([START, *(index[word] for word in each.split()), END]) for each in sentences]
    return pad_sequence(rows, batch_first=True, padding_value=PADDING)


def _decode(row: list[int], vocabulary: list[str]) -> str:
    words = row[: row.index(END)] if END in row else row
    return " ".join(vocabulary[word] for word in words)
