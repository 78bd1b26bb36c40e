"""How the stages are driven: by a thread, or by an event loop that nothing may hold up.

A stage yields what may wait. A store's answer has a deadline; without one in time it is `FAILED`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, Union

from . import _bounded
from .dedupe import AnyStore, Claim
from .signature import InvalidSetting

T = TypeVar("T")

#: A third of the lease apart: ten minutes with the usual lease.
_MOST_RENEWALS = 60


class _Failed:
    pass


FAILED = _Failed()


@dataclass(frozen=True)
class Ask:
    """A question to the store: a method's name and what it is given."""

    what: str
    given: tuple[Any, ...]


@dataclass(frozen=True)
class Check:
    """A check of the user's own."""

    call: Callable[[], Any]


Step = Union[Ask, Check]


def run(stages: Generator[Step, Any, T], asker: Asker) -> T:
    def take(step: Step) -> Any:
        if isinstance(step, Ask):
            return asker.ask(step)
        given = step.call()
        if inspect.isawaitable(given):
            if inspect.iscoroutine(given):
                given.close()
            raise TypeError("this handler is not async: its `signature_verifier` cannot be")
        return given

    try:
        step = next(stages)
        while True:
            try:
                given = take(step)
            except Exception as error:
                step = stages.throw(error)
            else:
                step = stages.send(given)
    except StopIteration as end:
        result: T = end.value
        return result


async def run_async(stages: Generator[Step, Any, T], asker: Asker) -> T:
    try:
        step = next(stages)
        while True:
            try:
                if isinstance(step, Ask):
                    given = await asker.ask_async(step)
                else:
                    given = step.call()
                    if inspect.isawaitable(given):
                        given = await given
            except Exception as error:
                step = stages.throw(error)
            else:
                step = stages.send(given)
    except StopIteration as end:
        result: T = end.value
        return result


_running: set[asyncio.Task[Any]] = set()


async def run_to_the_end(stages: Generator[Step, Any, T], asker: Asker) -> T:
    """Also when the caller is cancelled meanwhile: a claim must not stay behind."""
    task = asyncio.ensure_future(run_async(stages, asker))
    # The loop itself keeps no strong reference.
    _running.add(task)
    task.add_done_callback(_running.discard)
    return await asyncio.shield(task)


class Asker:
    def __init__(
        self,
        store: Optional[AnyStore],
        timeout: float,
        lease: float,
        log: Callable[[str, Mapping[str, Any]], None],
        asynchronous: bool,
    ) -> None:
        self._store = store
        self._timeout = timeout
        self._lease = lease
        self._log = log
        self._asynchronous = asynchronous
        self._blocking = getattr(store, "blocking", True)
        self._awaits = store is not None and inspect.iscoroutinefunction(store.claim)
        if self._awaits and not asynchronous:
            raise InvalidSetting("store", "an async store needs an async handler")

    def ask(self, question: Ask) -> Any:
        try:
            if not self._blocking:
                return self._call(question)
            future = _bounded.call(lambda: self._call(question))
            try:
                return future.result(self._timeout)
            except BaseException:
                self._give_back_if_late(question, future)
                raise
        except Exception as error:
            return self._failed(question, error)

    async def ask_async(self, question: Ask) -> Any:
        try:
            if self._awaits:
                return await asyncio.wait_for(self._call(question), self._timeout)
            if not self._blocking:
                return self._call(question)
            future = _bounded.call(lambda: self._call(question))
            try:
                waiting = asyncio.shield(asyncio.wrap_future(future))
                return await asyncio.wait_for(waiting, self._timeout)
            except BaseException:
                self._give_back_if_late(question, future)
                raise
        except Exception as error:
            return self._failed(question, error)

    def renewing(self, token: str) -> Union[_LoopRenewal, _ThreadRenewal]:
        if self._asynchronous:
            return _LoopRenewal(self, token, self._lease)
        return _ThreadRenewal(self, token, self._lease)

    def keeps(self, answer: Any) -> bool:
        """Whether a renewal leaves something to renew."""
        if answer is False:
            self._log("a claim was lost: the handler took longer than its lease", {})
        return answer is not False

    def _call(self, question: Ask) -> Any:
        return getattr(self._store, question.what)(*question.given)

    def _failed(self, question: Ask, error: Exception) -> Any:
        late = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
        why = f"no answer within {self._timeout} s" if late else f"{type(error).__name__}: {error}"
        self._log("the store of claims failed", {"what": question.what, "error": why})
        return FAILED

    def _give_back_if_late(self, question: Ask, future: Future[Any]) -> None:
        """A claim that is granted after nobody waits for it any more would hold up the repeat."""
        if question.what != "claim":
            return

        def release(ended: Future[Any]) -> None:
            if ended.cancelled() or ended.exception() is not None:
                return
            claim = ended.result()
            if isinstance(claim, Claim) and claim.state == "new":
                self._call(Ask("release", (claim.token,)))

        future.add_done_callback(release)


class _LoopRenewal:
    def __init__(self, asker: Asker, token: str, lease: float) -> None:
        self._asker = asker
        self._question = Ask("renew", (token, int(lease * 1000)))
        self._pause = lease / 3
        self._task = asyncio.ensure_future(self._renew())

    def stop(self) -> None:
        self._task.cancel()

    async def _renew(self) -> None:
        # A handler that hangs must not hold its message for ever.
        for _ in range(_MOST_RENEWALS):
            await asyncio.sleep(self._pause)
            if not self._asker.keeps(await self._asker.ask_async(self._question)):
                return


class _ThreadRenewal:
    """One timer at a time; most handlers end before the first has run."""

    def __init__(self, asker: Asker, token: str, lease: float) -> None:
        self._asker = asker
        self._question = Ask("renew", (token, int(lease * 1000)))
        self._pause = lease / 3
        self._left = _MOST_RENEWALS
        self._lock = threading.Lock()
        self._timer: Optional[threading.Timer] = None
        self._next()

    def stop(self) -> None:
        with self._lock:
            self._left = 0
            if self._timer is not None:
                self._timer.cancel()

    def _next(self) -> None:
        with self._lock:
            if self._left <= 0:
                return
            self._left -= 1
            self._timer = threading.Timer(self._pause, self._renew)
            self._timer.daemon = True
            self._timer.start()

    def _renew(self) -> None:
        if self._asker.keeps(self._asker.ask(self._question)):
            self._next()
