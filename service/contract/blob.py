"""Blobs on the wire, addressed by the SHA-256 of their content."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.contract.base import Response

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""


class BlobReply(Response):
    """The blob is stored. `is_new` is false if the service had it before."""

    sha256: str
    size: int
    is_new: bool
