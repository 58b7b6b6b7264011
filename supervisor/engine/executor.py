"""The hands: each effect of the core, done by the kernel's means, with what came of it posted as an event."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from supervisor.core import effects, events
from supervisor.core.generation import policy_for
from supervisor.core.model import Failure, Mode, Process, Reason
from supervisor.core.value import replace
from supervisor.engine import contract
from supervisor.engine.addresses import addresses
from supervisor.engine.instances import Instance
from supervisor.engine.orders import command_of, speaker
from supervisor.errors import HostError, ReleaseError
from supervisor.linux import names, sockdiag
from supervisor.linux.spawn import Command, FdWindow, Held, Program, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from supervisor.core.launch import Launch
    from supervisor.core.model import Generation, Release, State
    from supervisor.engine.ahead import Ahead, Made
    from supervisor.engine.instances import Channel, Instances, Speaker
    from supervisor.engine.loop import Engine
    from supervisor.engine.losses import Losses
    from supervisor.linux.listeners import Listeners
    from supervisor.linux.process import Child

_log = structlog.get_logger()

_MOST_RESET = 100_000
"""Connections: more than any queue holds (net.core.somaxconn)."""

_LONGEST_STATUS = 200
_MOST_DIGITS = 18
"""Of a number of microseconds: 30,000 years, and it fits every kind of number."""


class Executor(Struct, kw_only=True):
    """Performs effects on this host."""

    engine: Engine
    listeners: Listeners
    instances: Instances
    window: FdWindow
    open_files: tuple[int, int]
    """The limit that a child has unless it is to have another: ours as it was when we were started (soft, hard)."""
    open_channel: Callable[[Speaker], Channel]
    """A new one."""
    resume_channel: Callable[[Speaker, int | None], Channel]
    """One for a child that is there already, with the read end of its readiness pipe if that is open."""
    pin_again: Callable[[Release], Release]
    """What is run now in a release's name. Raises ReleaseError."""
    losses: Losses
    open_program: Callable[[Release], Program | None]
    """The file that is to be run itself, open, where it was verified. Raises ReleaseError."""
    ahead: Ahead
    """The process that may be there already."""
    point: Callable[[effects.Point], None]
    """Has a store's `current` lead elsewhere. Raises nothing."""

    def perform(self, effect: effects.Effect) -> None:
        """Do one effect. What is for people only (Conclude, Refuse, End) is done by who observes."""
        match effect:
            case effects.Spawn():
                self._spawn(effect)
            case effects.LetGo():
                self._let_go(effect)
            case effects.Steer():
                self._steer(effect)
            case effects.Tell():
                self._tell(effect)
            case effects.Kill():
                self.instances.signal_all(effect.generation, signal.SIGKILL)
            case effects.CloseSockets():
                self._close_sockets(effect)
            case effects.Point():
                self.point(effect)
            case effects.Forget():
                self.instances.sweep(effect.generation)
            case _:
                pass

    def adopt(self, generation: Generation, child: Child, pipe: int | None) -> None:
        """Go on with a process that an earlier supervisor has made. Raises HostError or OSError."""
        launch, run = generation.release.launch, generation.run
        channel = self.resume_channel(speaker(generation.number, run, launch, names.user(launch.user)), pipe)
        if generation.spoke is not None:
            channel.heard_before(generation.spoke)
        index = self.instances.free_index()
        leaf = self.instances.containment.holding(child.pid)
        instance = Instance(generation.number, run, Held(child), channel, index, taken_back=True, leaf=leaf)
        self.instances.add(instance)
        channel.listen(child.pid, lambda fields: self._said(instance, fields))

    def _spawn(self, effect: effects.Spawn) -> None:
        about = {"generation": effect.generation, "run": effect.run}
        try:
            release, instance = self._make(effect)
        except ReleaseError as refused:
            failure = Failure(Reason.BAD_RELEASE, str(refused))
            self.engine.post(events.SpawnFailed(at=self.engine.now(), **about, failure=failure))
        except Exception as refused:  # noqa: BLE001 - whoever waits for this process would wait for ever
            if not isinstance(refused, (HostError, OSError)):
                _log.critical("bug", what=f"generation {effect.generation} could not be made", exc_info=True)
            failure = Failure(Reason.SPAWN_FAILED, str(refused))
            self.engine.post(events.SpawnFailed(at=self.engine.now(), **about, failure=failure))
        else:
            self.instances.add(instance)
            child = instance.held.child
            made = Process(child.pid, child.start_ticks)
            self.engine.post(events.Spawned(at=self.engine.now(), **about, process=made, release=release))

    def _make(self, effect: effects.Spawn) -> tuple[Release, Instance]:
        release = self.pin_again(effect.release)
        if not release.same_file(effect.release):
            _log.warning("release_changed", pinned=effect.release.id, found=release.id, path=release.path)
        if not self.listeners.holds(effect.sockets):
            for listener in self.listeners.join(effect.sockets, addresses(release.launch.listen)):
                _log.info("listening", name=listener.address.name, address=str(listener))
        for name in self.listeners.revive(effect.sockets):
            _log.warning("listener_mended", name=name, what="its last server had shut it down: it listens again")
        launch = release.launch
        user = names.user(launch.user)
        who = speaker(effect.generation, effect.run, launch, user)
        made = self.ahead.take(who)
        channel = self.open_channel(who) if made is None else made.channel
        index = self.instances.free_index()
        try:
            sockets = self.listeners.sockets(effect.sockets)
            run = contract.Run(
                service=self.instances.service,
                generation=effect.generation,
                release=release.id,
                index=index,
                notify_path=channel.notify_path,
                ack_path=channel.ack_path,
                watchdog=self._watchdog(effect.generation),
            )
            command = command_of(launch, user, run, self._handed(launch, effect.sockets), self.open_files)
            held = self._held(release, command, [*(each.fileno() for each in sockets), channel.child_end], made)
        except BaseException:  # whatever it was, the channel must not stay open; it goes on up
            channel.abandon()
            raise
        finally:
            if made is not None:
                made.blank.end()  # unless it has become that: it has the child's end of the channel, too
        leaf = self.instances.containment.hold(held.child.pid, effect.generation, effect.run)
        instance = Instance(effect.generation, effect.run, held, channel, index, leaf=leaf)
        channel.listen(held.child.pid, lambda fields: self._said(instance, fields))
        return release, instance

    def _held(self, release: Release, command: Command, fds: Sequence[int], made: Made | None) -> Held:
        """By the file that was verified, which the child alone has open from then on."""
        program = self.open_program(release)
        try:
            command = replace(command, program=program)
            held = None if made is None else made.blank.given(command, fds)
            return held or spawn(command, fds, self.window)
        finally:
            if program is not None:
                os.close(program.fd)

    def _watchdog(self, generation: int) -> float | None:
        found = self.engine.state.find(generation)
        return None if found is None else policy_for(self.engine.state, found).watchdog

    def _handed(self, launch: Launch, member: int) -> list[contract.Handed]:
        places = self.listeners.of(member)
        return contract.handed(launch, [each.name for each in places], [str(each.listener) for each in places])

    def _let_go(self, effect: effects.LetGo) -> None:
        instance = self.instances.find(effect.generation, effect.run)
        if instance is not None:
            instance.held.let_go()

    def _tell(self, effect: effects.Tell) -> None:
        if self.engine.state.mode is Mode.STOPPING:
            self.listeners.give_back()
        instance = self.instances.find(effect.generation, effect.run)
        if instance is not None:
            instance.held.child.signal(getattr(signal, f"SIG{effect.signal}"))

    def _steer(self, effect: effects.Steer) -> None:
        about = {"handoff": effect.handoff, "sockets": effect.sockets}
        try:
            self.listeners.steer(effect.sockets)
        except (HostError, ValueError) as refused:
            self.engine.post(events.SteerFailed(at=self.engine.now(), **about, detail=str(refused)))
        else:
            self.engine.post(events.Steered(at=self.engine.now(), **about))

    def _close_sockets(self, effect: effects.CloseSockets) -> None:
        member = effect.sockets
        if not self.listeners.holds(member):
            return
        if not effect.clients:
            self._reset(lambda: self.listeners.reset_queue(member, _MOST_RESET))
        unready = _unready(self.engine.state)
        self._steer_away(member)
        migrate = effect.migrate and sockdiag.migrates()
        if migrate and self.listeners.queue(member):
            for listener in self.listeners:
                listener.drop_spares()
        lost = self._reset(lambda: self.listeners.reset_unmoved(member, unready if migrate else None, _MOST_RESET))
        if lost:
            self.losses.add_reset(member, lost)
        moved = self.listeners.queue(member) if migrate else 0
        if moved:
            self.losses.add_migrated(member, moved)
        self._leave(member, unready if moved else None)

    def _reset(self, reset: Callable[[], list[int]]) -> list[int]:
        """Without a file descriptor to accept them with they are reset all the same when the socket goes, uncounted."""
        try:
            return reset()
        except HostError as refused:
            _log.warning("queue_uncounted", reason=str(refused))
            return []

    def _leave(self, member: int, unready: set[int] | None = None) -> None:
        for listener in self.listeners.leave(member, unready):
            _log.info("listening_ended", name=listener.address.name, address=str(listener))

    def _steer_away(self, member: int) -> None:
        """While all are stopping, the set that was steered to may be the first to go."""
        for listener in self.listeners:
            others = [other for other in listener.members if other != member]
            if listener.target == member and others:
                listener.steer(others[0])

    def _said(self, instance: Instance, fields: Mapping[str, str]) -> None:
        """A message by sd_notify. READY is heard by who waits for it."""
        if "STATUS" in fields:
            instance.saying = fields["STATUS"][:_LONGEST_STATUS]
        about, now = {"generation": instance.generation, "run": instance.run}, self.engine.now()
        extension, period = _seconds(fields.get("EXTEND_TIMEOUT_USEC")), _seconds(fields.get("WATCHDOG_USEC"))
        if extension is not None:
            self.engine.post(events.Extended(at=now, **about, until=now + extension))
        if period is not None or fields.get("WATCHDOG") == "1":
            instance.pinged_at = now
            instance.pinged.set()
            self.engine.post(events.Pinged(at=now, **about, period=period))
        if fields.get("WATCHDOG") == "trigger":
            failure = Failure(Reason.HUNG, "it says so itself (WATCHDOG=trigger)")
            self.engine.post(events.Ailing(at=now, **about, failure=failure))


def _seconds(said: str | None) -> float | None:
    """Of a number of microseconds; None if it is none."""
    if said is None or not (said.isascii() and said.isdigit()):
        return None
    return int(said.lstrip("0")[:_MOST_DIGITS] or "0") / 1e6


def _unready(state: State) -> set[int]:
    """The sets of sockets that nobody accepts from."""
    accepting = {each.sockets for each in state.generations if each.accepts}
    return {each.sockets for each in state.generations if each.sockets is not None} - accepting
