"""The accept probe: a connection of our own, steered to a candidate, and really accepted.

It is made when the candidate starts and waits in its queue, so that a server which accepts by the time that it says so
costs no further wait. No event tells of an accept(2) in another process, so the connection is looked at, ever more
slowly, while a probe runs (and never else). sock_diag(7) tells exactly. Where it is refused, the length of the queue
(TCP_INFO) has to do: that it got shorter, or that it is empty though the connection has been established for a while.

A listener that all generations share gives a connection to whoever is quicker. There it counts only if a process of the
candidate's own has it; else it is tried again, at a pace that does not trouble the others, and if they are always
quicker a candidate that has said that it is ready is believed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux.shared import TakenElsewhereError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisor.linux.listener import Listener

_SETTLED = 0.02
"""Seconds. A connection that the client side already calls established may still be on its way into the queue."""

_PACE = ((0.0, 0.001), (0.001, 1.0), (0.02, float("inf")))
"""How long to pause between looks, and for how long so, in seconds."""

_AGAIN = 0.1
"""Seconds until a connection that was refused or reset is made anew."""


_OTHERS = 1.0
"""Seconds. For so long others may take our connections until that is no longer held against who has said that it is
ready; from then on one is made each second and no more."""


class Probe:
    """One probe of one member, on every listener that can be probed.

    `owns` tells whether a process of the member's holds the socket with an inode.
    """

    def __init__(self, listeners: Iterable[Listener], member: int, owns: Callable[[int], bool]) -> None:
        self._knocks = [_Knock(listener, member, owns) for listener in listeners if listener.probes]
        self._begun = False

    @property
    def unaccepting(self) -> tuple[Listener, ...] | None:
        """The listeners on which it has not been accepted yet; None if it knocks nowhere."""
        waiting = tuple(each.listener for each in self._knocks if not each.was_answered)
        return waiting if self._begun and self._knocks else None

    def trust(self) -> None:
        """It has said that it is ready: where others keep taking our connections, that is enough."""
        for each in self._knocks:
            each.trust()

    @property
    def possible(self) -> bool:
        """Whether there is a listener that can be probed. With none, `accepted` waits for nothing."""
        return bool(self._knocks)

    def look(self) -> bool:
        """Whether every listener's connection has been accepted by now. Those that have not been made are."""
        self._begun = True
        answered = [each.answered() for each in self._knocks]  # of each: the first that has not must keep none waiting
        return all(answered)

    async def accepted(self) -> None:
        """Wait until every listener's connection has been accepted. Ends only so, or by cancellation.

        May be begun again: it then looks quickly at first, as it does when a candidate has just said that it is ready.
        """
        for pause in _pauses():
            if self.look():
                return
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Hang up, and steer nothing any more."""
        for each in self._knocks:
            each.hang_up()


class _Knock:
    """The connection to one listener."""

    def __init__(self, listener: Listener, member: int, owns: Callable[[int], bool]) -> None:
        self._listener, self._member, self._owns = listener, member, owns
        self._trusted = False
        self._taken: float | None = None
        self._connection: socket.socket | None = None
        self._again = 0.0
        self._established: float | None = None
        self._longest = 0
        self._answered = False

    @property
    def listener(self) -> Listener:
        """Where it knocks."""
        return self._listener

    @property
    def was_answered(self) -> bool:
        """Whether it has been accepted, when last looked at."""
        return self._answered

    def answered(self) -> bool:
        """Whether it has been accepted. Connects when that is due."""
        if self._answered:
            return True
        if self._connection is None and time.monotonic() >= self._again:
            self._connection = self._connect()
        if self._connection is None:
            return False
        try:
            self._answered = self._look(self._connection)
        except TakenElsewhereError:
            self.hang_up()
            self._answered = self._others_take_it()
        except OSError:
            self.hang_up()
            self._again = time.monotonic() + _AGAIN
        if self._answered:
            self.hang_up()
        return self._answered

    def trust(self) -> None:
        """Look again soon, and believe it if others take our connections."""
        self._trusted, self._again = True, 0.0

    def hang_up(self) -> None:
        """End the connection."""
        if self._connection is None:
            return
        self._connection.close()
        self._connection = None
        if self._member in self._listener.members:
            self._listener.unprobe()

    def _others_take_it(self) -> bool:
        """Whether that has gone on for so long that its word has to do. Sets when to try again."""
        now = time.monotonic()
        self._taken = self._taken or now
        long = now - self._taken >= _OTHERS
        self._again = now + (_OTHERS if long else _AGAIN)
        return long and self._trusted

    def _connect(self) -> socket.socket | None:
        self._established, self._longest = None, 0
        try:
            return self._listener.reach(self._member)
        except (OSError, HostError):
            self._again = time.monotonic() + _AGAIN
            return None

    def _look(self, connection: socket.socket) -> bool:
        """Raises OSError if the connection has failed."""
        if self._established is None and _is_established(connection):
            self._established = time.monotonic()
        told = self._listener.has_accepted(connection, self._owns) if self._established is not None else None
        if told is not None:
            return told
        length = self._listener.queue(self._member)
        settled = self._established is not None and time.monotonic() - self._established >= _SETTLED
        shorter, self._longest = length < self._longest, length
        return shorter or (length == 0 and settled)


def _is_established(connection: socket.socket) -> bool:
    failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, "the probe failed")
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _pauses() -> Iterator[float]:
    """Seconds between looks: none at first, when a server that is up accepts; later they only cost."""
    for pause, until in _PACE:
        ends = time.monotonic() + until
        while time.monotonic() < ends:
            yield pause
