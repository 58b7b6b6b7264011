"""Looking at what an earlier supervisor has left: which of its children live, and their sockets, taken back.

Sockets come from whoever has them: from those who handed them to this process at its start, and else out of the living
children (`linux.adopt`). Nothing is believed of the journal but what can be seen to be so: a process by its pid and
start, a socket by its inode.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from supervisor.core.recovery import Found
from supervisor.engine.addresses import addresses
from supervisor.engine.lookout import exit_of
from supervisor.errors import HostError
from supervisor.linux import adopt, process
from supervisor.linux.handed import is_out_of_use, let_go
from supervisor.linux.listener import resume_listener
from supervisor.linux.listeners import Listeners, Place
from supervisor.linux.past import Past

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from supervisor.core.ending import Exit
    from supervisor.core.launch import Listen
    from supervisor.core.model import Generation
    from supervisor.engine.containment import Containment
    from supervisor.engine.heritage import Heritage, Listened
    from supervisor.linux.address import Socket
    from supervisor.linux.handed import Handed
    from supervisor.linux.listener import Listener

_log = structlog.get_logger()

_PATIENCE = 5.0
"""Seconds that what is swept has to be gone after KILL: until then its sockets may be in our groups."""

Run = tuple[int, int]
"""Generation and run."""


class Remains(Struct, frozen=True, kw_only=True):
    """What was found, and is ours now."""

    found: Found
    children: Mapping[Run, process.Child]
    pipes: Mapping[Run, int]
    """Read ends of the readiness pipes that children still have."""
    listeners: Listeners

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to go on with."""
        return not self.children and not self.found.sockets


class Estate(Struct, frozen=True, kw_only=True):
    """Where to look."""

    service: str
    runtime: Path
    """The folder that children speak to."""
    containment: Containment
    given: Iterable[Socket]
    """Sockets that came with the start of this process, ours alone. Those that are gone on with nowhere are let go."""
    handed: Mapping[str, Handed]
    """Those of a service manager that keeps them, by listener."""
    told: int
    """The last handoff in the history."""


def take_over(heritage: Heritage, estate: Estate) -> Remains:
    """Look, and take back. Raises HostError where a living server's sockets cannot be had."""
    children, exits = _children(heritage)
    leaves = {run: leaf for run, child in children.items() if (leaf := estate.containment.holding(child.pid))}
    sweep(estate, keep={number for number, _ in children}, leaves=[leaf.path for leaf in leaves.values()])
    wanted = {entry.inode for each in heritage.listeners for entry in each.order}
    given = {os.fstat(each.fileno()).st_ino: each for each in estate.given}
    sockets = {inode: sock for inode, sock in given.items() if not is_out_of_use(sock)} | {
        os.fstat(each.socket.fileno()).st_ino: each.socket for each in estate.handed.values()
    }
    pids = {run: {child.pid} | process.descendants_of(child.pid) for run, child in children.items()}
    for run, leaf in leaves.items():
        pids[run] |= leaf.pids()
    for pid in sorted(pid for each in pids.values() for pid in each):
        sockets |= adopt.sockets_of(pid, wanted - sockets.keys())
    listening = {
        run for run, each in pids.items() if any(process.holds_socket(pid, frozenset(wanted)) is True for pid in each)
    }
    listeners = _resumed(heritage, sockets, estate.handed, served=bool(children))
    used = {entry.inode for each in listeners for entry in each.written()}
    for inode in given.keys() - used:
        let_go(given[inode])
    return Remains(
        found=Found(
            alive=frozenset(children),
            listening=frozenset(listening),
            exits=exits,
            sockets=frozenset(listeners.members()),
            told=estate.told,
        ),
        children=children,
        pipes=_pipes(heritage, children),
        listeners=listeners,
    )


def living(service: str, runtime: Path) -> list[int]:
    """Processes that some supervisor of this service has started."""
    found = []
    for pid in process.everyone():
        speaks_to = process.environment_value(pid, "NOTIFY_SOCKET") or ""
        ours = process.environment_value(pid, "GAPLESS_SERVICE") == service
        if ours and speaks_to.startswith(f"{runtime}/") and process.alive(pid):
            found.append(pid)
    return sorted(found)


def holding(sockets: Iterable[Socket]) -> list[int]:
    """Processes beside this one and its service manager that have one of these open, as far as may be seen."""
    inodes = frozenset(os.fstat(each.fileno()).st_ino for each in sockets)
    others = process.everyone() - {1, os.getpid(), os.getppid()} if inodes else set()
    return sorted(pid for pid in others if process.holds_socket(pid, inodes) is True)


