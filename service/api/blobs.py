"""Routes of blobs: upload, download and existence check. A blob's address is the SHA-256 of its content."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from service.api.dependencies import ContextDep
from service.contract.blob import BlobReply
from service.usecases.blobs import blob_size, read_blob, store_blob

router = APIRouter(tags=["blobs"])
_BINARY = "application/octet-stream"
_CONTENT = {"content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}}}
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.put("/blobs/{sha256}", openapi_extra={"requestBody": {**_CONTENT, "required": True}})
async def put_blob(context: ContextDep, sha256: Sha256, request: Request) -> BlobReply:
    """Store the body under its SHA-256. Storing it again changes nothing."""
    return await store_blob(context, sha256, request.stream())


@router.head("/blobs/{sha256}")
async def head_blob(context: ContextDep, sha256: Sha256) -> Response:
    """Check whether a blob exists. The answer's Content-Length is its size."""
    return Response(headers={"Content-Length": str(await blob_size(context, sha256))}, media_type=_BINARY)


@router.get("/blobs/{sha256}", response_class=StreamingResponse, responses={200: _CONTENT})
async def get_blob(context: ContextDep, sha256: Sha256) -> StreamingResponse:
    """Download a blob."""
    size = await blob_size(context, sha256)
    return StreamingResponse(read_blob(context, sha256), headers={"Content-Length": str(size)}, media_type=_BINARY)
