"""Why something waits, and until when: the state, and what was seen of each generation, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from msgspec import Struct
from msgspec.structs import asdict

from supervisor.control.waits import Wait, ailing
from supervisor.core.generation import policy_for
from supervisor.core.health import ages_at
from supervisor.core.model import Life, Mode, Phase, Role
from supervisor.core.policy import is_failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.control.clock import Clock
    from supervisor.core.clearance import Asking
    from supervisor.core.model import Generation, Handoff, Request, State


_UNTIL_READY = {
    "auto": "has not said that it is ready",
    "accept": "is ready when it accepts a connection",
    "http": "has not answered over HTTP as it is to",
}
"""By [ready] method, where it is not a word that is waited for."""


class Sight(Struct, frozen=True):
    """What was seen of one generation: the part that is not in the state."""

    connections: int | None = None
    """Open; None if they cannot be counted."""
    queue: int | None = None
    """Connections that wait to be accepted; None if it has no sockets."""
    says: str = ""
    """The last STATUS= that it sent."""
    pipe_open: bool | None = None
    """Whether its readiness pipe is; None where there is no process."""
    unaccepting: tuple[str, ...] | None = None
    """Listeners on which a connection of ours waits to be accepted; None if nobody knocks."""


def as_documents(waits: list[Wait], clock: Clock) -> list[dict[str, Any]]:
    """For machines, with times as seconds since 1970."""
    return [
        {
            **asdict(each),
            "since": None if each.since is None else clock.wall(each.since),
            "until": None if each.until is None else clock.wall(each.until),
        }
        for each in waits
    ]


def explain(
    state: State, clock: Clock, sights: Mapping[int, Sight], asking: Asking | None = None, found: str = ""
) -> list[Wait]:
    """Everything that waits now; or, if nothing does, the one sentence that says so.

    `found` is what preflight has found of what serves.
    """
    return waiting(state, clock, sights, asking) or [_at_rest(state, clock, found)]


def waiting(state: State, clock: Clock, sights: Mapping[int, Sight], asking: Asking | None = None) -> list[Wait]:
    """Everything that waits now: the service's end, the handoff, what is kept for after it, each generation.

    `asking` is whose yes is waited for before a candidate is started.
    """
    return list(_Teller(state, clock, sights, asking).all())


def _at_rest(state: State, clock: Clock, found: str) -> Wait:
    serving = state.serving
    if serving is None:
        return Wait("service", "nothing waits, and no generation is there yet: the first is about to be made")
    since = serving.ready_at if serving.ready_at is not None else serving.since
    why = f"nothing waits: generation {serving.number} serves {serving.release.id}, since {clock.since(since)}"
    why += f"; preflight: {found}" if found else ""
    aged = ages_at(state)
    return Wait("service", why if aged is None else f"{why}; {clock.at(aged)} a fresh copy takes over", since, aged)


class _Teller(Struct, frozen=True):
    """One state, looked at once."""

    state: State
    clock: Clock
    sights: Mapping[int, Sight]
    asking: Asking | None

    def all(self) -> Iterator[Wait]:
        yield from self._mode()
        handoff = self.state.handoff
        if handoff is not None:
            yield self._handoff(handoff)
        if self.state.pending is not None:
            yield self._pending(self.state.pending)
        for each in self.state.generations:
            if handoff is None or not self._told_with(handoff, each):
                yield from self._generation(each)

    def _mode(self) -> Iterator[Wait]:
        match self.state.mode:
            case Mode.RUNNING:
                return
            case Mode.STOPPING:
                count = len(self.state.generations)
                left = f"{count} generation{'' if count == 1 else 's'}"
                why = f"it is stopping, and ends with the last of {left}; `gapless stop` once more kills them"
                latest = max((each.until for each in self.state.generations if each.until is not None), default=None)
                yield Wait("service", why, until=latest)
            case Mode.LEFT:
                yield Wait("service", "the supervisor goes away alone: its server lives on, and nobody watches it")
            case never:
                assert_never(never)

    # ---- the handoff

    def _handoff(self, handoff: Handoff) -> Wait:
        why = f"{_asked_by(handoff.request)} {self.clock.since(_began(handoff))} ago; {self._phase(handoff)}"
        candidate = self.state.find(handoff.candidate)
        own = handoff.until
        rising = candidate.until if candidate is not None and candidate.life is Life.STARTING else None
        asked = None if self.asking is None or handoff.phase is not Phase.VERIFY else self.asking.until
        until = next((each for each in (own, rising, asked) if each is not None), None)
        return Wait(f"handoff {handoff.number}", why, handoff.since, until)

    def _phase(self, handoff: Handoff) -> str:  # noqa: PLR0911 - one a phase
        new, old = handoff.candidate, handoff.predecessor
        match handoff.phase:
            case Phase.VERIFY:
                return self._verifying(old)
            case Phase.YIELD:
                return (
                    f"generation {old} ends first, for the two may not run at one time, and {self._queue(old)}; when "
                    "its process is gone the new one is started on its sockets; `gapless abort` starts it again instead"
                )
            case Phase.START:
                return f"the process of generation {new} is being made; if that fails, {self._instead(handoff)}"
            case Phase.READY:
                return self._rising(handoff)
            case Phase.SHIFT:
                return self._steering(f"send new connections to generation {new}", handoff)
            case Phase.PROBATION:
                return self._probation(handoff)
            case Phase.SETTLE:
                return (
                    f"generation {new} serves, and {self._queue(old)} of generation {old}: once nobody does, "
                    f"or {self._by(handoff.until)} at the latest, the handoff is committed; {self._undone(handoff)}"
                )
            case Phase.RETURN:
                because = f" ({handoff.failure})" if handoff.failure else ""
                return f"it is undone{because}: " + self._steering(f"send new connections to generation {old}", handoff)
            case Phase.WITHDRAW:
                because = f" ({handoff.failure})" if handoff.failure else ""
                return (
                    f"it is undone{because}: whoever of the two still runs ends, and then generation {old} is started "
                    f"again on the same sockets; {self._queue(old)}"
                )
            case never:
                assert_never(never)

    def _verifying(self, old: int) -> str:
        ends = f"`gapless abort` ends it, and generation {old} serves on"
        if self.asking is None:
            return f"the configuration is read again and the release is looked at; that has no deadline: {ends}"
        return (
            f"{self.asking.what}, since {self.clock.since(self.asking.since)}; no answer is a no "
            f"{self.clock.at(self.asking.until)}; {ends}"
        )

    def _instead(self, handoff: Handoff) -> str:
        """What is to become of the old generation if the candidate fails."""
        old = self.state.find(handoff.predecessor)
        down = old is not None and old.life is Life.DOWN
        return f"generation {handoff.predecessor} {'is started again' if down else 'serves on'}"

    def _rising(self, handoff: Handoff) -> str:
        candidate = self.state.find(handoff.candidate)
        if candidate is None or candidate.life is not Life.STARTING:
            return f"generation {handoff.candidate} is on its way"
        return f"{self._not_ready(candidate)}; {self._given_up(candidate)} and {self._instead(handoff)}"

    def _steering(self, what: str, handoff: Handoff) -> str:
        if handoff.until is None:
            return f"the kernel has been asked to {what}, and its answer is on the way"
        return f"the kernel would not {what} (its log line says why): it is asked again {self._by(handoff.until)}"

    def _probation(self, handoff: Handoff) -> str:
        if handoff.exclusive:
            return (
                f"generation {handoff.candidate} serves on probation: {self._by(handoff.until)} the handoff is "
                f"committed; if it dies, or by `gapless abort`, generation {handoff.predecessor} is started again"
            )
        return (
            f"generation {handoff.candidate} serves on probation, and generation {handoff.predecessor} stands by: "
            f"{self._by(handoff.until)} the handoff is committed and generation {handoff.predecessor} told to end; "
            f"{self._undone(handoff)}"
        )

    def _undone(self, handoff: Handoff) -> str:
        new, old = handoff.candidate, handoff.predecessor
        standby = self.state.find(old)
        if standby is not None and standby.life is Life.READY:
            return (
                f"if generation {new} dies, or by `gapless abort`, new connections go back to generation {old} at once"
            )
        return f"generation {old} has no process that is ready: until it has one again, nothing can be gone back to"

    def _told_with(self, handoff: Handoff, each: Generation) -> bool:
        """Whether the handoff's own sentence says all that there is to say of a generation."""
        if each.number == handoff.candidate and handoff.phase is Phase.START:
            return True
        if each.number == handoff.candidate and handoff.phase is Phase.READY:
            return each.life is Life.STARTING
        ails = each.health.ailment is not None and each.role is Role.SERVING
        return each.life is Life.READY and each.role is not Role.DRAINING and not ails

    def _pending(self, request: Request) -> Wait:
        handoff = self.state.handoff
        after = f"handoff {handoff.number} has ended" if handoff else "a generation serves"
        return Wait(
            f"request {request.id}",
            f"{_asked_by(request)}; it is kept until {after}, and begins then; a later request displaces it",
        )

    # ---- each generation

    def _generation(self, each: Generation) -> Iterator[Wait]:
        """Nothing, for one that serves as it should."""
        match each.life:
            case Life.DOWN:
                why = self._down(each)
            case Life.SPAWNING:
                why = f"its process (start {each.run}) is being made"
            case Life.STARTING:
                why = f"{self._not_ready(each)}; {self._given_up(each)}{self._afterwards(each)}"
            case Life.READY if each.role is Role.DRAINING:
                why = (
                    f"it is replaced, and {self._queue(each.number)}: once nobody does, or {self._by(each.until)} at "
                    f"the latest, it is sent {each.drain_signal}; {self._open(each)}"
                )
            case Life.READY if each.role is Role.SERVING and each.health.ailment is not None:
                yield ailing(self.state, each, self.clock)
                return
            case Life.READY:
                return
            case Life.ENDING:
                why = (
                    f"it was sent {each.drain_signal} {self.clock.since(each.since)} ago and finishes what it has; "
                    f"{self._open(each)}; {self._by(each.until)} it is sent KILL"
                )
            case Life.KILLED:
                why = self._killed(each)
            case never:
                assert_never(never)
        yield Wait(f"generation {each.number}", why + self._saying(each), each.since, each.until)

    def _down(self, each: Generation) -> str:
        gone = f"its process is gone ({each.last_exit or 'it was never made'})"
        if each.failures:
            gone += f", {_nth(each.failures)} death in a row"
        if each.until is not None:
            failing = is_failing(each.failures, self.state.policy)
            slowly = ": it dies again and again, and is tried at the longest delay only" if failing else ""
            return f"{gone}{slowly}; {self._queue(each.number)}; {self._by(each.until)} it is started again"
        if self.state.lent(each):
            return f"{gone}; its sockets are lent to the candidate: it is started again if that one fails"
        return f"{gone}; it is let go of as soon as the kernel sends nobody to it any more"

    def _killed(self, each: Generation) -> str:
        killed = f"it was sent KILL {self.clock.since(each.since)} ago and is not gone yet"
        stopping = self.state.mode is Mode.STOPPING
        return f"{killed}; {self._by(each.until)} it is " + ("left to the kernel" if stopping else "sent KILL again")

    def _not_ready(self, each: Generation) -> str:
        sight = self.sights.get(each.number, Sight())
        parts = [f"generation {each.number} runs since {self.clock.since(each.began)} and {self._word(each)}"]
        by_pipe = policy_for(self.state, each).ready_method in {"auto", "pipe"}
        if sight.pipe_open is not None and by_pipe and each.spoke is None:
            parts.append(f"its readiness pipe is {'open' if sight.pipe_open else 'closed'}")
        if each.seen:
            parts.append(each.seen)
        elif sight.unaccepting:
            parts.append(f"it accepts no connection yet on {', '.join(sight.unaccepting)}")
        elif sight.unaccepting is not None:
            parts.append("it accepts connections")
        return "; ".join(parts)

    def _word(self, each: Generation) -> str:
        if each.spoke is not None:
            return f"has said by {each.spoke} that it is ready, but has not shown that it accepts"
        method = policy_for(self.state, each).ready_method
        return _UNTIL_READY.get(method, f"has not said by {method} that it is ready")

    def _given_up(self, each: Generation) -> str:
        return f"{self._by(each.until)} it is given up"

    def _afterwards(self, each: Generation) -> str:
        match each.role:
            case Role.DRAINING:
                return f" and sent {each.drain_signal}"
            case Role.SERVING | Role.STANDBY:
                return ", killed and started again"
            case Role.CANDIDATE:
                return ""
            case never:
                assert_never(never)

    def _saying(self, each: Generation) -> str:
        says = self.sights.get(each.number, Sight()).says
        return f"; it says “{says}”" if says else ""

    def _queue(self, number: int) -> str:
        queue = self.sights.get(number, Sight()).queue
        return f"{_clients(queue)} in the queue" if queue is not None else "clients may wait in the queue"

    def _open(self, each: Generation) -> str:
        count = self.sights.get(each.number, Sight()).connections
        if count is None:
            return "how many connections are open on it cannot be seen"
        return f"{count} connection{' is' if count == 1 else 's are'} open on it"

    def _by(self, until: float | None) -> str:
        return self.clock.at(until) if until is not None else "at no set time"


def _clients(count: int) -> str:
    return {0: "nobody waits", 1: "1 client waits"}.get(count, f"{count} clients wait")


def _nth(count: int) -> str:
    return f"{count}{'th' if count % 100 in {11, 12, 13} else {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th')}"


def _began(handoff: Handoff) -> float:
    return handoff.phases[0][1] if handoff.phases else handoff.since


def _asked_by(request: Request) -> str:
    if request.because:
        return f"{request.ask} asked for by the service itself ({request.because})"
    if request.uid is None:
        return f"{request.ask} asked for by {request.way}"
    return f"{request.ask} asked for by uid {request.uid} (pid {request.pid})"
