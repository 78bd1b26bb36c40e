"""Reports of what came of deliveries, to an agent: beside the answer, which says it first.

Owns the queue, its thread and its sending. Knows nothing of frameworks. Invariants: a handler
never waits for it and never sees it fail; the queue has a bound, and what was dropped is counted;
failures are never sampled away and are the last to be dropped; bodies and header values are not
sent; a process that forks leaves its child an empty queue and a thread of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import re
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from ._headers import first
from ._observe import Ended, listen
from .signature import InvalidSetting
from .track import cut

Report = dict[str, Any]
BeforeSend = Callable[[Report], Optional[Report]]
#: Takes the address, the headers and the body; gives status and body, or raises `OSError`.
Send = Callable[[str, dict[str, str], bytes], tuple[int, bytes]]

_SDK = "hookplane-python/0.1.0"
_MOST_AT_ONCE = 100
_CALL_SECONDS = 5.0
_MOST_ANSWER = 1024 * 1024
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
#: Not yet, says the agent: another time it may.
_LATER = "EVENT_UNDER_WAY"


@dataclass(frozen=True)
class Counts:
    """Since the start, but for `waiting`."""

    #: That an agent has.
    sent: int = 0
    #: That the agent does not take, each by its own fault.
    refused: int = 0
    #: Without room, or past their time.
    dropped: int = 0
    #: Left out by `sample_rate` or `before_send`.
    left: int = 0
    #: Of calls that no gateway delivered: agents know reports of their own deliveries only.
    direct: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class _Waiting:
    report: Report
    since: float
    failure: bool


def init(
    api_key: Optional[str] = None,
    endpoint: Optional[str] = None,
    *,
    release: Optional[str] = None,
    environment: Optional[str] = None,
    sample_rate: float = 1.0,
    before_send: Optional[BeforeSend] = None,
    max_queue: int = 1_000,
    flush_interval: float = 1.0,
    give_up_after: float = 60.0,
    send: Optional[Send] = None,
) -> Telemetry:
    """Begins to report, for every wrap of the process.

    `api_key` is a handler key, `endpoint` the agent's ingest address; they fall back to
    `HOOKPLANE_API_KEY` and `HOOKPLANE_ENDPOINT`, `release` and `environment` to
    `HOOKPLANE_RELEASE` and `HOOKPLANE_ENVIRONMENT`. Seconds. Raises an `InvalidSetting` for what
    can never work; after that nothing of it raises.
    """
    key = api_key or os.environ.get("HOOKPLANE_API_KEY") or ""
    address = endpoint or os.environ.get("HOOKPLANE_ENDPOINT") or ""
    if not key.startswith("hph_"):
        raise InvalidSetting("api_key", "give `api_key`, a handler key that begins with hph_")
    if re.fullmatch(r"https?://[^/?#\s]+/?", address) is None:
        raise InvalidSetting("endpoint", "give `endpoint`, an address such as http://agent:8088")
    if not 0 <= sample_rate <= 1:
        raise InvalidSetting("sample_rate", "`sample_rate` is from 0 to 1")
    if max_queue < 1 or flush_interval < 0 or give_up_after <= 0:
        raise InvalidSetting("bounds", "`max_queue` and `give_up_after` are more than zero")
    more = {
        "release": release or os.environ.get("HOOKPLANE_RELEASE"),
        "environment": environment or os.environ.get("HOOKPLANE_ENVIRONMENT"),
    }
    telemetry = Telemetry(
        key,
        f"{address.rstrip('/')}/handlers/v1/reports",
        {name: value for name, value in more.items() if value},
        sample_rate,
        before_send,
        max_queue,
        (flush_interval, give_up_after),
        send or _post,
    )
    listen(telemetry._take)
    return telemetry


class Telemetry:
    """Made by `init`."""

    def __init__(
        self,
        key: str,
        url: str,
        more: dict[str, str],
        rate: float,
        before_send: Optional[BeforeSend],
        most: int,
        times: tuple[float, float],
        send: Send,
    ) -> None:
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        self._url = url
        self._more = more
        self._rate = rate
        self._before_send = before_send
        self._most = most
        self._interval, self._patience = times
        self._send = send
        self._begin()
        atexit.register(self.flush)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Empty: what waited before a fork is the parent's to send."""
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._counts = Counts()
        self._thread: Optional[threading.Thread] = None
        self._closed = False
        self._hurry = False
        self._busy = False
        self._failures = 0

    @property
    def counts(self) -> Counts:
        with self._changed:
            return replace(self._counts, waiting=len(self._queue))

    def flush(self, timeout: float = 2.0) -> None:
        """Sends what waits; ends when it is sent, an agent could not be reached, or after so many
        seconds. Blocks: under asyncio call it in a thread."""
        until = time.monotonic() + timeout
        with self._changed:
            failures = self._failures
            while self._queue or self._busy:
                self._hurry = True
                self._work()
                self._changed.notify_all()
                left = until - time.monotonic()
                if left <= 0 or self._failures > failures:
                    return
                self._changed.wait(left)

    def close(self, timeout: float = 2.0) -> None:
        """The same, and listens no more."""
        listen(None)
        atexit.unregister(self.flush)
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._count(dropped=len(self._queue))
            self._queue.clear()
            self._changed.notify_all()

    def _take(self, ended: Ended) -> None:
        try:
            self._put(ended)
        except Exception:
            # A handler never sees it fail.
            with self._changed:
                self._count(dropped=1)

    def _put(self, ended: Ended) -> None:
        event = first(ended.pairs, "hookplane-event-id")
        if event is None:
            with self._changed:
                self._count(direct=1)
            return
        failure = not ended.verdict.is_done
        report: Optional[Report] = None
        if failure or random.random() < self._rate:
            report = self._report(ended, event, failure)
            if self._before_send is not None:
                try:
                    report = self._before_send(report)
                except Exception:
                    report = None
        with self._changed:
            if report is None:
                self._count(left=1)
                return
            if self._closed:
                return
            if not self._has_room(failure):
                self._count(dropped=1)
                return
            self._queue.append(_Waiting(report, time.monotonic(), failure))
            self._work()
            self._changed.notify_all()

    def _has_room(self, failure: bool) -> bool:
        """Where there is none, a success goes for a failure."""
        if len(self._queue) < self._most:
            return True
        if failure:
            for place, waiting in enumerate(self._queue):
                if not waiting.failure:
                    del self._queue[place]
                    self._count(dropped=1)
                    return True
        return False

    def _report(self, ended: Ended, event: str, failure: bool) -> Report:
        """Ids, sizes and words of the handler; never a body or another header."""
        options, verdict = ended.options, ended.verdict
        attempt = first(ended.pairs, "hookplane-attempt") or ""
        source = options.source or os.environ.get("HOOKPLANE_SOURCE") or options.provider
        found = {
            "attempt": int(attempt) if re.fullmatch(r"[1-9][0-9]{0,8}", attempt) else None,
            "reason": cut(verdict.reason) if verdict.reason else None,
            "retry": True if verdict.retry else None,
            "steps": dict(verdict.steps) or None,
            "endpoint": options.endpoint_name,
            "message_id": ended.facts.message_id(),
            "event_type": ended.facts.event_type(),
            "traceparent": first(ended.pairs, "traceparent"),
        }
        return {
            "id": secrets.token_hex(12),
            "source": source,
            "event_id": event,
            "outcome": verdict.outcome,
            **{name: value for name, value in found.items() if value is not None},
            "status": ended.status,
            "size": ended.size,
            "at": datetime.fromtimestamp(ended.at, timezone.utc).isoformat(),
            "latency_ms": round(ended.took * 1_000, 3),
            "sample_rate": 1 if failure else self._rate,
            "sdk": _SDK,
            **self._more,
        }

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + count})

    def _work(self) -> None:
        """Of this process, begun with the first report."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="hookplane", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._queue:
                    self._hurry = False
                    self._changed.notify_all()
                    self._changed.wait()
                # For others to come, or for an agent to come back; further reports end no pause.
                until = time.monotonic() + self._pause()
                while not self._closed and not self._hurry:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                if self._closed:
                    return
                self._hurry = False
                batch = self._batch()
                self._busy = bool(batch)
            if batch:
                self._call(batch)

    def _pause(self) -> float:
        if self._failures == 0:
            return self._interval
        most = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        return most / 2 + random.random() * most / 2

    def _batch(self) -> list[_Waiting]:
        oldest = time.monotonic() - self._patience
        batch: list[_Waiting] = []
        while self._queue and len(batch) < _MOST_AT_ONCE:
            waiting = self._queue.popleft()
            if waiting.since > oldest:
                batch.append(waiting)
            else:
                self._count(dropped=1)
        return batch

    def _call(self, batch: list[_Waiting]) -> None:
        body = {"reports": [waiting.report for waiting in batch]}
        refused: list[Any] = []
        try:
            bytes_ = json.dumps(body, default=str).encode()
            status, answer = self._send(self._url, self._headers, bytes_)
            if status == 202:
                refused = json.loads(answer).get("refused") or []
        except Exception:
            # Not reached in time, or no answer that can be read; another call may.
            status = 0
        with self._changed:
            self._busy = False
            if status == 202:
                later = {one.get("id") for one in refused if one.get("code") == _LATER}
                back = [one for one in batch if one.report.get("id") in later]
                gone = len(refused) - len(back)
                self._count(sent=len(batch) - len(refused), refused=gone)
                self._failures = 1 if back else 0
            elif 400 <= status < 500 and status not in (408, 429):
                # The same again would be refused again.
                self._count(refused=len(batch))
                self._failures, back = 0, []
            else:
                self._failures += 1
                back = batch
            for waiting in reversed(back):
                if self._closed or not self._has_room(waiting.failure):
                    self._count(dropped=1)
                else:
                    self._queue.appendleft(waiting)
            self._changed.notify_all()


def _post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:
            return answer.status, answer.read(_MOST_ANSWER)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""
