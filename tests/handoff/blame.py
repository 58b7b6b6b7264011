"""Whose fault a lost request was: laid at the door of a process by the client's port."""

from dataclasses import dataclass
from datetime import datetime

from tests.harness.load import Failure, Found
from tests.harness.output import Event
from tests.harness.supervisor import Logged, Supervisor

_NEAR = 2.0
"""Seconds from a crash, within which a request may be the one that nobody had time to write down."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Every failure of a run, sorted."""

    crashed: list[Failure]
    """The connection is in the log of a process that crashed itself."""
    unlogged: list[Failure]
    """In nobody's log, at the instant of a crash: accepted, and the process died before it could write that down."""
    queued: list[Failure]
    """Reset by the supervisor in a dead generation's queue, by its own account."""
    others: list[Failure]


def blame(supervisor: Supervisor, found: Found) -> Blame:
    """Sort them. A process accepts one connection at a time, so a crash explains at most one that is not logged."""
    crashes = _crashes(supervisor)
    log = supervisor.connection_log()
    theirs = [(each.port, crashes[each.pid]) for each in log if each.pid in crashes]
    reset = [(port, _when(event)) for event in supervisor.events("queue_reset") for port in event["client_ports"]]
    sorted_out = Blame([], [], [], [])
    free = dict(crashes)
    for each in found.failures:
        near = [pid for pid, at in free.items() if abs(at - each.at) < _NEAR]
        if _explains(reset, each):
            sorted_out.queued.append(each)
        elif _explains(theirs, each):
            sorted_out.crashed.append(each)
        elif not _logged(log, each) and each.kind != "refused" and near:
            del free[near[0]]
            sorted_out.unlogged.append(each)
        else:
            sorted_out.others.append(each)
    return sorted_out


def _logged(log: list[Logged], failure: Failure) -> bool:
    """Whether anybody has accepted that very connection, and not an earlier one from the same port."""
    times = [each.at for each in log if each.port == failure.port and each.at <= failure.at]
    return bool(times) and (failure.reused or max(times) >= failure.due)


def _explains(happened: list[tuple[int, float]], failure: Failure) -> bool:
    """A client's port is used again: what happened to it must have happened then."""
    return any(port == failure.port and abs(at - failure.at) < _NEAR for port, at in happened)


def _when(event: Event) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def _crashes(supervisor: Supervisor) -> dict[int, float]:
    """When each process ended that nobody had told to end, by pid."""
    running: dict[int, int] = {}
    told: set[int] = set()
    crashes = {}
    for event in supervisor.events(
        "generation_started", "generation_told", "generation_killed", "generation_ended", "generation_down"
    ):
        generation = event["generation"]
        match event["event"]:
            case "generation_started":
                running[generation] = event["pid"]
            case "generation_told" | "generation_killed":
                told.add(generation)
            case _ if generation not in told and generation in running:
                crashes[running.pop(generation)] = _when(event)
            case _:
                pass
    return crashes
