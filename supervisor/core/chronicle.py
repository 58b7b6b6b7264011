"""What a step means, in words: the events that the log shows and `gapless events` streams.

Names and fields are stable: people grep for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import effects, events
from supervisor.core.fallback import stuck
from supervisor.core.health import replaced_at
from supervisor.core.model import Life, Mode, Phase, Role
from supervisor.core.outcome import Result
from supervisor.core.pointing import FOLLOW
from supervisor.core.policy import is_failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.core.model import Generation, Health, State
    from supervisor.core.outcome import Outcome

Value = str | int | float | bool | tuple[int, ...] | None


class Happening(Struct, frozen=True):
    """One thing that happened, for people."""

    name: str
    fields: Mapping[str, Value]
    grave: bool = False


def chronicle(
    before: State, event: events.Event, after: State, wanted: tuple[effects.Effect, ...]
) -> Iterator[Happening]:
    """What the step from one state to the next has to say: what ended with it, what its generations do, what began."""
    if isinstance(event, events.TakenOver):
        yield Happening("taken_over", {"alive": event.alive, "gone": event.gone}, grave=bool(event.gone))
    for effect in wanted:
        yield from _effect(effect)
    if after.mode is not before.mode and after.mode is not Mode.RUNNING:
        yield Happening("stopping" if after.mode is Mode.STOPPING else "leaving", {})
    former = {each.number: each for each in before.generations}
    for each in after.generations:
        yield from _generation(former.get(each.number), each, before, after)
    for gone in former.keys() - {each.number for each in after.generations}:
        how = str(event.exit) if isinstance(event, events.Exited) and event.generation == gone else None
        yield Happening("generation_ended", {"generation": gone, "exit": how or former[gone].last_exit})
    yield from _handoff(before, after)
    yield from _replacement(before, after, event.at)
    yield from _record(before, after, event)
    if after.pending is not None and after.pending is not before.pending:
        yield Happening("request_kept", {"request": after.pending.id, "ask": after.pending.ask})


def _handoff(before: State, after: State) -> Iterator[Happening]:
    handoff = after.handoff
    if handoff is None:
        return
    known = before.handoff is not None and before.handoff.number == handoff.number
    if not known:
        yield Happening(
            "handoff_began",
            {
                "handoff": handoff.number,
                "ask": handoff.request.ask,
                "request": handoff.request.id,
                "way": handoff.request.way,
                "uid": handoff.request.uid,
                "pid": handoff.request.pid,
                **({"because": handoff.request.because} if handoff.request.because else {}),
            },
        )
    entered = len(before.handoff.phases) if known and before.handoff is not None else 0
    for phase, _ in handoff.phases[entered:]:
        yield Happening("phase", {"handoff": handoff.number, "phase": phase, "candidate": handoff.candidate})


def _generation(former: Generation | None, now: Generation, before: State, after: State) -> Iterator[Happening]:
    about: dict[str, Value] = {"generation": now.number, "release": now.release.id}
    if former is not None and former.spoke is None and now.spoke is not None:
        yield Happening("generation_spoke", {**about, "how": now.spoke})
    if former is None or (now.life is Life.STARTING and former.life is Life.SPAWNING):
        if now.process is not None:
            yield Happening("generation_started", {**about, "pid": now.process.pid, "run": now.run})
    elif former.life is not now.life:
        yield from _new_life(former, now, before, after)
    if former is not None and former.role is not now.role:
        yield Happening("generation_role", {**about, "was": former.role, "role": now.role})
    if former is not None and former.process == now.process:
        yield from _health(former.health, now.health, about)


def _health(former: Health, now: Health, about: Mapping[str, Value]) -> Iterator[Happening]:
    if now.ailment is not None and former.ailment is None:
        yield Happening("generation_ailing", {**about, "reason": str(now.ailment)}, grave=not now.fit)
    elif former.ailment is not None and now.ailment is None:
        after = round((now.since or 0.0) - (former.since or 0.0), 3)
        yield Happening("generation_well", {**about, "after": after})
    if now.oom_kills > former.oom_kills:
        yield Happening("oom_killed", {**about, "count": now.oom_kills - former.oom_kills}, grave=True)


def _replacement(before: State, after: State, at: float) -> Iterator[Happening]:
    due, serving = replaced_at(after), after.serving
    if due is not None and due != replaced_at(before) and serving is not None:
        wait = round(max(0.0, due - at), 3)
        yield Happening("replacement_due", {"generation": serving.number, "in": wait, "tried": after.replacements})


def _record(before: State, after: State, event: events.Event) -> Iterator[Happening]:
    was, now, serving = before.record, after.record, after.serving
    again = now.deaths != was.deaths or not stuck(before, event.at)
    if serving is not None and again and stuck(after, event.at):
        about: dict[str, Value] = {"generation": serving.number, "release": serving.release.id}
        text = "fails too often, and no release that served well can be gone back to: it is started again as ever"
        yield Happening("no_good_release", {**about, "failures": len(now.deaths), "what": text}, grave=True)
    former, held = ({each.release.id for each in record.quarantine} for record in (was, now))
    for each in now.quarantine:
        if each.release.id not in former:
            lasts = None if each.until is None else round(each.until - each.since, 3)
            about = {"release": each.release.id, "because": each.because, "lasts": lasts}
            yield Happening("quarantine_began", about, grave=True)
    for gone in sorted(former - held):
        how = "lifted" if isinstance(event, events.LiftAsked) else "lapsed"
        yield Happening("quarantine_ended", {"release": gone, "how": how})


def _new_life(former: Generation, now: Generation, before: State, after: State) -> Iterator[Happening]:
    about: dict[str, Value] = {"generation": now.number, "release": now.release.id}
    match now.life:
        case Life.READY:
            yield Happening("generation_ready", {**about, "after": round(now.since - former.since, 4)})
        case Life.ENDING:
            yield Happening("generation_told", {**about, "signal": now.drain_signal})
        case Life.KILLED:
            yield Happening("generation_killed", about, grave=True)
        case Life.DOWN:
            yield Happening("generation_down", {**about, "exit": now.last_exit}, grave=not before.gives_way(former))
            if now.until is not None:
                wait = round(now.until - now.since, 3)
                yield Happening("restart_due", {**about, "in": wait, "deaths": now.failures})
            if is_failing(now.failures, after.policy) and now.role is Role.SERVING:
                text = "dies again and again: tried at the longest delay from now on"
                yield Happening("service_failing", {**about, "deaths": now.failures, "what": text}, grave=True)
        case _:
            pass


def _effect(effect: effects.Effect) -> Iterator[Happening]:
    match effect:
        case effects.Conclude():
            outcome = effect.outcome
            yield Happening("handoff_ended", _ended(outcome), grave=outcome.result is not Result.COMMITTED)
            if outcome.request.way == FOLLOW and outcome.has_failed:
                yield Happening("follow_failed", _not_followed(outcome), grave=True)
        case effects.Refuse():
            fields: dict[str, Value] = {"request": effect.request.id, "reason": str(effect.failure)}
            yield Happening("request_refused", fields, grave=True)
        case _:
            pass


def _ended(outcome: Outcome) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "handoff": outcome.handoff,
        "request": outcome.request.id,
        "result": outcome.result,
        "from_generation": outcome.from_generation,
        "from_release": outcome.from_release.id,
        "to_generation": outcome.to_generation,
        "to_release": outcome.to_release.id if outcome.to_release else None,
        "seconds": round(outcome.ended - outcome.phases[0][1], 4),
    }
    if outcome.failure is not None:
        fields["reason"] = str(outcome.failure)
    if outcome.undone_by is not None:
        fields["undone_by"] = outcome.undone_by.id
    return fields


def _not_followed(outcome: Outcome) -> dict[str, Value]:
    version = outcome.request.version or (outcome.to_release.version if outcome.to_release else outcome.current)
    what = "it is not tried again by itself, unless current is moved once more or a newer version is added"
    return {
        "handoff": outcome.handoff,
        "request": outcome.request.id,
        "version": version,
        "because": outcome.request.because,
        "reason": str(outcome.failure or ""),
        "what": what,
    }


def ready_to_steered(outcome: Outcome) -> float | None:
    """Seconds from the candidate's word to the kernel's acknowledgement that it gets every new connection."""
    steered = next((at for phase, at in outcome.phases if phase is Phase.PROBATION), None)
    return None if steered is None or outcome.spoke_at is None else steered - outcome.spoke_at


def durations(outcome: Outcome) -> dict[Phase, float]:
    """Seconds spent in each phase of a handoff that has ended."""
    times = [*(at for _, at in outcome.phases), outcome.ended]
    spent: dict[Phase, float] = {}
    for number, (phase, at) in enumerate(outcome.phases):
        spent[phase] = spent.get(phase, 0.0) + times[number + 1] - at
    return spent
