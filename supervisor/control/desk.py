"""The desk: who waits for what to come of a request, and who listens to what happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from supervisor.core import effects
from supervisor.core.outcome import Result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from supervisor.core.effects import Effect
    from supervisor.core.outcome import Outcome

DONE = "done"
ROLLED_BACK = "rolled back"
REFUSED = "refused"

_BACKLOG = 1000
"""Events that a slow listener may lag behind before it is let go."""
_LAGGED = f"more than {_BACKLOG} events were not taken: listen again"


class Desk:
    """Waiters by request id, and listeners."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._aborting: set[str] = set()
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def wait(self, request: str, *, aborts: bool) -> asyncio.Future[dict[str, Any]]:
        """What will come of a request. One that aborts is answered when the handoff under way has ended."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        if aborts:
            self._aborting.add(request)
        return future

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
        result = {Result.COMMITTED: DONE, Result.ROLLED_BACK: ROLLED_BACK, Result.REFUSED: REFUSED}[outcome.result]
        self._answer(outcome.request.id, result, reason=str(outcome.failure or ""), **about)
        undone = REFUSED if outcome.result is Result.COMMITTED else DONE
        late = "it was committed before it could be undone" if undone is REFUSED else ""
        if outcome.undone_by is not None:
            self._answer(outcome.undone_by.id, undone, reason=late, **about)
        for request in list(self._aborting):
            self._answer(request, undone, reason=late, **about)

    def _answer(self, request: str, result: str, **more: str | int | None) -> None:
        future = self._waiting.pop(request, None)
        self._aborting.discard(request)
        if future is not None and not future.done():
            future.set_result({"result": result, **{key: value for key, value in more.items() if value != ""}})

    def _close(self) -> None:
        for request in list(self._waiting):
            self._answer(request, REFUSED, reason="the supervisor ended")
        for queue in self._listeners:
            queue.put_nowait(None)


def as_event(name: str, at: float, fields: Mapping[str, Any]) -> dict[str, Any]:
    """One event as listeners get it: its name, seconds since 1970, its fields."""
    return {"event": name, "at": round(at, 4), **fields}
