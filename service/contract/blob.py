"""Blobs on the wire: content addressed by its SHA-256."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.contract.base import Response

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""


class BlobReply(Response):
    """The blob is stored; `is_new` tells whether it was not there before."""

    sha256: str
    size: int
    is_new: bool
