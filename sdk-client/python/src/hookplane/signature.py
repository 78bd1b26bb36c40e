"""Whether a request comes from who it says. Pure over bytes.

The same verdicts and reasons as the gateway's own; one set of vectors is run against both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable, Optional, Union

from . import _ed25519
from ._headers import Pairs, Value, to_pairs, values

PROVIDERS = (
    "clerk",
    "svix",
    "standard-webhooks",
    "github",
    "stripe",
    "shopify",
    "slack",
    "hookplane",
)
#: Signed as `<id>.<timestamp>.<body>`, with `whsec_` secrets.
_STANDARD = ("clerk", "svix", "standard-webhooks")

_MAX_SECRETS = 10
_MAX_ENTRIES = 32
#: In seconds it would be the year 2286.
_MILLISECONDS_FROM = 10_000_000_000


class Refusal(Exception):
    """Not believed. The detail is for operators and never holds a secret or a body."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidSetting(ValueError):
    """A setting that can never work; raised when a handler is wrapped, not per request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Verified:
    #: `clerk v1 secret 1 of 2`
    by: str
    #: Place of the secret that matched, from 0.
    secret: int


@dataclass(frozen=True)
class _Key:
    secret: bytes
    is_public: bool = False

    def __repr__(self) -> str:
        return "_Key(redacted)"


@dataclass(frozen=True)
class _Reading:
    """What a signature covers, and what was given as one."""

    label: str
    signed: tuple[bytes, ...]
    entries: Sequence[tuple[str, bytes]]


class Verifier:
    """Judges requests of one provider. `tolerance` in seconds, either way."""

    def __init__(
        self, provider: str, secrets: Union[str, Sequence[str]], tolerance: int = 300
    ) -> None:
        if provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise InvalidSetting(
                "provider_unsupported",
                f"{provider!r} has no check of its own; known are {known}; "
                "give a `signature_verifier` for another",
            )
        if tolerance < 0:
            raise InvalidSetting("tolerance_invalid", "a tolerance is zero seconds or more")
        listed = [secrets] if isinstance(secrets, str) else list(secrets)
        if not 1 <= len(listed) <= _MAX_SECRETS:
            raise InvalidSetting("secrets", f"give 1 to {_MAX_SECRETS} secrets, not {len(listed)}")
        self.provider = provider
        self.tolerance = tolerance
        self._keys = tuple(_key(provider, text) for text in listed)

    def __repr__(self) -> str:
        return f"Verifier({self.provider}, {len(self._keys)} secrets, ±{self.tolerance} s)"

    def verify(
        self, headers: Iterable[tuple[Union[str, bytes], Value]], body: bytes, now: float
    ) -> Verified:
        """Raises a `Refusal`. `now` in Unix seconds; `body` as received, before any decoding."""
        pairs = to_pairs(headers)
        at = int(now)
        reading = self._read(pairs, bytes(body), at)
        for version, tag in reading.entries:
            for place, key in enumerate(self._keys):
                if key.is_public == (version == "v1a") and _fits(key, reading.signed, tag):
                    label = reading.label.format(version=version)
                    return Verified(f"{label} secret {place + 1} of {len(self._keys)}", place)
        which = (
            "the secret does not match"
            if len(self._keys) == 1
            else f"none of the {len(self._keys)} secrets matches"
        )
        raise Refusal(
            "signature_mismatch",
            f"{which}: another secret signed it, or the body was changed on the way",
        )

    def signs(self, message: bytes, tag: bytes) -> bool:
        """Whether one of the shared secrets made this tag of a message of the gateway."""
        shared = [key for key in self._keys if not key.is_public]
        return any([_fits(key, (message,), tag) for key in shared])

    def _read(self, pairs: Pairs, body: bytes, now: int) -> _Reading:
        if self.provider in _STANDARD:
            return _standard(self.provider, pairs, body, now, self.tolerance)
        if self.provider == "github":
            return _body_only("github", pairs, body, "x-hub-signature-256", "sha256=", _hex)
        if self.provider == "shopify":
            return _body_only("shopify", pairs, body, "x-shopify-hmac-sha256", "", _base64)
        if self.provider == "stripe":
            return _stripe(pairs, body, now, self.tolerance)
        stamp, name, version, prefix = (
            ("x-slack-request-timestamp", "x-slack-signature", "v0", "v0:{at}:")
            if self.provider == "slack"
            else ("hookplane-timestamp", "hookplane-signature", "v1", "{at}.")
        )
        sent_at = _single(pairs, stamp)
        seconds = _timestamp(stamp, sent_at)
        tag = _versioned(name, _single(pairs, name), version)
        _fresh(seconds, now, self.tolerance)
        signed = (prefix.format(at=sent_at).encode(), body)
        return _Reading(f"{self.provider} {version}", signed, [(version, tag)])


def _key(provider: str, text: str) -> _Key:
    if not isinstance(text, str):
        raise InvalidSetting("secret_type", "a secret is a text, as the provider shows it")
    if text == "":
        raise InvalidSetting("secret_empty", "a secret is needed")
    inside = provider in _STANDARD and re.search(r"\s", text)
    if text.strip() != text or inside:
        raise InvalidSetting(
            "secret_whitespace", "the secret holds white space; copy it without spaces or line end"
        )
    if provider not in _STANDARD:
        return _Key(text.encode("utf-8"))
    if text.startswith("whpk_") and provider != "clerk":
        public = _lenient_base64(text[5:])
        if public is None or not _ed25519.is_key(public):
            raise InvalidSetting(
                "public_key_invalid", "a public key is `whpk_` and base64 of an Ed25519 key"
            )
        return _Key(public, is_public=True)
    if not text.startswith("whsec_"):
        raise InvalidSetting("secret_prefix", _wrong_prefix(text))
    secret = _lenient_base64(text[6:])
    if secret is None:
        raise InvalidSetting(
            "secret_not_base64", "what follows `whsec_` is not base64; copy the whole secret"
        )
    if not 16 <= len(secret) <= 75:
        raise InvalidSetting(
            "secret_length", f"the secret holds {len(secret)} bytes; 16 to 75 are right"
        )
    return _Key(secret)


def _wrong_prefix(text: str) -> str:
    found = "this does not start with `whsec_`"
    if text.startswith(("sk_", "pk_")):
        found = "this looks like an API key"
    elif text.startswith("whpk_"):
        found = "this is a public key, which only standard-webhooks and svix take"
    elif text.startswith("whsk_"):
        found = "this is the sender's private key, which must stay with the sender"
    return f"{found}; give the endpoint's signing secret, `whsec_` and base64"


def _fits(key: _Key, parts: tuple[bytes, ...], tag: bytes) -> bool:
    if key.is_public:
        return _ed25519.verifies(key.secret, b"".join(parts), tag)
    mac = hmac.new(key.secret, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(part)
    return hmac.compare_digest(mac.digest(), tag)


def _standard(provider: str, pairs: Pairs, body: bytes, now: int, tolerance: int) -> _Reading:
    spelling = _spelling(pairs)
    id_name, stamp, name = (f"{spelling}-{what}" for what in ("id", "timestamp", "signature"))
    message = _single(pairs, id_name)
    if not re.fullmatch(r"[\x21-\x2d\x2f-\x7e]{1,256}", message):
        raise Refusal(
            "id_invalid",
            f"`{id_name}` must be up to 256 visible characters without a full stop",
        )
    sent_at = _single(pairs, stamp)
    seconds = _timestamp(stamp, sent_at)
    value = _single(pairs, name)
    _fresh(seconds, now, tolerance)
    split = [entry.split(",", 1) for entry in value.split(" ") if entry][:_MAX_ENTRIES]
    well_formed = [entry for entry in split if len(entry) == 2]
    if not well_formed:
        raise Refusal("header_malformed", f"`{name}` holds no `version,signature` entry")
    known = [entry for entry in well_formed if entry[0] in ("v1", "v1a")]
    if not known:
        raise Refusal("versions_unsupported", f"`{name}` holds no entry of version v1 or v1a")
    tags = [(version, _base64(encoded)) for version, encoded in known]
    entries = [(version, tag) for version, tag in tags if tag is not None]
    return _Reading(f"{provider} {{version}}", (f"{message}.{sent_at}.".encode(), body), entries)


def _spelling(pairs: Pairs) -> str:
    """One spelling per request: a mix would let one header be swapped for another's."""
    found = [
        spelling
        for spelling in ("svix", "webhook")
        if any(values(pairs, f"{spelling}-{what}") for what in ("id", "timestamp", "signature"))
    ]
    if len(found) == 2:
        raise Refusal("headers_mixed", "the request has both `svix-*` and `webhook-*` headers")
    if not found:
        raise Refusal("header_missing", "neither `svix-*` nor `webhook-*` headers are present")
    return found[0]


