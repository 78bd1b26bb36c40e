"""Where telemetry listens, if it was begun. Whoever listens neither raises nor waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

from ._headers import Pairs
from ._identify import Facts
from .options import Options
from .track import Verdict


@dataclass(frozen=True)
class Ended:
    """What came of one delivery: looked at by who listens, and by nobody else."""

    options: Options
    pairs: Pairs
    facts: Facts
    size: int
    verdict: Verdict
    #: Of the answer; 0 when the handler raised.
    status: int
    #: Unix seconds.
    at: float
    #: Seconds.
    took: float


_listener: Optional[Callable[[Ended], None]] = None


def listen(listener: Optional[Callable[[Ended], None]]) -> None:
    """The one that listens from here on; nobody without one."""
    global _listener
    _listener = listener


def listens() -> bool:
    return _listener is not None


def tell(ended: Ended) -> None:
    listener = _listener
    if listener is not None:
        listener(ended)
