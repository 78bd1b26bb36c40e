"""One request through the stages, whatever the framework: verify, claim, run, judge, answer.

Adapters bring raw bytes and take the answer; they know no rule of this. The stages are written
once, as generators that yield what may wait; `_drive` has a driver for threads and one for asyncio.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Optional, Union

from . import _drive, _observe
from ._drive import FAILED, Ask, Check, Step
from ._headers import HeaderView, Pairs, first
from ._identify import Facts
from .dedupe import Claim, Recorded
from .options import Options
from .signature import InvalidSetting, Refusal, Verifier
from .track import Track, Verdict, to_headers

Headers = list[tuple[str, str]]

_MAX_RECORDED = 64 * 1024
_MAX_CHALLENGE = 512
_logger = logging.getLogger("hookplane")


@dataclass(frozen=True)
class Answer:
    """Made here, instead of the handler's."""

    status: int
    headers: Headers
    body: bytes


class AlreadyParsed(RuntimeError):
    """Somebody read the body before; the raw bytes are needed to verify it."""

    def __init__(self, hint: str) -> None:
        super().__init__(f"already_parsed: {hint}")


class Webhook:
    """What a wrapped handler gets beside its request."""

    def __init__(self, track: Track, body: bytes, verified: bool, facts: Facts, kind: Any) -> None:
        self.track = track
        #: The raw bytes, as received and verified.
        self.body = body
        self.verified = verified
        self.event_type: Optional[str] = kind
        self.message_id: Optional[str] = facts.message_id()
        self._facts = facts

    def json(self) -> Any:
        """The parsed body; `None` when it is not JSON."""
        return self._facts.json()