def _stripe(pairs: Pairs, body: bytes, now: int, tolerance: int) -> _Reading:
    name = "stripe-signature"
    sent_at: Optional[str] = None
    given: list[str] = []
    for pair in _single(pairs, name).split(",")[:_MAX_ENTRIES]:
        field, equals, text = pair.strip().partition("=")
        if not equals:
            raise Refusal("header_malformed", f"`{name}` is not a list of key=value pairs")
        if field == "t":
            if sent_at is not None:
                raise Refusal("header_malformed", f"`{name}` has two timestamps")
            sent_at = text
        elif field == "v1":
            given.append(text)
    if sent_at is None:
        raise Refusal("header_malformed", f"`{name}` has no `t=`")
    seconds = _timestamp(name, sent_at)
    if not given:
        raise Refusal("versions_unsupported", f"`{name}` has no `v1=` signature")
    _fresh(seconds, now, tolerance)
    tags = [_hex(text) for text in given]
    entries = [("v1", tag) for tag in tags if tag is not None]
    return _Reading("stripe v1", (f"{sent_at}.".encode(), body), entries)


def _body_only(
    provider: str,
    pairs: Pairs,
    body: bytes,
    name: str,
    prefix: str,
    decode: Callable[[str], Optional[bytes]],
) -> _Reading:
    value = _single(pairs, name)
    if not value.startswith(prefix):
        raise Refusal("header_malformed", f"`{name}` does not start with `{prefix}`")
    tag = decode(value[len(prefix) :])
    if tag is None:
        raise Refusal("header_malformed", f"`{name}` is in another encoding")
    return _Reading(f"{provider} hmac", (body,), [("hmac", tag)])


