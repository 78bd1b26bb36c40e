"""Calls that may hang, each in a thread of its own, so that a wait always has an end.

No pool: threads do not survive a fork, and a hung call would take one of few. Past the bound a
call fails at once.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Callable, TypeVar

T = TypeVar("T")

_MOST = 64


class TooManyCalls(Exception):
    """As many calls as allowed already wait."""


class _State:
    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        self.places = threading.BoundedSemaphore(_MOST)


_state = _State()
if hasattr(os, "register_at_fork"):
    # Threads that hold places do not live on in the child.
    os.register_at_fork(after_in_child=_state.empty)


def call(function: Callable[[], T]) -> Future[T]:
    places = _state.places
    future: Future[T] = Future()
    if not places.acquire(blocking=False):
        future.set_exception(TooManyCalls(f"{_MOST} calls of the store wait already"))
        return future

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            places.release()

    threading.Thread(target=run, name="hookplane-store", daemon=True).start()
    return future
