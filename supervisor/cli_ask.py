"""Asking for a handoff and following it: each phase as it is entered, live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from supervisor.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.control.client import Client

_PHASES = {
    "verify": "checking the release",
    "start": "starting",
    "ready": "waiting until it is ready",
    "shift": "sending it new connections",
    "probation": "on probation, the old one standing by",
    "settle": "emptying the old one's queue",
    "return": "going back to the old one",
}


def follow(client: Client, what: str, *, quiet: bool, until_drained: bool) -> dict[str, Any]:
    """Ask, and wait for what comes of it, telling each step. The events are listened to before anything is asked."""
    with client.events() as events:
        asked = client.call("POST", f"/v1/{what}")
        if "result" in asked:
            if not quiet:
                _tell_end(asked)
            return asked
        teller = _Quiet() if quiet else _teller()
        with teller:
            outcome = _outcome(events, asked["request"], teller, aborts=what == "abort")
            if until_drained and outcome["result"] == "done" and "from_generation" in outcome:
                _await_end(events, outcome["from_generation"], teller)
    if not quiet:
        _tell_end(outcome)
    return outcome


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
    fields = " ".join(f"{key}={value}" for key, value in shown.items())
    clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    return f"{clock}.{int(event['at'] % 1 * 1000):03} {event['event']} {fields}"


def _outcome(events: Iterator[dict[str, Any]], request: str, teller: Teller, *, aborts: bool) -> dict[str, Any]:
    handoff = None
    for event in events:
        match event["event"]:
            case "handoff_began" if event["request"] == request:
                handoff = event["handoff"]
            case "phase" if event["handoff"] == handoff:
                teller.phase(_PHASES.get(event["phase"], event["phase"]), event)
            case "request_kept" if event["request"] == request:
                teller.phase("waiting for the handoff under way", event)
            case "generation_spoke" | "generation_ready" | "generation_told" if handoff is not None:
                teller.note(event)
            case "request_refused" if event["request"] == request:
                return {"request": request, "result": "refused", "reason": event["reason"]}
            case "handoff_ended" if event["request"] == request:
                return _as_outcome(event, request, event["result"])
            case "handoff_ended" if event.get("undone_by") == request or aborts:
                return _as_outcome(event, request, "refused" if event["result"] == "committed" else "committed")
            case _:
                pass
    raise UnreachableError("the supervisor ended before the handoff did: see its log")


def _as_outcome(event: dict[str, Any], request: str, result: str) -> dict[str, Any]:
    kept = ("handoff", "reason", "from_generation", "to_generation", "from_release", "to_release", "seconds")
    known = {key: event[key] for key in kept if key in event}
    return {"request": request, "result": "done" if result == "committed" else result, **known}


def _await_end(events: Iterator[dict[str, Any]], generation: int, teller: Teller) -> None:
    teller.phase(f"generation {generation} is finishing what it has", {})
    for event in events:
        if event["event"] == "generation_ended" and event["generation"] == generation:
            return


def _tell_end(outcome: dict[str, Any]) -> None:
    reason = f": {outcome['reason']}" if outcome.get("reason") else ""
    match outcome["result"]:
        case "done" if "to_generation" in outcome:
            serves = f"generation {outcome['to_generation']} serves {outcome['to_release']}"
            print(f"done in {outcome['seconds']:.2f} s: {serves}" if not reason else f"done{reason}")
        case "rolled back":
            print(f"rolled back{reason}; generation {outcome['from_generation']} serves on", file=sys.stderr)
        case "refused":
            print(f"refused{reason}", file=sys.stderr)
        case _:
            print(f"{outcome['result']}{reason}")


class Teller:
    """Says what is going on, in plain lines."""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to be closed."""

    def phase(self, text: str, event: dict[str, Any]) -> None:
        """A phase was entered."""
        about = f"generation {event['candidate']}: " if event.get("candidate") else ""
        self._say(f"{about}{text}")

    def note(self, event: dict[str, Any]) -> None:
        """Something worth a line happened within a phase."""
        match event["event"]:
            case "generation_ready":
                self._say(f"generation {event['generation']}: ready")
            case _:
                pass

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.3f} s  {text}", flush=True)


class _Quiet(Teller):
    def _say(self, text: str) -> None:
        """Machines read the outcome alone."""


def _teller() -> Teller:
    if not sys.stdout.isatty():
        return Teller()
    from supervisor.cli_live import LiveTeller  # noqa: PLC0415 - only a terminal has use for it

    return LiveTeller()
