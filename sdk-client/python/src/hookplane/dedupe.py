"""Each message once: who has the work, and what came of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Callable, Optional, Protocol, Union


@dataclass(frozen=True)
class Recorded:
    """An answer, as it is given again to a repeat."""

    status: int
    content_type: Optional[str]
    body: bytes


@dataclass(frozen=True)
class Claim:
    """`new` comes with a token, `in_progress` with a time to wait, `done` with the answer, or
    with none when that was too large to keep."""

    state: str
    token: str = ""
    retry_after_ms: int = 0
    recorded: Optional[Recorded] = None


class Store(Protocol):
    """Where claims are kept. One for several processes makes `claim` one atomic step.

    A store that never waits says so with `blocking = False` and is called as it is; any other
    is called in a thread of its own, for as long as `store_timeout` allows.
    """

    def claim(self, key: str, lease_ms: int, ttl_s: int) -> Claim: ...

    def renew(self, token: str, lease_ms: int) -> bool:
        """False when the claim was lost."""

    def complete(self, token: str, recorded: Optional[Recorded]) -> None: ...

    def release(self, token: str) -> None:
        """The work was not done: the next arrival may do it."""


class AsyncStore(Protocol):
    """The same for handlers under asyncio."""

    def claim(self, key: str, lease_ms: int, ttl_s: int) -> Awaitable[Claim]: ...

    def renew(self, token: str, lease_ms: int) -> Awaitable[bool]: ...

    def complete(self, token: str, recorded: Optional[Recorded]) -> Awaitable[None]: ...

    def release(self, token: str) -> Awaitable[None]: ...


AnyStore = Union[Store, AsyncStore]


class StoreFull(Exception):
    """More work is under way than a store may hold."""


@dataclass
class _Entry:
    key: str
    until: float
    ttl_s: int
    recorded: Optional[Recorded] = None


class MemoryStore:
    """For development and for a single process: what it knows ends with the process."""

    blocking = False

    def __init__(
        self,
        most: int = 10_000,
        most_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        #: Work under way: token by key, entry by token.
        self._tokens: dict[str, str] = {}
        self._working: dict[str, _Entry] = {}
        #: What is done, by key, longest ago first.
        self._done: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def claim(self, key: str, lease_ms: int, ttl_s: int) -> Claim:
        with self._lock:
            now = self._clock()
            done = self._done.get(key)
            if done is not None and done.until > now:
                return Claim("done", recorded=done.recorded)
            token = self._tokens.get(key)
            if token is not None:
                left = self._working[token].until - now
                if left > 0:
                    return Claim("in_progress", retry_after_ms=int(left * 1000) + 1)
                self._forget(token)
            self._make_room(now)
            token = secrets.token_hex(16)
            self._tokens[key] = token
            self._working[token] = _Entry(key, now + lease_ms / 1000, ttl_s)
            return Claim("new", token)

    def renew(self, token: str, lease_ms: int) -> bool:
        with self._lock:
            entry = self._working.get(token)
            if entry is None:
                return False
            entry.until = self._clock() + lease_ms / 1000
            return True

    def complete(self, token: str, recorded: Optional[Recorded]) -> None:
        with self._lock:
            entry = self._forget(token)
            if entry is not None:
                entry.until = self._clock() + entry.ttl_s
                entry.recorded = recorded
                self._undo(entry.key)
                self._done[entry.key] = entry
                self._bytes += _size(entry)
                while self._bytes > self._most_bytes:
                    self._undo(next(iter(self._done)))

    def release(self, token: str) -> None:
        with self._lock:
            self._forget(token)

    def __len__(self) -> int:
        return len(self._working) + len(self._done)

    def _forget(self, token: str) -> Optional[_Entry]:
        entry = self._working.pop(token, None)
        if entry is not None and self._tokens.get(entry.key) == token:
            del self._tokens[entry.key]
        return entry

    def _undo(self, key: str) -> None:
        entry = self._done.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)

    def _make_room(self, now: float) -> None:
        """What was done longest ago goes first; work under way stays until its lease ends."""
        while self._done and len(self) >= self._most:
            self._undo(next(iter(self._done)))
        if len(self) >= self._most:
            for token in [t for t, entry in self._working.items() if entry.until <= now]:
                self._forget(token)
        if len(self) >= self._most:
            raise StoreFull(f"{self._most} messages are under way")


def _size(entry: _Entry) -> int:
    return 256 + len(entry.key) + (len(entry.recorded.body) if entry.recorded else 0)
