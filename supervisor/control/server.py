"""The control socket's server: who is let in, how many at a time, and how it opens and closes."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from supervisor.control.auth import peer_of
from supervisor.control.conversation import CHUNK, Conversation
from supervisor.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.control.api import Service

_log = structlog.get_logger()

_LEAVE = 1.0
"""Seconds that answers already begun are given when the server closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What strangers, and friends with a fault, may take."""

    connections: int = 64
    """At once. One more takes the place of the one that has been idle longest; if none is idle, it is turned away."""
    listeners: int = 32
    """Of these, how many may be listening to events."""
    patience: float = 10.0
    """Seconds that a client may take to send a whole request, or to take an answer off us."""
    patience_with_listeners: float = 60.0
    """Seconds that one who listens to events may read nothing while there is something to be read."""


class ControlServer:
    """Answers on one Unix socket."""

    def __init__(self, path: Path, service: Service, limits: Limits | None = None) -> None:
        self.path = path
        self._service = service
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._turned_away = 0
        """Who is being told that there is no room. More of them than of the others are not even told."""
        self._file: tuple[int, int] | None = None
        self._conversations: dict[Conversation, asyncio.Task[None] | None] = {}

    async def start(self) -> None:
        """Bind and listen. Raises HostError.

        A socket file that a dead supervisor left is replaced: the lock on the service's state says that it is dead.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._clear()
            listening = self._bound()
        except OSError as refused:
            raise HostError(f"cannot open the control socket {self.path}: {refused.strerror or refused}") from refused
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
        with suppress(OSError):
            if self._file == _identity(self.path):
                self.path.unlink()

    def _clear(self) -> None:
        """Remove what a dead supervisor left, and nothing else."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise HostError(f"{self.path} is there and is no socket: name another [control] socket, or move it away")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
            try:
                asking.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except BlockingIOError:
                pass  # its queue is full: somebody listens
        raise HostError(f"another process listens at {self.path}: give each service its own [control] socket")

    def _bound(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            os.fchmod(listening.fileno(), 0o600)  # bind(2) makes the file with it: unix_bind_bsd()
            listening.bind(str(self.path))
            self._file = _identity(self.path)
        except OSError:
            listening.close()
            raise
        return listening

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(reader, writer, self._service, self._limits.patience)
        try:
            conversation.peer = peer_of(writer.get_extra_info("socket"))
            if self._admit():
                self._conversations[conversation] = asyncio.current_task()
                await conversation.hold(self._patience_with_listeners)
            elif self._turned_away < self._limits.connections:
                await self._turn_away(conversation)
        except (OSError, TimeoutError):
            pass  # the client went away, or does not take what it asked for: there is nobody left to tell
        except asyncio.CancelledError:
            pass  # by stop(). Python 3.11's streams would report it as an error of the callback
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

    def _admit(self) -> bool:
        """Whether there is room for one more; made, if need be, at the cost of who has been idle longest."""
        if len(self._conversations) < self._limits.connections:
            return True
        longest = min((each for each in self._conversations if each.idle), key=lambda each: each.since, default=None)
        if longest is None:
            return False
        del self._conversations[longest]
        longest.drop()
        return True

    def _patience_with_listeners(self) -> float | None:
        """How long one more listener may read nothing; None if there are enough already."""
        if sum(each.listens for each in self._conversations) >= self._limits.listeners:
            return None
        return self._limits.patience_with_listeners


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
