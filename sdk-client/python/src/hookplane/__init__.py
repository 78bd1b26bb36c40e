"""A wrap around one webhook handler: verify the sender over the raw bytes, run each message once,
and tell the gateway whether the work was really done.

Adapters: `hookplane.fastapi` (and Starlette), `hookplane.flask`, `hookplane.django`,
`hookplane.asgi`.
"""

from .dedupe import AsyncStore, Claim, MemoryStore, Recorded, Store, StoreFull
from .gate import AlreadyParsed, Webhook
from .options import Options
from .signature import InvalidSetting, Refusal, Verified, Verifier
from .track import Track

__version__ = "0.1.0"

__all__ = [
    "AlreadyParsed",
    "AsyncStore",
    "Claim",
    "InvalidSetting",
    "MemoryStore",
    "Options",
    "Recorded",
    "Refusal",
    "Store",
    "StoreFull",
    "Track",
    "Verified",
    "Verifier",
    "Webhook",
]
