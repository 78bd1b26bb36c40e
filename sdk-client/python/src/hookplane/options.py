"""What a wrapped handler is given as settings."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Union

from ._headers import HeaderView
from .dedupe import AnyStore
from .signature import InvalidSetting, Verifier
from .track import Track

Log = Callable[[str, Mapping[str, Any]], None]
SignatureVerifier = Callable[[bytes, HeaderView], Union[bool, Awaitable[bool]]]
#: Of the framework's request, the parsed body (`None` when it is not JSON) and the headers.
IdempotencyKey = Callable[[Any, Any, HeaderView], Optional[str]]


@dataclass(frozen=True)
class Options:
    #: Whose signature is checked; also the preset for message id and event type.
    provider: str
    #: One, or several during a rotation. Falls back to `HOOKPLANE_SIGNATURE_SECRET`.
    signature_secret: Union[str, Sequence[str], None] = field(default=None, repr=False)
    #: Own check instead of the provider's: raises or gives false to refuse.
    signature_verifier: Optional[SignatureVerifier] = None
    #: False: a refused request is told and handled all the same, and never deduplicated.
    reject_invalid_signatures: bool = True
    #: Seconds, either way.
    signature_tolerance: int = 300
    #: Of the gateway's deliveries, to check that a repeat was asked for by force. Not needed
    #: when `signature_secret` is that secret.
    gateway_secret: Optional[str] = field(default=None, repr=False)
    #: A 2xx without a mark is a silent drop.
    require_processing_mark: bool = False
    #: The parts of the work, so that a drop says which was skipped.
    steps: Sequence[str] = ()
    #: Where repeats are recognised; without one there is no deduplication.
    store: Optional[AnyStore] = None
    #: The message's key; the provider's message id when not given. `None` skips.
    idempotency_key: Optional[IdempotencyKey] = None
    #: Seconds that a done message is known.
    idempotency_ttl: int = 86_400
    #: Id of the gateway's source, for reports; `HOOKPLANE_SOURCE`, or the provider, when not given.
    source: Optional[str] = None
    #: Part of the key, so that handlers do not meet; the provider when not given.
    endpoint_name: Optional[str] = None
    #: Seconds; renewed while the handler runs.
    lease: float = 30.0
    #: Seconds that the store may take.
    store_timeout: float = 1.0
    #: Without the store: run the handler (`open`) or refuse with 503 (`closed`).
    on_store_error: str = "open"
    #: Past it a request is refused with 413.
    max_body_bytes: int = 1024 * 1024
    #: Where refusals and store errors are told; the logger `hookplane` when not given.
    log: Optional[Log] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Names, bounds and choices are checked now, not in the first request."""
        if self.on_store_error not in ("open", "closed"):
            raise InvalidSetting("on_store_error", "`on_store_error` is `open` or `closed`")
        for name in ("idempotency_ttl", "lease", "store_timeout", "max_body_bytes"):
            if getattr(self, name) <= 0:
                raise InvalidSetting(name, f"`{name}` is more than zero")
        if isinstance(self.steps, str):
            raise InvalidSetting("steps", "`steps` is a list of names")
        try:
            Track(self.steps)
        except ValueError as error:
            raise InvalidSetting("steps", str(error)) from None

    def verifier(self) -> Optional[Verifier]:
        if self.signature_verifier is not None:
            return None
        secret = self.signature_secret
        if secret is None:
            secret = os.environ.get("HOOKPLANE_SIGNATURE_SECRET") or None
        if secret is None:
            raise InvalidSetting(
                "secret_missing", "give `signature_secret`, or a `signature_verifier`"
            )
        return Verifier(self.provider, secret, self.signature_tolerance)
