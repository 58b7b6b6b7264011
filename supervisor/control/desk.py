"""The desk: who waits for what to come of a request, and who listens to what happens."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from supervisor.core import effects
from supervisor.core.outcome import Result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from supervisor.core.effects import Effect
    from supervisor.core.outcome import Outcome

DONE = "done"
ROLLED_BACK = "rolled back"
REFUSED = "refused"

_RESULTS = {Result.COMMITTED: DONE, Result.ROLLED_BACK: ROLLED_BACK, Result.REFUSED: REFUSED}

ABORT = "abort"

KEPT = 100
"""Requests that have ended whose outcome is told to who asks for them again."""

_BACKLOG = 1000
"""Events that a slow listener may lag behind before it is let go."""
_LAGGED = f"more than {_BACKLOG} events were not taken: listen again"


class Promise(Struct, frozen=True):
    """What was asked for, and what will come of it."""

    what: str
    answer: asyncio.Future[dict[str, Any]]


class Desk:
    """Waiters by request id, and listeners."""

    def __init__(self) -> None:
        self._promises: dict[str, Promise] = {}
        self._kept: deque[str] = deque()
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def wait(self, request: str, what: str) -> asyncio.Future[dict[str, Any]]:
        """What will come of a request. One to abort is answered when the handoff under way has ended."""
        promise = Promise(what, asyncio.get_running_loop().create_future())
        self._promises[request] = promise
        return promise.answer

    def known(self, request: str) -> Promise | None:
        """What was promised of a request that waits, is under way, or is among the last that have ended."""
        return self._promises.get(request)

    def recall(self, entry: Mapping[str, Any]) -> Promise:
        """The same of one that is known from the history alone, for it ended before the supervisor began."""
        request = str(entry["request"])
        answer = self.wait(request, str(entry["ask"]))
        about = {
            "handoff": entry["handoff"],
            "from_generation": entry["from"]["generation"],
            "to_generation": entry["to"]["generation"],
            "release": entry["to"]["release"] or entry["from"]["release"],
        }
        self._answer(request, _RESULTS[Result(entry["result"])], reason=entry["reason"] or "", **about)
        return Promise(str(entry["ask"]), answer)

    def take(self, wanted: tuple[Effect, ...]) -> None:
        """Answer whoever a step's effects concern."""
        for effect in wanted:
            match effect:
                case effects.Conclude():
                    self._conclude(effect.outcome)
                case effects.Refuse():
                    self._answer(effect.request.id, REFUSED, reason=str(effect.failure))
                case effects.End():
                    self._close()
                case _:
                    pass

    def publish(self, event: dict[str, Any]) -> None:
        """Tell every listener."""
        for queue in list(self._listeners):
            if queue.qsize() >= _BACKLOG:
                self._listeners.discard(queue)
                queue.put_nowait(as_event("cut_off", event["at"], {"what": _LAGGED}))
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    async def happenings(self) -> AsyncGenerator[dict[str, Any], None]:
        """What happens from now on. Ends when the supervisor does, or if the listener lags too far behind."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    def _conclude(self, outcome: Outcome) -> None:
        about = {
            "handoff": outcome.handoff,
            "from_generation": outcome.from_generation,
            "to_generation": outcome.to_generation,
            "release": (outcome.to_release or outcome.from_release).id,
        }
        self._answer(outcome.request.id, _RESULTS[outcome.result], reason=str(outcome.failure or ""), **about)
        undone = REFUSED if outcome.result is Result.COMMITTED else DONE
        late = "it was committed before it could be undone" if undone is REFUSED else ""
        if outcome.undone_by is not None:
            self._answer(outcome.undone_by.id, undone, reason=late, **about)
        for request in self._waiting():
            if self._promises[request].what == ABORT:
                self._answer(request, undone, reason=late, **about)

    def _answer(self, request: str, result: str, **more: str | int | None) -> None:
        promise = self._promises.get(request)
        if promise is None or promise.answer.done():
            return
        promise.answer.set_result({"result": result, **{key: value for key, value in more.items() if value != ""}})
        self._kept.append(request)
        if len(self._kept) > KEPT:
            del self._promises[self._kept.popleft()]

    def _waiting(self) -> list[str]:
        return [request for request, promise in self._promises.items() if not promise.answer.done()]

    def _close(self) -> None:
        for request in self._waiting():
            self._answer(request, REFUSED, reason="the supervisor ended")
        for queue in self._listeners:
            queue.put_nowait(None)


def as_event(name: str, at: float, fields: Mapping[str, Any]) -> dict[str, Any]:
    """One event as listeners get it: its name, seconds since 1970, its fields."""
    return {"event": name, "at": round(at, 4), **fields}
