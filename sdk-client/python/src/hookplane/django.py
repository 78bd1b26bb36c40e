"""A wrap for one Django view, sync or async; it needs no CSRF token, its proof is the signature.

The view finds its track in `request.webhook`, or in an argument that it names `webhook`.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Optional, TypeVar

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException

from ._headers import Pairs, to_pairs
from ._wsgi import read_up_to
from .gate import Answer, Gate, Work, options_from, too_large
from .options import Options

View = TypeVar("View", bound=Callable[..., Any])


def webhook(
    options: Optional[Options] = None, **settings: Any
) -> Callable[[View], Callable[..., Any]]:
    given = options_from(options, settings)

    def wrap(view: View) -> Callable[..., Any]:
        asynchronous = inspect.iscoroutinefunction(view)
        gate = Gate(given, asynchronous=asynchronous)
        wants_webhook = "webhook" in inspect.signature(view).parameters

        def begin(work: Work, request: Any, named: dict[str, Any]) -> None:
            request.webhook = work.webhook
            if wants_webhook:
                named["webhook"] = work.webhook

        if asynchronous:

            @functools.wraps(view)
            async def wrapped_async(request: Any, *positional: Any, **named: Any) -> Any:
                body = _raw_body(request, gate)
                if body is None:
                    return _response(too_large())
                admitted = await gate.admit_async(request, _pairs(request), body)
                if isinstance(admitted, Answer):
                    return _response(admitted)
                async with admitted:
                    begin(admitted, request, named)
                    response = await view(request, *positional, **named)
                    added = await admitted.finish_async(*_described(response))
                    return _with(response, added)

            return _exempt(wrapped_async)

        @functools.wraps(view)
        def wrapped(request: Any, *positional: Any, **named: Any) -> Any:
            body = _raw_body(request, gate)
            if body is None:
                return _response(too_large())
            admitted = gate.admit(request, _pairs(request), body)
            if isinstance(admitted, Answer):
                return _response(admitted)
            with admitted:
                begin(admitted, request, named)
                response = view(request, *positional, **named)
                return _with(response, admitted.finish(*_described(response)))

        return _exempt(wrapped)

    return wrap


def _exempt(view: Callable[..., Any]) -> Callable[..., Any]:
    """Django's own decorator hides from older releases of it that a view is async."""
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


def _raw_body(request: HttpRequest, gate: Gate) -> Optional[bytes]:
    """`None` past the bound; Django has one of its own, `DATA_UPLOAD_MAX_MEMORY_SIZE`."""
    most = gate.options.max_body_bytes
    told = str(request.META.get("CONTENT_LENGTH") or "")
    if told.isdigit() and int(told) > most:
        return None
    environ = getattr(request, "environ", {})
    if not told and environ.get("wsgi.input_terminated") and not hasattr(request, "_body"):
        # Django takes a chunked body for an empty one.
        request._body = read_up_to(environ["wsgi.input"], most + 1)
    try:
        body: bytes = request.body
    except RequestDataTooBig:
        return None
    except RawPostDataException:
        raise gate.already_parsed("a form or stream was read before this view") from None
    return body if len(body) <= most else None


def _pairs(request: HttpRequest) -> Pairs:
    return to_pairs(request.headers.items())


def _described(response: Any) -> tuple[int, Optional[str], Optional[bytes]]:
    body = None if response.streaming else bytes(response.content)
    return response.status_code, response.headers.get("content-type"), body


def _with(response: Any, added: list[tuple[str, str]]) -> Any:
    for name, value in added:
        response.headers[name] = value
    return response


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["content-type"]
    return _with(response, answer.headers)