def sweep(estate: Estate, keep: set[int], leaves: Collection[Path]) -> None:
    """End what is left of generations and cgroups that are not to be kept, such as processes that were still held."""
    left = {pid for pid in living(estate.service, estate.runtime) if _generation_of(pid) not in keep}
    emptied = [leaf for leaf in estate.containment.left() if leaf.path not in leaves and not leaf.remove()]
    for leaf in emptied:
        left |= leaf.pids()
        leaf.kill()
    if left:
        _log.warning("leftovers_ended", pids=sorted(left))
    until = time.monotonic() + _PATIENCE
    pidfds = []
    for pid in left:
        with suppress(ProcessLookupError):
            pidfds.append(os.pidfd_open(pid))
        process.send(pid, signal.SIGKILL)
    for pidfd in pidfds:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(max(0.0, until - time.monotonic()) * 1000)
        os.close(pidfd)
    for leaf in emptied:
        leaf.remove()


def _generation_of(pid: int) -> int | None:
    value = process.environment_value(pid, "GAPLESS_GENERATION") or ""
    return int(value) if value.isascii() and value.isdecimal() else None


def _children(heritage: Heritage) -> tuple[dict[Run, process.Child], dict[Run, Exit]]:
    """Those who live, and how others have ended where that can still be read."""
    children: dict[Run, process.Child] = {}
    exits: dict[Run, Exit] = {}
    for each in heritage.state.generations if heritage.same_boot else ():
        if each.process is None:
            continue
        with suppress(HostError):  # it has ended by now
            child = process.Child(each.process.pid)
            if child.start_ticks != each.process.start_ticks:
                child.close()
            elif child.ended():
                exits[each.number, each.run] = exit_of(child.reap())
                child.close()
            else:
                children[each.number, each.run] = child
    return children, exits


def _pipes(heritage: Heritage, children: Mapping[Run, process.Child]) -> dict[Run, int]:
    ends = {run: adopt.pipe_of(children[run].pid, inode) for run, inode in heritage.pipes.items() if run in children}
    return {run: end for run, end in ends.items() if end is not None}


def _resumed(
    heritage: Heritage, sockets: Mapping[int, Socket], handed: Mapping[str, Handed], *, served: bool
) -> Listeners:
    """The listeners. Where one cannot be had and nobody is served, there are none. Raises HostError."""
    why = "some of a generation's were not kept"
    try:
        made = _listeners(heritage, sockets, handed)
        if served or all(len(made.of(each)) == len(heritage.sets[each]) for each in made.members()):
            return made
    except HostError as gone:
        if served:
            raise
        why = str(gone)
    _log.warning("sockets_not_taken_back", reason=why, effect="begun anew: no server runs")
    return Listeners.resumed((), {})


def _listeners(heritage: Heritage, sockets: Mapping[int, Socket], handed: Mapping[str, Handed]) -> Listeners:
    """Those of which a socket is left. What is left of others is let go."""
    configured = _configured(heritage)
    listeners: dict[int, Listener] = {}
    for each in heritage.listeners:
        numbers = [entry.number for entry in each.order if entry.number in configured and entry.inode in sockets]
        if numbers:
            listen = _named(heritage, configured, each, max(numbers))
            past = Past(
                order=each.order,
                sockets={entry.number: sockets[entry.inode] for entry in each.order if entry.inode in sockets},
                anchor=each.anchor,
            )
            (address,) = addresses([listen])
            made = resume_listener(address, past, handed.get(listen.name))
            listeners |= {entry.inode: made for entry in each.order if entry.inode in sockets}
    sets = {
        number: [Place(name, listeners[inode]) for name, inode in inodes.items() if inode in listeners]
        for number, inodes in heritage.sets.items()
    }
    return Listeners.resumed(
        dict.fromkeys(listeners.values()), {number: places for number, places in sets.items() if places}
    )


def _configured(heritage: Heritage) -> dict[int, Generation]:
    """The generation that each set is configured for; of those that share one, the newest."""
    return {each.sockets: each for each in heritage.state.generations if each.sockets is not None}


def _named(heritage: Heritage, configured: Mapping[int, Generation], each: Listened, number: int) -> Listen:
    inode = next(entry.inode for entry in each.order if entry.number == number)
    name = next(name for name, found in heritage.sets[number].items() if found == inode)
    return next(listen for listen in configured[number].release.launch.listen if listen.name == name)
