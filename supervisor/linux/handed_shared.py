"""A socket that somebody else made and hands over, served by one socket for all generations.

As any shared listener, but for its end: it is not ours to shut down, and what waits in it is for who begins next.
"""

import os
from collections.abc import Container

from supervisor.linux.address import Socket
from supervisor.linux.handed import Handed
from supervisor.linux.shared import SharedAddress, SharedListener, opened
from supervisor.linux.unix import connect_unix


class HandedListener(SharedListener):
    """One place, its socket, and whoever else has it."""

    def __init__(self, address: SharedAddress, handed: Handed) -> None:
        """Take over a socket that may listen already, whoever made it."""
        super().__init__(address, opened(handed.socket))

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell that nobody is lost: what waits is for all, and for those who begin later."""
        del member, unready
        return True

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Forget the member."""
        del unready
        self._members.remove(member)
        if member == self._target:
            self._target = min(self._members, default=None)

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Leave what waits."""
        del member, limit
        return []

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own, non-blocking, to whoever accepts it. Raises OSError."""
        if self.port is not None:
            return super().reach(member)
        return connect_unix(os.fsdecode(self._opened.sock.getsockname()))
