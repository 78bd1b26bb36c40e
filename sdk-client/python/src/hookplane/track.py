"""What a handler says about its own work, and how it travels back in the answer."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Optional, Union
from urllib.parse import quote

#: A point in time, or how long from now on; a number is seconds.
Deadline = Union[datetime, timedelta, float]

_MAX_REASON = 512
_MAX_STEPS = 32
_STEP = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Deferral:
    token: str
    deadline: datetime


@dataclass(frozen=True)
class Verdict:
    outcome: str
    reason: Optional[str] = None
    retry: bool = False
    steps: tuple[tuple[str, str], ...] = ()
    deferral: Optional[Deferral] = None

    @property
    def is_done(self) -> bool:
        return self.outcome in ("completed", "ignored")


class Track:
    """Given to the handler. The first mark counts; later ones change nothing."""

    def __init__(self, declared: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._mark: Optional[Verdict] = None
        self._steps: dict[str, str] = {}
        for name in declared:
            self._set(name, "missing")

    def completed(self) -> None:
        self._first(Verdict("completed"))

    def failed(self, reason: str, *, retry: bool = False) -> None:
        """`retry`: another try may help."""
        self._first(Verdict("failed", str(reason), retry))

    def ignored(self, reason: str = "") -> None:
        """Not meant for this handler."""
        self._first(Verdict("ignored", str(reason) or None))

    def deferred(self, *, deadline: Deadline) -> str:
        """The work goes on after the answer, until then at the latest. Gives the token that
        names it."""
        token = f"dfr_{secrets.token_hex(16)}"
        mark = self._first(Verdict("deferred", deferral=Deferral(token, _point(deadline))))
        return mark.deferral.token if mark.deferral else token

    def step(self, name: str, *, failed: bool = False) -> None:
        """A named part of the work is done, or has failed."""
        self._set(name, "failed" if failed else "done")

    def verdict(self, status: int, mark_is_required: bool) -> Optional[Verdict]:
        """Once the handler has answered. `None`: nothing can be said."""
        with self._lock:
            steps = tuple(self._steps.items())
            mark = self._mark
        if mark is not None:
            return Verdict(mark.outcome, mark.reason, mark.retry, steps, mark.deferral)
        if not 200 <= status <= 299:
            return None
        left = [name for name, state in steps if state != "done"]
        if not mark_is_required and not left:
            return Verdict("completed", steps=steps)
        begun = mark_is_required or any(state != "missing" for _, state in steps)
        what = "not done" if begun else "not begun"
        reason = f"steps {what}: {', '.join(left)}" if left else None
        return Verdict("silent_drop", reason, steps=steps)

    def _first(self, mark: Verdict) -> Verdict:
        with self._lock:
            if self._mark is None:
                self._mark = mark
            return self._mark

    def _set(self, name: str, state: str) -> None:
        if not isinstance(name, str) or not _STEP.fullmatch(name):
            raise ValueError(f"a step's name is 1 to 64 of a-z, 0-9, _, . and -, not {name!r}")
        with self._lock:
            if len(self._steps) < _MAX_STEPS or name in self._steps:
                self._steps[name] = state


def to_headers(verdict: Verdict) -> list[tuple[str, str]]:
    """The headers by which the gateway hears it; it takes them out of the exchange."""
    headers = [("hookplane-outcome", verdict.outcome)]
    if verdict.reason:
        headers.append(("hookplane-outcome-reason", quote(cut(verdict.reason), safe="")))
    if verdict.outcome == "failed":
        headers.append(("hookplane-outcome-retry", "true" if verdict.retry else "false"))
    if verdict.steps:
        listed = ",".join(f"{name}={state}" for name, state in verdict.steps)
        headers.append(("hookplane-outcome-steps", listed))
    if verdict.deferral is not None:
        deadline = int(verdict.deferral.deadline.timestamp())
        headers.append(("hookplane-deferral", f"{verdict.deferral.token}; deadline={deadline}"))
    return headers


def cut(text: str, most: int = _MAX_REASON) -> str:
    """At most so many bytes, cut at a character; what cannot be encoded is replaced."""
    whole = text.encode("utf-8", "replace")
    return whole[:most].decode("utf-8", "ignore")


def _point(deadline: Deadline) -> datetime:
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise ValueError("a deadline needs a time zone; datetime.now(timezone.utc) has one")
        return deadline
    if not isinstance(deadline, timedelta):
        deadline = timedelta(seconds=deadline)
    return datetime.now(timezone.utc) + deadline
