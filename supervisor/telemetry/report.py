"""What is reported of a handoff beyond what was decided: who waited, who was lost, who died meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from supervisor.linux import netstat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.core.chronicle import Happening
    from supervisor.telemetry.watcher import Watcher

_MOST_PORTS = 1000
_MOST_DEATHS = 20


class Stragglers(Struct):
    """Who waited in the queue of sockets that went out of service."""

    migrated: int = 0
    reset: int = 0
    ports: list[int] = field(default_factory=list)

    def add_migrated(self, connections: int) -> None:
        """The kernel moved them to another generation."""
        self.migrated += connections

    def add_reset(self, connections: int, ports: Sequence[int]) -> None:
        """They were lost. Not each has a port: a client on a Unix socket has none."""
        self.reset += connections
        self.ports += ports[: _MOST_PORTS - len(self.ports)]

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {"migrated": self.migrated, "reset": self.reset, "reset_ports": self.ports}


class Report(Struct):
    """One handoff under way."""

    watcher: Watcher
    before: dict[str, int] | None = field(default_factory=netstat.listening)
    stragglers: Stragglers = field(default_factory=Stragglers)
    _deaths: list[dict[str, Any]] = field(default_factory=list)
    _restarts: int = 0

    def note(self, happening: Happening, at: float, candidate: int | None) -> None:
        """Something happened meanwhile, at that second since 1970."""
        fields = happening.fields
        match happening.name:
            case "phase":
                self.watcher.attend()
            case "generation_down" if happening.grave:
                self._died(fields["generation"], fields["exit"], at)
            case "generation_ended" if fields["generation"] == candidate and not self._knows(candidate):
                self._died(candidate, fields["exit"], at)
            case "generation_started" if fields["run"] != 1:
                self._restarts += 1
            case _:
                pass

    def document(self) -> dict[str, Any]:
        """All of it, as it is kept. Nothing is looked at any more after this."""
        return {
            **self.watcher.end(),
            "kernel": netstat.since(self.before),
            "stragglers": self.stragglers.document(),
            "deaths": self._deaths[-_MOST_DEATHS:],
            "restarts": self._restarts,
            "drain": None,
        }

    def _died(self, generation: object, how: object, at: float) -> None:
        self._deaths.append({"generation": generation, "exit": how, "at": round(at, 3)})

    def _knows(self, generation: int | None) -> bool:
        return any(death["generation"] == generation for death in self._deaths)


def unseen() -> dict[str, Any]:
    """The same of a handoff that nobody watched."""
    return {
        "listeners": [],
        "looks": 0,
        "resolution": None,
        "kernel": None,
        "stragglers": Stragglers().document(),
        "deaths": [],
        "restarts": 0,
        "drain": None,
    }


def for_alarms(report: dict[str, Any]) -> dict[str, Any]:
    """The few figures of a report that its last event carries too."""
    waits = [each["longest_wait"] for each in report["listeners"] if each["longest_wait"] is not None]
    return {
        "longest_wait": max(waits, default=0.0),
        "queue_reset": report["stragglers"]["reset"],
        "listen_overflows": (report["kernel"] or {}).get("ListenOverflows", 0),
    }


class Drain(Struct):
    """The generation that a handoff has left behind, until it has ended."""

    handoff: int
    generation: int
    sockets: int | None
    began: float
    stragglers: Stragglers = field(default_factory=Stragglers)
    killed: bool = False

    def document(self, ended: float, how: object) -> dict[str, Any]:
        """As it is kept; `ended` on the clock of events."""
        return {
            "generation": self.generation,
            "seconds": round(ended - self.began, 3),
            "exit": how,
            "killed": self.killed,
            **self.stragglers.document(),
        }
