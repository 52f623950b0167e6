"""Parses the command lines of `service`, `study` and `worker`, and refuses arguments that are not UTF-8."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from service.contract.storable import is_text


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line. Exit with status 2 and one sentence if an argument is not UTF-8.

    Python decodes each byte that is not UTF-8 as a lone surrogate, which no JSON, database or terminal accepts.

    Args:
        parser: the parser of the command.
        words: the arguments without the command's own name. None: the arguments of this process.
    """
    for word in sys.argv[1:] if words is None else words:
        if not is_text(word):
            shown = word.encode(errors="backslashreplace").decode()
            parser.error(f"the argument '{shown[:80]}' is not UTF-8 text; write it in UTF-8, or rename what it names")
    return parser.parse_args(words)
