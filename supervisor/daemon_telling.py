"""What is told of each step: to the log, to who listens to events, and, where a handoff ends, to the history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.control.desk import as_event
from supervisor.core import effects
from supervisor.core.chronicle import Happening, chronicle, durations, ready_to_steered
from supervisor.core.model import Mode, Role, State
from supervisor.core.outcome import Result
from supervisor.telemetry.asker import login_of, process_name, user_name
from supervisor.telemetry.report import Drain, Report, for_alarms, unseen
from supervisor.telemetry.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from supervisor.control.desk import Desk
    from supervisor.core.model import Request
    from supervisor.core.outcome import Outcome
    from supervisor.daemon_clearance import Cleared
    from supervisor.engine.history import History
    from supervisor.engine.loop import Step
    from supervisor.engine.losses import Loss, Losses
    from supervisor.linux.listeners import Listeners
    from supervisor.telemetry.report import Stragglers

_log = structlog.get_logger()

_PORTS_TOLD = 50
_ASKERS = 16
"""Of as many requests it is kept who made them: one is under way, one waits, the others will not be told of again."""


class Telling:
    """Tells, and keeps what the report of a handoff is made of while that is under way."""

    def __init__(
        self,
        desk: Desk,
        history: History,
        losses: Losses,
        listeners: Listeners,
        cleared: Callable[[int], Cleared],
    ) -> None:
        self._desk = desk
        self._history = history
        self._losses = losses
        self._listeners = listeners
        self._cleared = cleared
        self._askers: dict[str, tuple[str | None, int | None]] = {}
        self._state = State()
        self._under_way: int | None = None
        self._report: Report | None = None
        self._drains: list[Drain] = []

    def go_on(self, state: State) -> None:
        """An earlier supervisor has told what led to this state."""
        self._state = state
        if state.concluded is not None:
            self._begin_drain(state.concluded, state)

    def asked(self, request: Request) -> None:
        """Somebody asks: see who it is while it is still there."""
        self._askers[request.id] = process_name(request.pid), login_of(request.pid)
        while len(self._askers) > _ASKERS:
            self._askers.pop(next(iter(self._askers)))

    def tell(self, step: Step) -> None:
        """Tell all that this step has to say, with the time at which it happened."""
        self._state = step.after
        offset = time.time() - time.monotonic()
        at = step.event.at + offset
        for loss in self._lost(step):
            self._say(_of(loss), at)
        happenings = tuple(chronicle(step.before, step.event, step.after, step.effects))
        self._note(step, happenings, at)
        ended = [self._entry(each.outcome, offset) for each in step.effects if isinstance(each, effects.Conclude)]
        for each in happenings:
            self._say(each, at, for_alarms(ended[-1]["report"]) if each.name == "handoff_ended" else {})
        for entry in ended:
            self._history.append(entry)
        self._see_off(step, happenings)
        self._attend(step.after)

    def _say(self, happening: Happening, at: float, more: Mapping[str, Any] | None = None) -> None:
        fields = {**happening.fields, **(more or {})}
        (_log.warning if happening.grave else _log.info)(happening.name, at=at, **fields)
        self._desk.publish(as_event(happening.name, at, fields))

    # ---- who waited in vain

    def _lost(self, step: Step) -> list[Loss]:
        """What became of the queues that were closed with this step, counted where it belongs."""
        closed = [each.sockets for each in step.effects if isinstance(each, effects.CloseSockets)]
        lost = [loss for sockets in closed for loss in self._losses.take(sockets)]
        for loss in lost:
            whose = self._whose(loss.sockets)
            if whose is not None and loss.ports is None:
                whose.add_migrated(loss.connections)
            elif whose is not None and loss.ports is not None:
                whose.add_reset(loss.connections, loss.ports)
        return lost

    def _whose(self, sockets: int) -> Stragglers | None:
        """A generation that drains belongs to the handoff that it has left behind, whatever is under way by now."""
        drain = next((each for each in self._drains if each.sockets == sockets), None)
        if drain is not None:
            return drain.stragglers
        return None if self._report is None else self._report.stragglers

    # ---- the handoff under way

    def _attend(self, state: State) -> None:
        """Watch while a handoff is under way, and only then."""
        under_way = state.handoff.number if state.handoff is not None and state.mode is not Mode.LEFT else None
        if under_way == self._under_way:
            return
        if self._report is not None:
            self._report.watcher.end()
        self._under_way = under_way
        self._report = None if under_way is None else Report(Watcher(self._listeners, self._exposed))

    def _exposed(self) -> Iterator[int]:
        """The sets of sockets that clients are sent to, or have been."""
        return (each.sockets for each in self._state.generations if each.served and each.sockets is not None)

    def _note(self, step: Step, happenings: Iterable[Happening], at: float) -> None:
        handoff = step.before.handoff
        if self._report is None or handoff is None:
            return
        for each in happenings:
            self._report.note(each, at, handoff.candidate)

    def _entry(self, outcome: Outcome, offset: float) -> dict[str, Any]:
        request = outcome.request
        return {
            "handoff": outcome.handoff,
            "ended": round(outcome.ended + offset, 3),
            "request": request.id,
            "ask": request.ask,
            "way": request.way,
            "uid": request.uid,
            "pid": request.pid,
            "result": outcome.result,
            "because": request.because or None,
            "reason": str(outcome.failure) if outcome.failure else None,
            "from": {"generation": outcome.from_generation, "release": outcome.from_release.id},
            "to": {
                "generation": outcome.to_generation,
                "release": outcome.to_release.id if outcome.to_release else None,
            },
            "ready_to_steered": None if (spent := ready_to_steered(outcome)) is None else round(spent, 6),
            "phases": {str(phase): round(spent, 4) for phase, spent in durations(outcome).items()},
            "report": {
                "began": round(outcome.phases[0][1] + offset, 3),
                "asked_by": self._asker(request),
                "undone_by": {"request": outcome.undone_by.id, **self._asker(outcome.undone_by)}
                if outcome.undone_by
                else None,
                **self._cleared(outcome.handoff).document(),
                **self._seen(),
            },
        }

    def _seen(self) -> dict[str, Any]:
        """What was seen meanwhile; nothing is looked at any more."""
        report, self._report = self._report, None
        return unseen() if report is None else report.document()

    def _asker(self, request: Request) -> dict[str, Any]:
        process, login = self._askers.get(request.id, (None, None))
        return {
            "way": request.way,
            "uid": request.uid,
            "user": user_name(request.uid),
            "pid": request.pid,
            "process": process,
            "login": user_name(login) or login,
        }

    # ---- the generation that it leaves behind

    def _see_off(self, step: Step, happenings: Iterable[Happening]) -> None:
        for effect in step.effects:
            if isinstance(effect, effects.Conclude):
                self._begin_drain(effect.outcome, step.after)
        for each in happenings:
            drain = next((one for one in self._drains if one.generation == each.fields.get("generation")), None)
            if drain is not None and each.name == "generation_killed":
                drain.killed = True
            elif drain is not None and each.name == "generation_ended":
                self._drains.remove(drain)
                report = drain.document(step.event.at, each.fields["exit"])
                self._history.amend(drain.handoff, {"drain": report})

    def _begin_drain(self, outcome: Outcome, state: State) -> None:
        committed = outcome.result is Result.COMMITTED
        left = state.find(outcome.from_generation if committed else outcome.to_generation)
        if left is not None and left.role is Role.DRAINING:
            self._drains.append(Drain(outcome.handoff, left.number, left.sockets, outcome.ended))


def _of(loss: Loss) -> Happening:
    about = {"sockets": loss.sockets, "connections": loss.connections}
    if loss.ports is None:
        return Happening("queue_migrated", about)
    return Happening("queue_reset", {**about, "client_ports": loss.ports[:_PORTS_TOLD]}, grave=True)
