"""Reads the body that a WSGI server hands over."""

from __future__ import annotations

from typing import Any

_CHUNK = 64 * 1024


def read_up_to(stream: Any, most: int) -> bytes:
    """Until the body ends, or so many bytes are there."""
    chunks: list[bytes] = []
    left = most
    while left > 0:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
