"""A wrap for one FastAPI or Starlette route: a decorator below the route's, or a dependency.

The decorator gives the whole: verdict, and the recorded answer to a repeat. With a dependency
FastAPI makes the answer from what the endpoint returns; a `Response` that the endpoint makes itself
has to be passed through `answer`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from typing import Any, Callable, Optional, TypeVar, Union, get_type_hints

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._headers import to_pairs
from .gate import Answer, Gate, Webhook, Work, options_from, too_large
from .options import Options

_encodable: Callable[[Any], Any]
try:
    from fastapi.encoders import jsonable_encoder as _encodable
except ImportError:  # Starlette alone

    def _encodable(value: Any) -> Any:
        return value


Handler = TypeVar("Handler", bound=Callable[..., Any])

_REQUEST = "hookplane_request"


def webhook(
    options: Optional[Options] = None, **settings: Any
) -> Callable[[Handler], Callable[..., Any]]:
    """`@app.post("/hooks")` above, `@webhook(provider=…)` below. The handler gets what it names
    of `webhook` and `request`; `request.state.webhook` is there as well."""
    gate = Gate(options_from(options, settings), asynchronous=True)

    def wrap(handler: Handler) -> Callable[..., Any]:
        signature = _resolved(handler)
        wants_webhook = "webhook" in signature.parameters
        request_name = _name_of_request(signature)

        @functools.wraps(handler)
        async def wrapped(*positional: Any, **named: Any) -> Response:
            # Starlette gives the request by place, FastAPI by name.
            request = named[_REQUEST] if _REQUEST in named else named.get(request_name or "")
            if request is None:
                request = positional[0]
            named.pop(_REQUEST, None)
            admitted = await _admit(gate, request)
            if isinstance(admitted, Answer):
                return _response(admitted)
            async with admitted:
                request.state.webhook = admitted.webhook
                if wants_webhook:
                    named["webhook"] = admitted.webhook
                if inspect.iscoroutinefunction(handler):
                    returned = await handler(*positional, **named)
                else:
                    returned = await run_in_threadpool(handler, *positional, **named)
                response = _as_response(request, returned)
                await _finish(admitted, response)
                return response

        wrapped.__signature__ = _seen_by_framework(signature, request_name)  # type: ignore[attr-defined]
        # Annotations as text would be looked up in this module.
        wrapped.__annotations__ = {
            name: kind for name, kind in wrapped.__annotations__.items() if name != "webhook"
        }
        return wrapped

    return wrap


class Dependency:
    """`webhook: Webhook = Depends(Dependency(provider=…))`."""

    def __init__(self, options: Optional[Options] = None, **settings: Any) -> None:
        self._gate = Gate(options_from(options, settings), asynchronous=True)

    async def __call__(self, request: Request, response: Response) -> AsyncIterator[Delivery]:
        admitted = await _admit(self._gate, request)
        if isinstance(admitted, Answer):
            raise _Answered(admitted)
        async with admitted:
            track = _Telling(admitted, response)
            delivery = Delivery(admitted, track)
            request.state.webhook = delivery
            track.tell()
            yield delivery
            # FastAPI tells nobody the answer's status here; an exception comes as one.
            status = response.status_code or getattr(
                request.scope.get("route"), "status_code", None
            )
            await admitted.finish_async(delivery.status or status or 200, None, None)


# Older releases of FastAPI do not look up annotations written as text on a callable object.
Dependency.__call__.__annotations__.update(request=Request, response=Response)


class Delivery(Webhook):
    """What a dependency gives."""

    def __init__(self, work: Work, telling: _Telling) -> None:
        self.__dict__.update(work.webhook.__dict__)
        self.status: Optional[int] = None
        self._work = work
        _tell_on_marks(self.track, telling.tell)

    def answer(self, response: Response) -> Response:
        """Puts the verdict into a response that the endpoint made itself."""
        self.status = response.status_code
        for name, value in self._work.headers_so_far():
            response.headers[name] = value
        return response


class _Telling:
    """Keeps the verdict's headers as they would be if the handler answered now."""

    def __init__(self, work: Work, response: Response) -> None:
        self._work = work
        self._response = response

    def tell(self) -> None:
        for name, value in self._work.headers_so_far():
            self._response.headers[name] = value
        names = [name for name, _ in self._work.headers_so_far()]
        for name in list(self._response.headers):
            if name.startswith(("hookplane-outcome", "hookplane-deferral")) and name not in names:
                del self._response.headers[name]