def _versioned(name: str, value: str, wanted: str) -> bytes:
    version, equals, encoded = value.partition("=")
    if not equals:
        raise Refusal("header_malformed", f"`{name}` is not `{wanted}=<hex>`")
    if version != wanted:
        raise Refusal("versions_unsupported", f"`{name}` is not of version {wanted}")
    tag = _hex(encoded)
    if tag is None:
        raise Refusal("header_malformed", f"`{name}` is not hex")
    return tag


def _single(pairs: Pairs, name: str) -> str:
    found = values(pairs, name)
    if not found:
        raise Refusal("header_missing", f"`{name}` is missing")
    if len(found) > 1:
        raise Refusal("header_duplicated", f"`{name}` stands {len(found)} times in the request")
    try:
        text = found[0].decode("utf-8").strip()
    except UnicodeDecodeError:
        raise Refusal("header_malformed", f"`{name}` is not text") from None
    if not text:
        raise Refusal("header_missing", f"`{name}` is empty")
    return text


def _timestamp(name: str, text: str) -> int:
    """Digits only, so that junk, fractions and signs are refused."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refusal("timestamp_malformed", f"`{name}` is not a whole number of Unix seconds")
    seconds = int(text)
    if seconds >= _MILLISECONDS_FROM:
        raise Refusal("timestamp_in_milliseconds", f"`{name}` seems to be in milliseconds")
    return seconds


def _fresh(sent_at: int, now: int, tolerance: int) -> None:
    age = now - sent_at
    if age > tolerance:
        raise Refusal("timestamp_too_old", f"signed {age} s ago; {tolerance} s are allowed")
    if age < -tolerance:
        raise Refusal(
            "timestamp_too_new", f"signed {-age} s in the future; {tolerance} s are allowed"
        )


def _hex(text: str) -> Optional[bytes]:
    if len(text) % 2 or not re.fullmatch(r"[0-9a-fA-F]*", text):
        return None
    return bytes.fromhex(text)


def _base64(text: str) -> Optional[bytes]:
    """Padded, of the standard alphabet, and with no bits left over, as the gateway reads it."""
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return decoded if base64.b64encode(decoded).decode() == text else None


def _lenient_base64(text: str) -> Optional[bytes]:
    """Secrets are taken without padding too."""
    bare = text.rstrip("=")
    return _base64(bare + "=" * (-len(bare) % 4))
