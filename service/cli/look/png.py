"""Encodes small pictures as PNG data URIs, without an imaging library."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 96


def data_uri(pixels: NDArray[Any]) -> str:
    """Return a picture as a data URI, reduced to at most 96 pixels a side by leaving pixels out.

    Args:
        pixels: [height, width] or [height, width, channels]. The first three channels are red, green and blue; of
            two only the first is shown. Numbers other than bytes are scaled from their lowest to their highest.
    """
    step = max(1, -(-max(pixels.shape[:2]) // MAX_SIDE))
    shown = pixels[::step, ::step]
    if shown.ndim == 3:
        shown = shown[:, :, :3] if shown.shape[2] >= 3 else shown[:, :, 0]
    if shown.dtype != np.uint8:
        low, high = float(shown.min()), float(shown.max())
        shown = ((shown.astype(np.float64) - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    height, width = shown.shape[:2]
    lines = np.zeros((height, 1 + width * (3 if shown.ndim == 3 else 1)), dtype=np.uint8)  # each line's filter is none
    lines[:, 1:] = shown.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if shown.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return f"data:image/png;base64,{b64encode(content).decode()}"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
