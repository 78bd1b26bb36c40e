"""A wrap around an ASGI application, for the paths it is given and no other.

For handlers that no decorator reaches. They find what they need in
`scope["state"]["webhook"]`, which is `request.state.webhook` in Starlette.
"""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import Any, Callable, Optional, Union

from ._headers import first, to_pairs
from .gate import Answer, Gate, Work, options_from, too_large
from .options import Options

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Disconnected(Exception):
    """The caller is gone before its body was here."""


class WebhookMiddleware:
    """`paths`: exact paths, or a function that says whether a path is meant."""

    def __init__(
        self,
        app: App,
        paths: Union[str, list[str], Callable[[str], bool]],
        options: Optional[Options] = None,
        **settings: Any,
    ) -> None:
        self._app = app
        self._gate = Gate(options_from(options, settings), asynchronous=True)
        listed = [paths] if isinstance(paths, str) else paths
        self._meant = listed if callable(listed) else frozenset(listed).__contains__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._meant(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive, self._gate.options.max_body_bytes)
        except Disconnected:
            return
        if body is None:
            await _answer(send, too_large())
            return
        admitted = await self._gate.admit_async(scope, to_pairs(scope["headers"]), body)
        if isinstance(admitted, Answer):
            await _answer(send, admitted)
            return
        async with admitted:
            scope.setdefault("state", {})["webhook"] = admitted.webhook
            await self._app(scope, _replay(body, receive), _Ending(admitted, send))


class _Ending:
    """Holds the start of the answer back until the verdict is in its headers."""

    def __init__(self, work: Work, send: Send) -> None:
        self._work = work
        self._send = send
        self._start: Optional[Message] = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None and message["type"] == "http.response.body":
            # Of a stream no more is known than that it began.
            whole = None if message.get("more_body") else bytes(message.get("body", b""))
            kind = first(to_pairs(start.get("headers", ())), "content-type")
            added = await self._work.finish_async(start["status"], kind, whole)
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in added]
            start["headers"] = [*start.get("headers", ()), *encoded]
        if start is not None:
            await self._send(start)
        await self._send(message)


async def _read(receive: Receive, most: int) -> Optional[bytes]:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, answer: Answer) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
