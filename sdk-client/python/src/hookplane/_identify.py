"""Which message it is and of what type, read from where the provider tells it.

Hints: what cannot be read is absent, never an error.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from ._headers import Pairs, first

_MAX_ID = 256
_MAX_TYPE = 128

#: Headers of the id, paths to the id, headers of the type, paths to the type.
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "github": (("x-github-delivery",), (), ("x-github-event",), ()),
    "stripe": ((), ("id",), (), ("type",)),
    "shopify": (("x-shopify-webhook-id",), (), ("x-shopify-topic",), ()),
    "slack": ((), ("event_id",), (), ("event.type", "type")),
    # The event's: a retry has it again, what a person sends again has its own.
    "hookplane": (("hookplane-event-id",), (), (), ("type", "event_type", "event")),
}
_STANDARD = (("svix-id", "webhook-id"), (), (), ("type", "event_type"))
_OTHER: tuple[tuple[str, ...], ...] = ((), (), (), ("type", "event_type", "event"))


class Facts:
    """Of one request; the body is parsed at most once, and only when it is asked for."""

    def __init__(self, provider: str, pairs: Pairs, body: bytes) -> None:
        self._provider = provider
        self._pairs = pairs
        self._body = body
        self._json: Any = None
        self._parsed = False

    def json(self) -> Any:
        """`None` when the body is not JSON."""
        if not self._parsed:
            self._parsed = True
            try:
                self._json = json.loads(self._body)
            except (ValueError, RecursionError):
                self._json = None
        return self._json

    def message_id(self) -> Optional[str]:
        headers, paths, _, _ = self._places()
        return self._read(headers, paths, _MAX_ID)

    def event_type(
        self, header: Optional[str] = None, field: Optional[str] = None
    ) -> Optional[str]:
        _, _, headers, paths = self._places()
        own = self._read((header.lower(),) if header else (), (field,) if field else (), _MAX_TYPE)
        return own or self._read(headers, paths, _MAX_TYPE)

    def _places(self) -> tuple[tuple[str, ...], ...]:
        if self._provider in ("clerk", "svix", "standard-webhooks"):
            return _STANDARD
        return _PLACES.get(self._provider, _OTHER)

    def _read(self, headers: tuple[str, ...], paths: tuple[str, ...], most: int) -> Optional[str]:
        for name in headers:
            found = first(self._pairs, name)
            if found is not None:
                return found if len(found.encode("utf-8", "replace")) <= most else None
        for path in paths:
            value = self.json()
            for part in path.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if isinstance(value, str) and value:
                return value if len(value.encode("utf-8", "replace")) <= most else None
        return None
