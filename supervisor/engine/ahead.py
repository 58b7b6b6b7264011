"""The next generation's process, made ahead: while one generation serves and nothing else goes on.

Its sockets are bound, its channel is open, and it is held (`linux.blank`): a handoff that begins finds all of that
there, and tells it what to run. It is made for a server that is run as the present one is. Where the next is run
otherwise, or is of a kind that has nothing ahead, the handoff makes its process itself, as every first start does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from supervisor.engine import contract
from supervisor.engine.addresses import addresses
from supervisor.engine.orders import command_of, speaker
from supervisor.errors import HostError
from supervisor.linux import names
from supervisor.linux.blank import Blank, suits

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.due import MakeAhead
    from supervisor.core.events import Event
    from supervisor.engine.instances import Channel, Instances, Speaker
    from supervisor.linux.listeners import Listeners
    from supervisor.linux.spawn import FdWindow

_log = structlog.get_logger()

AFTER = 0.5
"""Seconds of rest after which it is made: until then who asks again has it made anyway, and clients have the CPU."""

FIRST_RUN = 1

_ANY = "any"
"""A release, as long as it is not known which."""


class Made(Struct, frozen=True):
    """What is there."""

    speaker: Speaker
    channel: Channel
    blank: Blank

    def end(self) -> None:
        """Nothing comes of it."""
        self.blank.end()
        self.channel.abandon()


class Ahead:
    """One service's: there is one process at most."""

    def __init__(
        self,
        listeners: Listeners,
        instances: Instances,
        window: FdWindow,
        open_files: tuple[int, int],
        open_channel: Callable[[Speaker], Channel],
    ) -> None:
        """`open_files` is a child's limit, soft and hard."""
        self._listeners = listeners
        self._instances = instances
        self._window = window
        self._open_files = open_files
        self._open_channel = open_channel
        self._made: Made | None = None

    async def keep(self, watch: MakeAhead) -> Event:
        """Have it there until it is taken, or this is cancelled."""
        await asyncio.sleep(AFTER)
        never: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        try:
            self._begin(watch)
            return await never
        finally:
            if self._made is not None and self._made.speaker.generation == watch.generation:
                self.drop()

    def _begin(self, watch: MakeAhead) -> None:
        try:
            self._made = self._make(watch)
        except (HostError, OSError) as refused:
            _log.warning("not_made_ahead", generation=watch.generation, reason=str(refused))
        if self._made is not None:
            asyncio.get_running_loop().add_reader(self._made.blank.pidfd, self._died)
            _log.info("made_ahead", generation=watch.generation, pid=self._made.blank.pid)

    def take(self, who: Speaker) -> Made | None:
        """What has been made for that speaker, which is the taker's now.

        What is there for another is ended. So is what cannot be spoken on any more: it may be days old, and
        somebody may have cleared its folder.
        """
        made, self._made = self._made, None
        if made is None:
            return None
        asyncio.get_running_loop().remove_reader(made.blank.pidfd)
        if made.speaker == who and made.channel.in_place:
            return made
        made.end()
        return None

    def drop(self) -> None:
        """Nothing will come next, or by another way."""
        if self._made is not None:
            asyncio.get_running_loop().remove_reader(self._made.blank.pidfd)
            self._made.end()
            self._made = None

    def _died(self) -> None:
        """Somebody has killed it: no reason to make another, which might be killed as well."""
        self.drop()
        _log.warning("made_ahead_died", effect="the next handoff makes its process itself")

    def _make(self, watch: MakeAhead) -> Made | None:
        """None if there is nothing that could be had ahead. Raises HostError or OSError."""
        launch = watch.launch
        prepared = None if launch.stdout or launch.stderr else self._listeners.prepare(addresses(launch.listen))
        if prepared is None:
            return None
        user = names.user(launch.user)
        who = speaker(watch.generation, FIRST_RUN, launch, user)
        channel = self._open_channel(who)
        try:
            run = contract.Run(
                service=self._instances.service,
                generation=who.generation,
                release=_ANY,
                index=self._instances.free_index(),
                notify_path=channel.notify_path,
                ack_path=channel.ack_path,
                watchdog=watch.policy.watchdog,
            )
            handed = contract.handed(
                launch, [each.name for each in launch.listen], [str(listener) for listener, _ in prepared]
            )
            command = command_of(launch, user, run, handed, self._open_files)
            fds = [*(sock.fileno() for _, sock in prepared), channel.child_end]
            if suits(command, fds):
                return Made(who, channel, Blank(command, fds, self._window))
        except BaseException:  # whatever it was, the channel must not stay open; it goes on up
            channel.abandon()
            raise
        channel.abandon()
        return None