def _tell_on_marks(track: Any, tell: Callable[[], None]) -> None:
    for name in ("completed", "failed", "ignored", "deferred", "step"):
        mark = getattr(track, name)

        def told(*given: Any, _mark: Callable[..., Any] = mark, **named: Any) -> Any:
            result = _mark(*given, **named)
            tell()
            return result

        setattr(track, name, functools.wraps(mark)(told))


class _Answered(HTTPException):
    """An answer instead of the endpoint's; `install` shows it as it is."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, detail=_detail(answer), headers=dict(answer.headers))
        self.answer = answer


def install(app: Any) -> None:
    """Lets the dependencies of an application answer repeats and refusals byte for byte."""

    async def show(request: Request, error: Exception) -> Response:
        assert isinstance(error, _Answered)
        return _response(error.answer)

    app.add_exception_handler(_Answered, show)


def _detail(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")


async def _admit(gate: Gate, request: Request) -> Union[Answer, Work]:
    body = await _raw_body(request, gate)
    if body is None:
        return too_large()
    return await gate.admit_async(request, to_pairs(request.headers.raw), body)


async def _raw_body(request: Request, gate: Gate) -> Optional[bytes]:
    """`None` past the bound. Kept where Starlette keeps it, so that `request.json()` works."""
    most = gate.options.max_body_bytes
    if not hasattr(request, "_body"):
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    return None
                chunks.append(chunk)
        except RuntimeError as error:
            if "consumed" not in str(error):
                raise
            raise gate.already_parsed("a form or stream was read before this handler") from None
        request._body = b"".join(chunks)
    body: bytes = request._body
    return body if len(body) <= most else None


def _as_response(request: Request, returned: Any) -> Response:
    if isinstance(returned, Response):
        return returned
    status = getattr(request.scope.get("route"), "status_code", None) or 200
    if status in (204, 304):
        return Response(status_code=status)
    return JSONResponse(_encodable(returned), status_code=status)


async def _finish(work: Work, response: Response) -> None:
    # A stream has none yet.
    body = getattr(response, "body", None)
    kept = bytes(body) if isinstance(body, (bytes, memoryview)) else None
    added = await work.finish_async(
        response.status_code, response.headers.get("content-type"), kept
    )
    for name, value in added:
        response.headers[name] = value


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers=dict(answer.headers))


def _resolved(handler: Callable[..., Any]) -> inspect.Signature:
    """Annotations written as text are looked up in the handler's module, not in this one."""
    signature = inspect.signature(handler)
    try:
        hints = get_type_hints(handler, include_extras=True)
    except (NameError, TypeError):
        return signature
    parameters = [
        parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters)


def _name_of_request(signature: inspect.Signature) -> Optional[str]:
    for name, parameter in signature.parameters.items():
        if name == "request" or parameter.annotation in (Request, "Request"):
            return name
    return None


def _seen_by_framework(
    signature: inspect.Signature, request_name: Optional[str]
) -> inspect.Signature:
    """Without what is filled in here, and with a request, which FastAPI then gives by name."""
    kept = [
        parameter.replace(annotation=Request) if name == request_name else parameter
        for name, parameter in signature.parameters.items()
        if name != "webhook"
    ]
    if request_name is None:
        added = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        kept.append(added)
    # What the endpoint declares to return is made into a response here.
    return signature.replace(parameters=kept, return_annotation=inspect.Signature.empty)
