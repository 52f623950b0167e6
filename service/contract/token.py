"""Validates the service's token: only tokens that an HTTP header can carry are accepted."""

from __future__ import annotations


def check_token(token: str) -> str:
    """Return a token that can be sent as `Authorization: Bearer TOKEN`.

    Raises:
        ValueError: it holds anything but printable ASCII, or begins or ends with a blank. The message says where.
    """
    for at, character in enumerate(token, start=1):
        if not (character.isascii() and character.isprintable()):
            raise ValueError(
                f"ASSAYER_TOKEN: character {at} ({character!a}) cannot be sent in an HTTP header; "
                "use letters, digits and punctuation of ASCII"
            )
    if token != token.strip():
        raise ValueError("ASSAYER_TOKEN: begins or ends with a blank, which HTTP drops; remove it")
    return token
