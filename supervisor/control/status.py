"""The status document: the state, with figures, in the words and clock of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from supervisor.core.health import replaced_at
from supervisor.core.model import Life, Mode, Phase, Role
from supervisor.core.policy import is_failing

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.model import Generation, Handoff, Release, Request, State
    from supervisor.core.record import Quarantined


class Figures(Protocol):
    """What was measured of one generation."""

    @property
    def memory(self) -> int:
        """Bytes."""

    @property
    def cpu(self) -> float:
        """Seconds."""

    @property
    def connections(self) -> int | None:
        """Open; None if they cannot be counted."""

    @property
    def cgroup(self) -> str | None:
        """Where all its processes are, and nobody else."""


_PHASES = {
    Phase.VERIFY: "checking the release",
    Phase.YIELD: "waiting for generation {predecessor} to end, before the new one is started",
    Phase.START: "starting generation {candidate}",
    Phase.READY: "waiting for generation {candidate} to be ready",
    Phase.SHIFT: "sending new connections to generation {candidate}",
    Phase.PROBATION: "generation {candidate} on probation",
    Phase.SETTLE: "emptying the queue of generation {predecessor}",
    Phase.RETURN: "going back to generation {predecessor}",
    Phase.WITHDRAW: "going back to generation {predecessor}, which is started when nothing else runs",
}

_LIVES = {
    Life.SPAWNING: "being created",
    Life.STARTING: "starting",
    Life.READY: "",
    Life.ENDING: "told to end, finishing what it has",
    Life.KILLED: "killed",
}


def document(
    state: State,
    wall: Callable[[float], float],
    measure: Callable[[Generation], tuple[Figures | None, int | None, str]],
) -> dict[str, Any]:
    """The part that follows from the state.

    `wall` turns the monotonic clock into seconds since 1970; `measure` gives figures, the length of the queues, and
    what the generation says of itself.
    """
    doing, until = doing_now(state)
    return {
        "mode": state.mode,
        "doing": doing,
        "until": None if until is None else wall(until),
        "handoff": None if state.handoff is None else _handoff(state.handoff, wall),
        "pending": None if state.pending is None else _request(state.pending),
        "previous": None if state.previous is None else _release(state.previous),
        "served": [_release(each.release) for each in state.record.served],
        "runs_by": "record" if state.record.recalled else "file",
        "quarantine": [quarantine(each, wall) for each in state.record.quarantine],
        "generations": [_generation(state, each, wall, measure(each)) for each in state.generations],
    }


def doing_now(state: State) -> tuple[str, float | None]:
    """What the service as a whole is doing, and until when (monotonic) at the latest."""
    if state.mode is not Mode.RUNNING:
        latest = [each.until for each in state.generations if each.until is not None]
        left = len(state.generations)
        return f"stopping, {left} generation{'s' * (left != 1)} left", max(latest, default=None)
    handoff, serving = state.handoff, state.serving
    if handoff is not None:
        text = _PHASES[handoff.phase].format(candidate=handoff.candidate, predecessor=handoff.predecessor)
        awaited = state.find(handoff.predecessor if handoff.candidate is None else handoff.candidate)
        return text, handoff.until or (awaited.until if awaited else None)
    if serving is None:
        return "beginning", None
    if serving.life is Life.READY:
        ails = f", {_of(state, serving)}" if serving.health.ailment else ""
        return f"serving release {serving.release.id}{ails}", replaced_at(state)
    return f"generation {serving.number}: {_of(state, serving)}", serving.until


def _of(state: State, each: Generation) -> str:
    if each.life is Life.DOWN and state.lent(each):
        return f"down ({each.last_exit}), starts again if the handoff fails"
    if each.life is Life.DOWN:
        failing = "dies again and again, " if is_failing(each.failures, state.policy) else ""
        return f"down ({failing}{each.last_exit}), starts again"
    if each.life is Life.READY and each.role is Role.DRAINING:
        return "serving who waits in its queue"
    if each.life is Life.READY and each.role is Role.STANDBY:
        return "able to take over"
    if each.life is Life.READY and each.health.ailment is not None:
        return f"to be replaced: {each.health.ailment}"
    return _LIVES[each.life]


def _generation(
    state: State, each: Generation, wall: Callable[[float], float], measured: tuple[Figures | None, int | None, str]
) -> dict[str, Any]:
    figures, queue, saying = measured
    handoff = state.handoff
    until = each.until
    if each.role is Role.STANDBY and handoff is not None and until is None:
        until = handoff.until
    return {
        "generation": each.number,
        "role": each.role,
        "life": each.life,
        "release": _release(each.release),
        "pid": each.process.pid if each.process else None,
        "starts": each.run,
        "began": wall(each.began),
        "since": wall(each.since),
        "doing": _of(state, each),
        "until": None if until is None else wall(until),
        "says": saying or None,
        "ready_by": each.spoke,
        "memory": figures.memory if figures else None,
        "cpu": figures.cpu if figures else None,
        "connections": figures.connections if figures else None,
        "cgroup": figures.cgroup if figures else None,
        "queue": queue,
        "last_exit": each.last_exit,
        "ailment": str(each.health.ailment) if each.health.ailment else None,
    }


def _release(release: Release) -> dict[str, Any]:
    return {"id": release.id, "path": release.path, "size": release.size, "sha256": release.sha256 or None}


def quarantine(held: Quarantined, wall: Callable[[float], float]) -> dict[str, Any]:
    """One release that is in quarantine."""
    return {
        **_release(held.release),
        "because": held.because,
        "since": wall(held.since),
        "until": None if held.until is None else wall(held.until),
    }


def _request(request: Request) -> dict[str, Any]:
    said = {"id": request.id, "ask": request.ask, "way": request.way, "uid": request.uid, "pid": request.pid}
    return {**said, "because": request.because or None}


def _handoff(handoff: Handoff, wall: Callable[[float], float]) -> dict[str, Any]:
    return {
        "handoff": handoff.number,
        "phase": handoff.phase,
        "since": wall(handoff.since),
        "until": None if handoff.until is None else wall(handoff.until),
        "candidate": handoff.candidate,
        "predecessor": handoff.predecessor,
        "request": _request(handoff.request),
        "phases": {str(phase): wall(at) for phase, at in handoff.phases},
    }
