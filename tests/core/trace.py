"""Stories in a readable form: a line is an event, and under it stands what becomes of the service.

    > +2 exited 1                      two seconds later, generation 1's process ends
      t=2 serving: none under way      what is under way, then each generation
      1 serving down until 2 on 1
      ! forget 1                       what the core wants done

Deadlines pass by their name alone (`lapse 1`, `lapse handoff`), at their own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core import effects, events
from supervisor.core.due import deadlines
from supervisor.core.ending import Exit
from supervisor.core.model import Ask, Failure, Process, Reason, Request
from supervisor.core.value import replace
from tests.core.invariants import watched
from tests.core.world import EXCLUSIVE, NO_PROBATION, POLICY, RELEASES, WATCHED, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.core.model import Generation

EVENT = "> "
NAMED = {each.id: each for each in RELEASES}
POLICIES = {
    "": POLICY,
    "no-probation": NO_PROBATION,
    "one-drain": replace(POLICY, drain_limit=1),
    "exclusive": EXCLUSIVE,
    "watched": WATCHED,
}


class Story:
    """A world that lines of text happen to."""

    def __init__(self) -> None:
        self.world = World()
        self.at = 0.0

    def tell(self, line: str) -> Iterator[str]:
        """Let a line happen, and tell what comes of it."""
        words = line.split()
        if words[0].startswith("+"):
            self.at += float(words.pop(0))
        event = self._event(words[0], words[1:])
        self.at = event.at
        self.world, wanted = watched(self.world, event)
        yield self._under_way()
        yield from (_generation(each) for each in self.world.state.generations)
        yield from (f"! {_effect(each)}" for each in wanted)

    def _event(self, verb: str, about: list[str]) -> events.Event:
        if verb == "lapse":
            return self._lapse(about[0])
        if about and about[0].isdigit():
            return self._of_generation(verb, int(about[0]), about[1:])
        return self._of_service(verb, about)

    def _lapse(self, name: str) -> events.Event:
        due = [each.event for each in deadlines(self.world.state)]
        mine = [each for each in due if str(getattr(each, "generation", "handoff")) == name]
        return mine[0]

    def _of_generation(self, verb: str, number: int, rest: list[str]) -> events.Event:
        found = self.world.state.find(number)
        assert found is not None, f"there is no generation {number}"
        at, run = self.at, found.run
        if verb == "spawned":
            process = Process(number, run)
            return events.Spawned(at=at, generation=number, run=run, process=process, release=found.release)
        if verb == "exited":
            status = int(rest[0]) if rest else 0
            return events.Exited(at=at, generation=number, run=run, exit=Exit(status=status))
        if verb == "extended":
            return events.Extended(at=at, generation=number, run=run, until=at + float(rest[0]))
        return self._plain(verb, at, number, run)

    @staticmethod
    def _plain(verb: str, at: float, number: int, run: int) -> events.Event:
        made: dict[str, Callable[[], events.Event]] = {
            "pinged": lambda: events.Pinged(at=at, generation=number, run=run),
            "hangs": lambda: events.Ailing(at=at, generation=number, run=run, failure=Failure(Reason.HUNG)),
            "well": lambda: events.Well(at=at, generation=number, run=run, reason=Reason.HUNG),
            "spoke": lambda: events.Spoke(at=at, generation=number, run=run, how="pipe"),
            "ready": lambda: events.Ready(at=at, generation=number, run=run, how="pipe"),
            "quiet": lambda: events.Quiet(at=at, generation=number, run=run),
            "released": lambda: events.Released(at=at, generation=number, run=run),
            "not-ready": lambda: events.NotReady(
                at=at, generation=number, run=run, failure=Failure(Reason.CLOSED_READY)
            ),
            "not-spawned": lambda: events.SpawnFailed(
                at=at, generation=number, run=run, failure=Failure(Reason.SPAWN_FAILED, "no memory")
            ),
        }
        return made[verb]()

    def _of_service(self, verb: str, about: list[str]) -> events.Event:
        at, handoff = self.at, self.world.state.last_handoff
        request = Request(id=f"r{self.world.asked + 1}", ask=Ask.ROLLBACK if verb == "rollback" else Ask.UPGRADE)
        made: dict[str, Callable[[], events.Event]] = {
            "begun": lambda: events.Begun(at=at, release=NAMED[about[0]], policy=POLICIES["".join(about[1:])]),
            "upgrade": lambda: events.Asked(at=at, request=request),
            "rollback": lambda: events.Asked(at=at, request=request),
            "abort": lambda: events.AbortAsked(at=at, request=request),
            "stop": lambda: events.StopAsked(at=at),
            "leave": lambda: events.LeaveAsked(at=at),
            "verified": lambda: events.Verified(
                at=at, handoff=handoff, release=NAMED[about[0]], policy=POLICIES["".join(about[1:])]
            ),
            "refused": lambda: events.Refused(
                at=at, handoff=handoff, failure=Failure(Reason.BAD_RELEASE, "not a program")
            ),
            "steered": lambda: events.Steered(at=at, handoff=handoff, sockets=self.world.steers[0].sockets),
            "not-steered": lambda: events.SteerFailed(
                at=at, handoff=handoff, sockets=self.world.steers[0].sockets, detail="no memory"
            ),
        }
        return made[verb]()

    def _under_way(self) -> str:
        state, handoff = self.world.state, self.world.state.handoff
        parts = [f"t={self.at:g} {state.mode}"]
        if handoff is not None:
            parts.append(f"handoff {handoff.number} {handoff.phase}{_until(handoff.until)}")
        if state.pending is not None:
            parts.append(f"{state.pending.id} waits")
        return ", ".join(parts)


def _until(until: float | None) -> str:
    return "" if until is None else f" until {until:g}"


def _generation(each: Generation) -> str:
    run = f" run {each.run}" if each.run > 1 else ""
    held = " without sockets" if each.sockets is None else f" on {each.sockets}"
    ails = f", {each.health.ailment}" if each.health.ailment else ""
    return f"{each.number} {each.release.id} {each.role} {each.life}{_until(each.until)}{run}{held}{ails}"


def _effect(effect: effects.Effect) -> str:
    match effect:
        case effects.Conclude():
            outcome = effect.outcome
            undone = f", undone by {outcome.undone_by.id}" if outcome.undone_by else ""
            return f"conclude {outcome.request.id} {outcome.result}{_why(outcome.failure)}{undone}"
        case effects.Refuse():
            return f"refuse {effect.request.id}{_why(effect.failure)}"
        case _:
            told = [_value(getattr(effect, name), name) for name in effect.__struct_fields__]
            return " ".join([type(effect).__name__.lower(), *told])


def _why(failure: Failure | None) -> str:
    return "" if failure is None else f" ({failure})"


def _value(value: object, name: str) -> str:
    if name == "generation":
        return str(value)
    return str(getattr(value, "id", f"{name} {value}"))


def replayed(text: str) -> str:
    """The same story told again: its events as they stand there, with what comes of them now."""
    story, told = Story(), list[str]()
    for line in text.splitlines():
        if line.startswith("#") or not line:
            told.append(line)
        elif line.startswith(EVENT):
            told.append(line)
            told.extend(f"    {each}" for each in story.tell(line.removeprefix(EVENT)))
    return "\n".join(told) + "\n"
