"""Asking for a handoff and following it: each phase as it is entered, live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import json
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Self

from supervisor.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.control.client import Client

_PHASES = {
    "verify": "checking the release",
    "yield": "waiting for the old one to end",
    "start": "starting",
    "ready": "waiting until it is ready",
    "shift": "sending it new connections",
    "probation": "on probation",
    "settle": "emptying the old one's queue",
    "return": "going back to the old one",
    "withdraw": "going back to the old one, which is started when nothing else runs",
}

_LONG = 0.2
"""Seconds that a client may have waited for an accept before it is worth a word."""
_COMES_BACK = 10.0
"""Seconds within which a supervisor that has ended may be followed by the next."""
_LOOK = 0.1
"""Seconds between two looks whether it is there."""
_WORTH = ("longest_wait", "queue_reset", "listen_overflows")


def follow(client: Client, what: str, terms: Mapping[str, str], *, quiet: bool, until_drained: bool) -> dict[str, Any]:
    """Ask, and wait for what comes of it, telling each step.

    A supervisor that ends in the middle is followed by the next one, which is asked the same: by the request's id it
    knows what it has been asked before, or its predecessor. Raises UnreachableError if none comes.
    """
    once = what == "abort"  # what is to be undone has not been if its supervisor ends: it is not asked again
    same = terms if once else {"request": secrets.token_hex(4), **terms}
    asking = _Asking(client, what, same, quiet=quiet, until_drained=until_drained)
    outcome = asking.once() if once else asking.until_it_ends()
    if not quiet:
        _tell_end(outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class _Asking:
    """One request, however many supervisors it takes."""

    client: Client
    what: str
    terms: Mapping[str, str]
    _: KW_ONLY
    quiet: bool
    until_drained: bool

    def until_it_ends(self) -> dict[str, Any]:
        """Ask the one that is there, and if that ends those after it."""
        try:
            return self.once()
        except _EndedError as gone:
            if not self.quiet:
                print("the supervisor is gone: waiting for the next one", file=sys.stderr)
            ends = time.monotonic() + _COMES_BACK
            while time.monotonic() < ends:
                with suppress(UnreachableError):
                    return self.once()
                time.sleep(_LOOK)
            raise gone from None

    def once(self) -> dict[str, Any]:
        """Ask the one that is there. The events are listened to before anything is asked."""
        with self.client.events() as events:
            asked = self.client.call("POST", f"/v1/{self.what}", **self.terms)
            try:
                return self._to_its_end(events, asked)
            except UnreachableError as gone:
                raise _EndedError(str(gone)) from None
            except KeyboardInterrupt:
                print("gapless: no longer waiting; what was asked for goes on", file=sys.stderr)
                raise

    def _to_its_end(self, events: Iterator[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
        known = "result" in asked
        outcome = asked if known else _followed(events, asked["request"], self.what, quiet=self.quiet)
        if self.until_drained and outcome["result"] == "done":
            _await_end(self.client, events, outcome.get("from_generation"), quiet=self.quiet)
        return outcome


class _EndedError(UnreachableError):
    """The supervisor ended after it had been asked."""


def reexec(client: Client) -> None:
    """Have the supervisor replace itself, and wait until the new one answers. Raises UnreachableError."""
    before = client.call("GET", "/v1/status")["began"]
    client.call("POST", "/v1/reexec")
    ends = time.monotonic() + _COMES_BACK
    while time.monotonic() < ends:
        with suppress(UnreachableError):
            status = client.call("GET", "/v1/status")
            if status["began"] != before:
                print(f"done: gapless {status['version']} goes on (pid {status['pid']})")
                return
        time.sleep(_LOOK)
    raise UnreachableError("the new supervisor does not answer: see its log")


def _followed(events: Iterator[dict[str, Any]], request: str, what: str, *, quiet: bool) -> dict[str, Any]:
    with _Quiet() if quiet else _teller() as teller:
        return _outcome(events, request, teller, aborts=what == "abort")


def print_json(answer: dict[str, Any]) -> None:
    """What came of it, for machines."""
    print(json.dumps(answer))


def print_events(client: Client, *, machine: bool) -> None:
    """What happens, until interrupted or the supervisor ends."""
    with client.events() as events:
        for event in events:
            print(json.dumps(event) if machine else _line(event), flush=True)


def _line(event: dict[str, Any]) -> str:
    shown = {key: value for key, value in event.items() if key not in {"event", "at"} and value is not None}
    fields = " ".join(f"{key}={_word(value)}" for key, value in shown.items())
    clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    return f"{clock}.{int(event['at'] % 1 * 1000):03} {event['event']:18} {fields}".rstrip()


def _word(value: Any) -> str:  # noqa: ANN401 - whatever JSON can say
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() and not set(text) & {" ", '"', "="} else json.dumps(text, ensure_ascii=False)


def _outcome(events: Iterator[dict[str, Any]], request: str, teller: Teller, *, aborts: bool) -> dict[str, Any]:
    handoff = None
    for event in events:
        match event["event"]:
            case "handoff_began" if event["request"] == request:
                handoff = event["handoff"]
            case "phase" if event["handoff"] == handoff:
                teller.phase(_PHASES.get(event["phase"], event["phase"]), event)
            case "request_kept" if event["request"] == request:
                teller.phase("waiting for the handoff under way (gapless explain: why, and until when)", event)
            case "generation_spoke" | "generation_ready" | "generation_told" if handoff is not None:
                teller.note(event)
            case "request_refused" if event["request"] == request:
                return {"request": request, "result": "refused", "reason": event["reason"]}
            case "handoff_ended" if event["request"] == request:
                return _as_outcome(event, request, event["result"])
            case "handoff_ended" if event.get("undone_by") == request or aborts:
                return _as_undone(event, request)
            case _:
                pass
    raise UnreachableError("the supervisor ended before the handoff did: see its log, and start it again")


def _as_outcome(event: dict[str, Any], request: str, result: str) -> dict[str, Any]:
    kept = ("handoff", "reason", "from_generation", "to_generation", "from_release", "to_release", "seconds", *_WORTH)
    known = {key: event[key] for key in kept if key in event}
    return {"request": request, "result": "done" if result == "committed" else result, **known}


def _as_undone(event: dict[str, Any], request: str) -> dict[str, Any]:
    """What it is to the one who wanted it undone: the way back, from the new generation to the old."""
    if event["result"] == "committed":
        return {"request": request, "result": "refused", "reason": "it was committed before it could be undone"}
    return {
        "request": request,
        "result": "done",
        "handoff": event["handoff"],
        "from_generation": event["to_generation"],
        "from_release": event["to_release"],
        "to_generation": event["from_generation"],
        "to_release": event["from_release"],
        "seconds": event["seconds"],
    }


def _await_end(client: Client, events: Iterator[dict[str, Any]], generation: int | None, *, quiet: bool) -> None:
    """Wait until a generation has ended, unless it has already. Its end cannot be missed: events are kept for us."""
    living = {each["generation"] for each in client.call("GET", "/v1/status")["generations"]}
    if generation not in living:
        return
    with _Quiet() if quiet else _teller() as teller:
        teller.phase(f"generation {generation} is finishing what it has", {})
        for event in events:
            if event["event"] == "generation_ended" and event["generation"] == generation:
                return
    raise UnreachableError(
        f"the supervisor ended before generation {generation} did: see its log for what became of it"
    )


def _tell_end(outcome: dict[str, Any]) -> None:
    reason = f": {outcome['reason']}" if outcome.get("reason") else ""
    match outcome["result"]:
        case "done":
            took = f" in {outcome['seconds']:.2f} s" if "seconds" in outcome else ""
            serves = (
                f"generation {outcome['to_generation']} serves {outcome.get('to_release') or outcome.get('release')}"
            )
            print(f"done{took}: {serves}" if outcome.get("to_generation") else f"done{took}{reason}")
        case "rolled back":
            print(f"rolled back{reason}; generation {outcome['from_generation']} serves", file=sys.stderr)
        case "refused":
            print(f"refused{reason}", file=sys.stderr)
        case other:
            print(f"{other}{reason}")
    _tell_cost(outcome)


def _tell_cost(outcome: dict[str, Any]) -> None:
    """What it has cost others, if that is worth a line."""
    wait, reset, overflows = (outcome.get(key) or 0 for key in _WORTH)
    costs = [f"clients waited up to {wait:.2f} s for an accept"] if wait >= _LONG else []
    costs += [f"{reset} in a dead generation's queue were reset"] if reset else []
    costs += [f"the kernel found a full queue {overflows} times"] if overflows else []
    if costs:
        print(f"note: {', '.join(costs)} (gapless history {outcome['handoff']})")


class Teller:
    """Says what is going on, in plain lines."""

    def __enter__(self) -> Self:
        self._began = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to be closed."""

    def phase(self, text: str, event: dict[str, Any]) -> None:
        """A phase was entered."""
        about = f"generation {event['candidate']}: " if event.get("candidate") else ""
        self._say(f"{about}{text}", event)

    def note(self, event: dict[str, Any]) -> None:
        """Something worth a line happened within a phase."""
        match event["event"]:
            case "generation_ready":
                self._say(f"generation {event['generation']}: ready", event)
            case _:
                pass

    def _say(self, text: str, event: dict[str, Any]) -> None:
        """With the time at which it happened, and not that at which it was heard of."""
        print(f"{max(0.0, event.get('at', time.time()) - self._began):7.3f} s  {text}", flush=True)


class _Quiet(Teller):
    def _say(self, text: str, event: dict[str, Any]) -> None:
        """Machines read the outcome alone."""


def _teller() -> Teller:
    if not sys.stdout.isatty():
        return Teller()
    from supervisor.cli_live import LiveTeller  # noqa: PLC0415 - only a terminal has use for it

    return LiveTeller()
