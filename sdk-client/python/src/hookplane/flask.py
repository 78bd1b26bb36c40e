"""A wrap for one Flask view: `@app.post("/hooks")` above, `@webhook(provider=…)` below.

The view finds its track in `g.webhook`, or in an argument that it names `webhook`.
"""

from __future__ import annotations

import functools
import inspect
from io import BytesIO
from typing import Any, Callable, Optional, TypeVar

from flask import Response, current_app, g, make_response, request

from ._headers import to_pairs
from ._wsgi import read_up_to
from .gate import Answer, Gate, Work, options_from, too_large
from .options import Options

View = TypeVar("View", bound=Callable[..., Any])


def webhook(
    options: Optional[Options] = None, **settings: Any
) -> Callable[[View], Callable[..., Response]]:
    gate = Gate(options_from(options, settings), asynchronous=False)

    def wrap(view: View) -> Callable[..., Response]:
        wants_webhook = "webhook" in inspect.signature(view).parameters

        @functools.wraps(view)
        def wrapped(*positional: Any, **named: Any) -> Response:
            body = _raw_body(gate)
            if body is None:
                return _response(too_large())
            admitted = gate.admit(request, to_pairs(request.headers.items()), body)
            if isinstance(admitted, Answer):
                return _response(admitted)
            with admitted:
                g.webhook = admitted.webhook
                if wants_webhook:
                    named["webhook"] = admitted.webhook
                response = make_response(current_app.ensure_sync(view)(*positional, **named))
                _finish(admitted, response)
                return response

        return wrapped

    return wrap


def _finish(work: Work, response: Response) -> None:
    whole = None if response.is_streamed or response.direct_passthrough else response.get_data()
    added = work.finish(response.status_code, response.headers.get("content-type"), whole)
    for name, value in added:
        response.headers[name] = value


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


def _raw_body(gate: Gate) -> Optional[bytes]:
    """`None` past the bound. The bytes are put back, so that the view can read them."""
    most = gate.options.max_body_bytes
    told = request.content_length
    if told is not None and told > most:
        return None
    cached: Optional[bytes] = getattr(request, "_cached_data", None)
    if cached is not None:
        return cached if len(cached) <= most else None
    if "stream" in request.__dict__ or "form" in request.__dict__:
        body = request.get_data(cache=True)
        if not body and (told or request.form or request.files):
            raise gate.already_parsed("a form or stream was read before this view")
        return body
    environ = request.environ
    if told is None and not environ.get("wsgi.input_terminated"):
        return b""
    body = read_up_to(environ["wsgi.input"], most + 1 if told is None else told)
    if len(body) > most:
        return None
    if told is not None and len(body) < told:
        raise gate.already_parsed("the body was read before this view, or the caller is gone")
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body
