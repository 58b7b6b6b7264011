"""The accept probe: a connection of our own, steered to a candidate, and really accepted.

No event tells of an accept(2) in another process, so the connection is looked at, ever more slowly, while a probe runs
(and never else). sock_diag(7) tells exactly. Where it is refused, the length of the queue (TCP_INFO) has to do: that
it got shorter, or that it is empty though the connection has been established for a while.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.linux.sockdiag import is_accepted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor.linux.listeners import Listener

_SETTLED = 0.02
"""Seconds. A connection that the client side already calls established may still be on its way into the queue."""

_PACE = ((0.0, 0.005), (0.001, 1.0), (0.02, float("inf")))
"""How long to pause between looks, and for how long so, in seconds."""

_AGAIN = 0.1
"""Seconds until a probe that was refused or reset is made anew."""


async def accepts(listeners: Iterable[Listener], member: int) -> None:
    """Wait until that member accepts a connection on every listener. Ends only so, or by cancellation."""
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(_accepts(listener, member))


async def _accepts(listener: Listener, member: int) -> None:
    while True:
        if await _try(listener, member):
            return
        await asyncio.sleep(_AGAIN)


async def _try(listener: Listener, member: int) -> bool:
    address = listener.bound
    source = address.loopback_source()
    with socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        probe.bind((source, 0))
        listener.probe(member, (source, probe.getsockname()[1]))
        try:
            with suppress(BlockingIOError):
                probe.connect((source, address.port))
            return await _accepted(probe, listener, member)
        except OSError as refused:
            if refused.errno in {errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EADDRNOTAVAIL}:
                return False
            raise
        finally:
            if member in listener.members:
                listener.unprobe()


async def _accepted(probe: socket.socket, listener: Listener, member: int) -> bool:
    longest = 0
    established: float | None = None
    for pause in _pauses():
        if established is None and _is_established(probe):
            established = time.monotonic()
        told = is_accepted(probe) if established is not None else None
        if told:
            return True
        if told is None:
            length = listener.queue(member)
            settled = established is not None and time.monotonic() - established >= _SETTLED
            if length < longest or (length == 0 and settled):
                return True
            longest = length
        await asyncio.sleep(pause)
    raise AssertionError("the pauses have no end")


def _is_established(probe: socket.socket) -> bool:
    failed = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, "the probe failed")
    try:
        probe.getpeername()
    except OSError:
        return False
    return True


def _pauses() -> Iterator[float]:
    """Seconds between looks: none at first, when a server that is up accepts; later they only cost."""
    for pause, until in _PACE:
        ends = time.monotonic() + until
        while time.monotonic() < ends:
            yield pause