class Gate:
    """Of one wrapped handler. Raises an `InvalidSetting`, so that a wrong secret shows at the
    start."""

    def __init__(self, options: Options, *, asynchronous: bool) -> None:
        self.options = options
        self._verifier = options.verifier()
        self._forcer = self._checks_force()
        self.asker = _drive.Asker(
            options.store, options.store_timeout, options.lease, self.log, asynchronous
        )

    def admit(self, request: Any, pairs: Pairs, body: bytes) -> Union[Answer, Work]:
        return _drive.run(self._admit(request, pairs, body), self.asker)

    async def admit_async(self, request: Any, pairs: Pairs, body: bytes) -> Union[Answer, Work]:
        return await _drive.run_async(self._admit(request, pairs, body), self.asker)

    def log(self, message: str, detail: Mapping[str, Any]) -> None:
        if self.options.log is not None:
            self.options.log(message, detail)
        else:
            listed = ", ".join(f"{name}={value}" for name, value in detail.items())
            _logger.warning("%s: %s", message, listed)

    def already_parsed(self, hint: str) -> AlreadyParsed:
        """To be raised; told here as well, since frameworks keep errors to themselves."""
        self.log("a request was refused", {"reason": "already_parsed", "detail": hint})
        return AlreadyParsed(hint)

    def _checks_force(self) -> Optional[Verifier]:
        options = self.options
        if options.gateway_secret is not None:
            standard = options.gateway_secret.startswith("whsec_")
            provider = "standard-webhooks" if standard else "hookplane"
            return Verifier(provider, options.gateway_secret, options.signature_tolerance)
        return self._verifier if options.provider in ("hookplane", "standard-webhooks") else None

    def _admit(
        self, request: Any, pairs: Pairs, body: bytes
    ) -> Generator[Step, Any, Union[Answer, Work]]:
        options = self.options
        facts = Facts(options.provider, pairs, body)
        verified = yield from self._verified(pairs, body)
        if not verified and options.reject_invalid_signatures:
            return json_answer(401, "unauthorized", "SIGNATURE_INVALID")
        challenge = _challenge(options.provider, facts) if verified else None
        if challenge is not None:
            return challenge
        claim: Optional[Claim] = None
        # A forged request could otherwise take the place of the real one.
        if verified and options.store is not None and not self._is_forced(pairs):
            claim = yield from self._claim(request, pairs, facts)
        if claim is not None:
            refused = self._refused(claim, pairs)
            if refused is not None:
                return refused
        webhook = Webhook(Track(options.steps), body, verified, facts, facts.event_type())
        return Work(self, webhook, claim, pairs)

    def _verified(self, pairs: Pairs, body: bytes) -> Generator[Step, Any, bool]:
        own = self.options.signature_verifier
        try:
            if own is not None:
                believed = bool((yield Check(lambda: own(body, HeaderView(pairs)))))
                reason, detail = "verifier_refused", ""
            elif self._verifier is not None:
                self._verifier.verify(pairs, body, time.time())
                believed = True
        except Refusal as refusal:
            believed, reason, detail = False, refusal.reason, refusal.detail
        except Exception as error:
            believed, reason, detail = False, "verifier_threw", type(error).__name__
        if not believed:
            told = {"provider": self.options.provider, "reason": reason, "detail": detail}
            self.log("a request was refused", told)
        return believed

    def _claim(
        self, request: Any, pairs: Pairs, facts: Facts
    ) -> Generator[Step, Any, Optional[Claim]]:
        options = self.options
        own = options.idempotency_key
        found = facts.message_id() if own is None else own(request, facts.json(), HeaderView(pairs))
        if not found:
            return None
        key = f"{options.endpoint_name or options.provider}/{found}"
        lease = int(options.lease * 1000)
        claim = yield Ask("claim", (key, lease, options.idempotency_ttl))
        if claim is FAILED:
            return Claim("unreachable") if options.on_store_error == "closed" else None
        return claim if isinstance(claim, Claim) else None

    def _refused(self, claim: Claim, pairs: Pairs) -> Optional[Answer]:
        if claim.state == "unreachable":
            return json_answer(503, "try again", "STORE_UNREACHABLE", [("retry-after", "5")])
        if claim.state == "in_progress":
            seconds = str(max(1, math.ceil(claim.retry_after_ms / 1000)))
            return json_answer(409, "in progress", "IN_PROGRESS", [("retry-after", seconds)])
        if claim.state != "done":
            return None
        kept = claim.recorded or Recorded(200, None, b"")
        headers: Headers = [("content-type", kept.content_type)] if kept.content_type else []
        if first(pairs, "hookplane-event-id") is not None:
            headers.append(("hookplane-duplicate", "true"))
            headers.extend(to_headers(Verdict("completed")))
        return Answer(kept.status, headers, kept.body)

    def _is_forced(self, pairs: Pairs) -> bool:
        """Whether a person asked the gateway to do the work again, and the gateway says so."""
        given = first(pairs, "hookplane-force")
        if given is None or self._forcer is None:
            return False
        read = re.fullmatch(r"t=([0-9]{1,18}),v1=([0-9a-f]{64})", given)
        event, attempt = first(pairs, "hookplane-event-id"), first(pairs, "hookplane-attempt")
        if read is None or event is None or attempt is None:
            return False
        if abs(time.time() - int(read[1])) > self._forcer.tolerance:
            self.log("a forced repeat is out of time", {"event": event})
            return False
        message = f"force.{event}.{attempt}.{read[1]}".encode()
        return self._forcer.signs(message, bytes.fromhex(read[2]))


