"""The control socket's server: who is let in, how many at a time, and how it opens and closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from supervisor.control.conversation import CHUNK, Conversation
from supervisor.linux.peer import peer_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.control.api import Service
    from supervisor.control.entrance import Entrance
    from supervisor.core.access import Access

_log = structlog.get_logger()

_LEAVE = 1.0
"""Seconds that answers already begun are given when the server closes."""


class Limits(Struct, frozen=True, kw_only=True):
    """What strangers, and friends with a fault, may take."""

    connections: int = 64
    """At once. One more takes the place of the one that has been idle longest, or of one who may do less than they; if
    there is none such, it is turned away."""
    listeners: int = 32
    """Of these, how many may be listening to events."""
    patience: float = 10.0
    """Seconds that a client may take to send a whole request, or to take an answer off us."""
    patience_with_listeners: float = 60.0
    """Seconds that one who listens to events may read nothing while there is something to be read."""


class ControlServer:
    """Answers on one Unix socket."""

    def __init__(self, entrance: Entrance, service: Service, limits: Limits | None = None) -> None:
        self._entrance = entrance
        self._service = service
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._turned_away = 0
        """Who is being told that there is no room. More of them than of the others are not even told."""
        self._conversations: dict[Conversation, asyncio.Task[None] | None] = {}

    async def start(self) -> None:
        """Bind and listen. Raises HostError."""
        listening = self._entrance.open()
        self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=CHUNK, backlog=1024)

    async def stop(self) -> None:
        """Take no more, let answers that have been begun go out, and leave no file."""
        if self._server is not None:
            self._server.close()
        for each in list(self._conversations):
            each.last = True
            if each.idle:
                each.drop()
        tasks = {task for task in self._conversations.values() if task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LEAVE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._entrance.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation((reader, writer), self._service, self._entrance, self._limits.patience)
        try:
            conversation.peer = peer_of(writer.get_extra_info("socket"))
            if self._admit(conversation):
                self._conversations[conversation] = asyncio.current_task()
                await conversation.hold(lambda: self._patience_of(conversation))
            elif self._turned_away < self._limits.connections:
                await self._turn_away(conversation)
        except (OSError, TimeoutError):
            pass  # the client went away, or does not take what it asked for: there is nobody left to tell
        except asyncio.CancelledError:
            pass  # by stop(), or to make room. Python 3.11's streams would report it as an error of the callback
        except Exception as bug:  # noqa: BLE001 - one connection's failure is to reach no other, and no handoff
            if not writer.transport.is_closing():  # uvloop's word for a closed connection is RuntimeError
                _log.error("control_failed", what=f"{type(bug).__name__}: {bug}")
        finally:
            self._conversations.pop(conversation, None)
            conversation.drop()

    async def _turn_away(self, conversation: Conversation) -> None:
        self._turned_away += 1
        try:
            await conversation.turn_away(f"all {self._limits.connections} connections are at work: try again soon")
        finally:
            self._turned_away -= 1

    def _admit(self, newcomer: Conversation) -> bool:
        """Whether there is room for one more; made, if need be, at the cost of who may do no more than they."""
        if len(self._conversations) < self._limits.connections:
            return True
        return self._dismiss(each for each in self._conversations if _gives_way(each, newcomer.access))

    def _patience_of(self, listener: Conversation) -> float | None:
        """How long one more listener may read nothing; None if there are enough already who may do as much."""
        listening = [each for each in self._conversations if each.listens]
        room = len(listening) < self._limits.listeners
        if room or self._dismiss(each for each in listening if each.access < listener.access):
            return self._limits.patience_with_listeners
        return None

    def _dismiss(self, candidates: Iterable[Conversation]) -> bool:
        """Let one of them go: who has been idle longest, and of those who are not, who may do least."""
        found = min(candidates, key=lambda each: (not each.idle, each.access, each.since), default=None)
        if found is None:
            return False
        task = self._conversations.pop(found)
        if task is not None and not found.idle:
            task.cancel()
        found.drop()
        return True


def _gives_way(each: Conversation, access: Access) -> bool:
    """An operator is not to be kept out by those who may only look, nor they by those who may do nothing."""
    return each.access < access or (each.idle and each.access == access)
