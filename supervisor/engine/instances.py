"""The living runs: for each, its process, its channel, and what is left behind when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec import Struct, field

from supervisor.engine.leftovers import Leftovers
from supervisor.linux import blank, errand, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from supervisor.engine.containment import Containment
    from supervisor.linux.cgroup import Leaf
    from supervisor.linux.spawn import Held

_log = structlog.get_logger()


class Channel(Protocol):
    """What a child says of itself (`readiness.channel`)."""

    @property
    def child_end(self) -> int:
        """The fd of the readiness pipe that the child is to have."""

    @property
    def notify_path(self) -> Path:
        """Where it may send sd_notify messages."""

    @property
    def ack_path(self) -> Path | None:
        """Where it may say in einhorn's way that it is ready, if that is a way for it."""

    @property
    def in_place(self) -> bool:
        """Whether its paths still lead to it."""

    @property
    def pipe_open(self) -> bool:
        """Whether a word may still come by the pipe."""

    @property
    def pipe_inode(self) -> int | None:
        """By which a later supervisor finds the pipe, if a word may still come by it."""

    def hear(self) -> None:
        """Take what has been said and waits."""

    def heard_before(self, how: str) -> None:
        """An earlier supervisor has heard its word."""

    def listen(self, pid: int, on_message: Callable[[Mapping[str, str]], None]) -> None:
        """The child exists."""

    def abandon(self) -> None:
        """The child could not be made."""

    def close(self) -> None:
        """The child is no more."""


class Speaker(Struct, frozen=True):
    """Whose a channel is."""

    generation: int
    run: int
    owner: int | None
    """The uid that will speak; None: ours."""
    dialects: tuple[str, ...]
    """In which it may, beside ours."""


class Instance(Struct):
    """One run of one generation."""

    generation: int
    run: int
    held: Held
    channel: Channel
    index: int
    """The smallest number that no other living run had when it began."""
    taken_back: bool = False
    """Whether an earlier supervisor has made it: if that is another process, it is not our child, nor its orphans."""
    leaf: Leaf | None = None
    """The cgroup of this run, if it has one."""
    saying: str = ""
    """The last STATUS= it sent."""
    pinged_at: float = 0.0
    """When it sent its last WATCHDOG=1, by the clock of events."""
    pinged: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each of them."""

    @property
    def pid(self) -> int:
        """Its main process."""
        return self.held.child.pid


class Instances:
    """All of them, and the sweeps of those that ended."""

    def __init__(self, service: str, containment: Containment) -> None:
        self.service = service
        self.containment = containment
        self._living: dict[int, Instance] = {}
        self._left: dict[int, Leftovers] = {}
        self._sweeps: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Instance]:
        """The living, oldest first."""
        return iter(list(self._living.values()))

    def add(self, instance: Instance) -> None:
        """A run begins."""
        self._living[instance.generation] = instance

    def free_index(self) -> int:
        """The smallest number that no living run has."""
        taken = {each.index for each in self}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def find(self, generation: int, run: int | None = None) -> Instance | None:
        """The living run of that generation, if it is that one."""
        found = self._living.get(generation)
        return found if found is not None and run in (None, found.run) else None

    def pids(self, generation: int) -> set[int]:
        """Every process of a living generation: the main one, its descendants, its group, its orphans."""
        found = self._living.get(generation)
        if found is None:
            return set()
        return {found.pid} | process.descendants_of(found.pid) | self._strays(found)

    def signal_all(self, generation: int, number: int) -> None:
        """Send a signal to every process of a generation; the group first, since it cannot be outrun by a fork."""
        found = self._living.get(generation)
        if found is None:
            return
        pids = self.pids(generation)
        if found.leaf is not None and number == signal.SIGKILL:
            found.leaf.kill()
        process.send_group(found.pid, number)
        for pid in pids:
            process.send(pid, number)

    def reap(self, instance: Instance) -> process.Ended:
        """Its main process has ended: take the status, and note what it left behind before its pid can be reused."""
        self._left.setdefault(instance.generation, Leftovers()).add(self._strays(instance), instance.leaf)
        ended = instance.held.child.reap()
        instance.held.settle(ended.status if ended.status is not None else -1)
        instance.held.child.close()
        instance.channel.close()
        self._living.pop(instance.generation, None)
        return ended

    def sweep(self, generation: int) -> None:
        """End what a run left behind: TERM, then KILL."""
        left = self._left.pop(generation, None)
        if left is not None:
            self._end(left)

    def sweep_earlier(self) -> None:
        """End what earlier supervisors have left in cgroups. What has been taken back is living by then."""
        living = {each.leaf.path for each in self if each.leaf is not None}
        for leaf in self.containment.left():
            if leaf.path in living or leaf.remove():
                continue
            found = leaf.pids()
            _log.warning("leftovers_ended", cgroup=str(leaf.path), pids=sorted(found))
            left = Leftovers()
            left.add(found, leaf)
            self._end(left)

    async def swept(self) -> None:
        """Wait until every sweep is over."""
        while self._sweeps:
            await asyncio.wait(self._sweeps)

    def _end(self, left: Leftovers) -> None:
        if not left.gone():
            task = asyncio.ensure_future(left.end())
            self._sweeps.add(task)
            task.add_done_callback(self._sweeps.discard)

    def reap_orphans(self) -> None:
        """Take the statuses of dead processes that nobody else waits for."""
        process.reap_orphans({each.pid for each in self} | errand.running() | blank.waiting())

    def _strays(self, instance: Instance) -> set[int]:
        """Processes of a run that are not below its main one: of its group, or orphans that bear its number."""
        heads = {instance.pid, *(each.pid for each in self)}
        if instance.taken_back:
            below = process.everyone() - heads
            below -= {pid for head in heads for pid in process.descendants_of(head)}
        else:
            below = process.descendants_of(os.getpid(), but=heads)
        grouped = process.group_of(instance.pid, below)
        contained = set() if instance.leaf is None else instance.leaf.pids() - {instance.pid}
        return grouped | contained | {pid for pid in below - grouped if self._bears(pid, instance.generation)}

    def _bears(self, pid: int, generation: int) -> bool:
        return (
            process.environment_value(pid, "GAPLESS_GENERATION") == str(generation)
            and process.environment_value(pid, "GAPLESS_SERVICE") == self.service
        )