class Work:
    """A handler at work. Left by an exception, its message may be done again."""

    def __init__(
        self, gate: Gate, webhook: Webhook, claim: Optional[Claim], pairs: Pairs
    ) -> None:
        self.webhook = webhook
        self._gate = gate
        self._claim = claim
        self._pairs = pairs
        self._behind_gateway = first(pairs, "hookplane-event-id") is not None
        self._at, self._began = time.time(), time.monotonic()
        self._renewal = gate.asker.renewing(claim.token) if claim is not None else None
        self._ended = False

    def __enter__(self) -> Work:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not self._ended:
            self._tell_crash(error)
            _drive.run(self._crashed(), self._gate.asker)

    async def __aenter__(self) -> Work:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not self._ended:
            self._tell_crash(error)
            await _drive.run_to_the_end(self._crashed(), self._gate.asker)

    def finish(self, status: int, content_type: Optional[str], body: Optional[bytes]) -> Headers:
        """Once it has answered: the headers to add. `body` is `None` when it is not known yet."""
        return _drive.run(self._finish(status, content_type, body), self._gate.asker)

    async def finish_async(
        self, status: int, content_type: Optional[str], body: Optional[bytes]
    ) -> Headers:
        finished = self._finish(status, content_type, body)
        return await _drive.run_to_the_end(finished, self._gate.asker)

    def headers_so_far(self) -> Headers:
        """What would be added if the handler answered 200 now."""
        verdict = self.webhook.track.verdict(200, self._gate.options.require_processing_mark)
        return to_headers(verdict) if self._behind_gateway and verdict is not None else []

    def _finish(
        self, status: int, content_type: Optional[str], body: Optional[bytes]
    ) -> Generator[Step, Any, Headers]:
        self._ended = True
        self._stop()
        verdict = self.webhook.track.verdict(status, self._gate.options.require_processing_mark)
        self._tell(verdict or Verdict("failed", f"answered {status}", True), status)
        if self._claim is not None:
            token = self._claim.token
            if verdict is not None and verdict.is_done and 200 <= status <= 299:
                small = body is not None and len(body) <= _MAX_RECORDED
                recorded = Recorded(status, content_type, body or b"") if small else None
                yield Ask("complete", (token, recorded))
            elif verdict is not None and verdict.deferral is not None:
                left = verdict.deferral.deadline - datetime.now(timezone.utc)
                yield Ask("renew", (token, max(1, int(left.total_seconds() * 1000))))
            else:
                yield Ask("release", (token,))
        # Never shown to a provider.
        return to_headers(verdict) if self._behind_gateway and verdict is not None else []

    def _crashed(self) -> Generator[Step, Any, None]:
        self._ended = True
        self._stop()
        if self._claim is not None:
            yield Ask("release", (self._claim.token,))

    def _tell_crash(self, error: Any) -> None:
        # Left without an answer and without an error: nothing is known of it.
        if isinstance(error, Exception):
            self._tell(Verdict("crashed", f"{type(error).__name__}: {error}"), 0)

    def _tell(self, verdict: Verdict, status: int) -> None:
        if _observe.listens():
            webhook = self.webhook
            took = time.monotonic() - self._began
            ended = _observe.Ended(
                self._gate.options,
                self._pairs,
                webhook._facts,
                len(webhook.body),
                verdict,
                status,
                self._at,
                took,
            )
            _observe.tell(ended)

    def _stop(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()


def json_answer(status: int, error: str, code: str, more: Optional[Headers] = None) -> Answer:
    headers: Headers = [("content-type", "application/json"), *(more or [])]
    return Answer(status, headers, json.dumps({"error": error, "code": code}).encode())


def too_large() -> Answer:
    """What an adapter does with a body past its bound."""
    return json_answer(413, "too large", "BODY_TOO_LARGE")


def options_from(options: Optional[Options], settings: Mapping[str, Any]) -> Options:
    if options is None:
        return Options(**settings)
    if settings:
        raise InvalidSetting("options", "give either `Options` or single settings")
    return options


def _challenge(provider: str, facts: Facts) -> Optional[Answer]:
    """Slack's check of the address."""
    value = facts.json() if provider == "slack" else None
    if not isinstance(value, dict) or value.get("type") != "url_verification":
        return None
    text = value.get("challenge")
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_CHALLENGE:
        return None
    return Answer(200, [("content-type", "text/plain")], text.encode("utf-8", "replace"))
