"""Checks the words of a command line before any of them is used; for `service`, `study` and `worker` alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from service.contract.storable import is_text


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; exit with status 2 and one sentence where a word is not UTF-8.

    Python reads each byte that is not UTF-8 as a lone surrogate, which no JSON, database or terminal can take.

    Args:
        parser: of the command.
        words: without the command's own name; None: those that this process was started with.
    """
    for word in sys.argv[1:] if words is None else words:
        if not is_text(word):
            shown = word.encode(errors="backslashreplace").decode()
            parser.error(f"the argument '{shown[:80]}' is not UTF-8 text; write it in UTF-8, or rename what it names")
    return parser.parse_args(words)
