"""What happened, from the supervisor's stream of events: kept for the tables, and said in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Line(NamedTuple):
    """One thing to tell: when, in a word, in a sentence."""

    at: float
    word: str
    text: str


@dataclass(slots=True)
class Handoff:
    """One HUP and what came of it. Times are seconds since 1970."""

    old: str
    new: str
    hup: float
    candidate: int | None = None
    predecessor: int | None = None
    pid: int | None = None
    started: float | None = None
    ready: float | None = None
    shift: float | None = None
    back: float | None = None
    commit: float | None = None
    drained: float | None = None
    refused: float | None = None
    reason: str = ""

    @property
    def over(self) -> float | None:
        """When the handoff itself had ended."""
        return self.commit or self.refused


@dataclass(slots=True)
class Chronicle:
    """Follows the handoffs, which come one after another."""

    serving: str
    shorten: Callable[[str], str] = str
    """Takes the long paths out of a reason."""
    handoffs: list[Handoff] = field(default_factory=list)

    def hup(self, new: str, at: float) -> None:
        """A HUP is about to be sent."""
        self.handoffs.append(Handoff(self.serving, new, at))

    @property
    def now(self) -> Handoff:
        """The latest handoff."""
        return self.handoffs[-1]

    def note(self, event: dict[str, Any]) -> Line | None:
        """Take one event of the stream; what to say about it, if anything."""
        line = None
        if not self.handoffs:
            return line
        handoff, at = self.now, event["at"]
        new, old = handoff.new, handoff.old
        match event:
            case {"event": "generation_started", "pid": pid}:
                handoff.candidate, handoff.pid, handoff.started = event["generation"], pid, at
                line = Line(at, "started", f"{new} runs as process {pid}, beside {old}")
            case {"event": "generation_ready", "after": after} if event["generation"] == handoff.candidate:
                handoff.ready = at
                line = Line(
                    at, "ready", f"{new} says so and accepts a connection, {after * 1000:.0f} ms after its start"
                )
            case {"event": "phase", "phase": "probation"}:
                handoff.shift = at
                line = Line(at, "shift", f"new connections go to {new}; {old} stands by")
            case {"event": "phase", "phase": "return"}:
                handoff.back = at
                line = Line(at, "back", f"{new} has died: new connections go to {old} again")
            case {"event": "handoff_ended"}:
                line = self._ended(handoff, event)
            case {"event": "generation_ended", "generation": gone} if gone == handoff.predecessor:
                handoff.drained = at
                line = Line(at, "drained", f"{old} has answered its last request: {event['exit']}")
            case _:
                pass
        return line

    def _ended(self, handoff: Handoff, event: dict[str, Any]) -> Line:
        at = event["at"]
        if event["result"] == "committed":
            handoff.commit, handoff.predecessor, self.serving = at, event["from_generation"], handoff.new
            return Line(at, "commit", f"{handoff.new} has passed its probation; {handoff.old} is told to finish")
        handoff.refused, handoff.reason = at, self.shorten(str(event.get("reason", "")))
        word = "refused" if event["result"] == "refused" else "rolled back"
        return Line(at, word, f"{handoff.new}: {handoff.reason}; {handoff.old} serves on")
