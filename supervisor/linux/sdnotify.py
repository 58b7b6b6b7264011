"""sd_notify(3), both ways: what a child says to us, and what we say to systemd."""

from __future__ import annotations

import array
import os
import select
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CREDENTIALS = struct.Struct("iII")
"""struct ucred (unix(7)): pid, uid, gid."""

_MOST_FDS = 253
"""SCM_MAX_FD: fds in one message. Those that a child sends are closed at once, which is what BARRIER=1 waits for."""

_LONGEST = 8192

_LONGEST_NAME = 255
"""Bytes; systemd's FDNAME_MAX. A longer name, or one with a colon, would be `stored` in its place."""

_PATIENCE = 0.2
"""Seconds that systemd may keep us waiting."""


class Message(Struct, frozen=True):
    """One datagram: who sent it by the kernel's word, and what it says."""

    pid: int
    uid: int
    fields: Mapping[str, str]


class NotifySocket:
    """The socket that one child is told of in NOTIFY_SOCKET."""

    def __init__(self, path: Path, owner: int | None = None) -> None:
        """Bind at `path`. Anybody may write to it; what counts is who the kernel says wrote."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        path.chmod(0o600)
        if owner is not None:
            os.chown(path, owner, -1)

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def receive(self) -> Message | None:
        """The next message, or None if there is no other."""
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_MOST_FDS * 4)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_LONGEST, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        pid = uid = 0
        for level, kind, payload in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_RIGHTS:
                _close_all(payload)
            elif kind == socket.SCM_CREDENTIALS:
                pid, uid, _ = _CREDENTIALS.unpack(payload[: _CREDENTIALS.size])
        return Message(pid, uid, _fields(data))

    def close(self) -> None:
        """Stop listening, and leave no file behind."""
        self._socket.close()
        with suppress(OSError):
            self.path.unlink()


def _close_all(payload: bytes) -> None:
    fds = array.array("i")
    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    for fd in fds:
        os.close(fd)


def _fields(data: bytes) -> dict[str, str]:
    lines = data.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


class Systemd:
    """What started us, if it wants to be told."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_PATIENCE)
        self.address = address
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls) -> Self | None:
        """The one of NOTIFY_SOCKET, which is taken out of the environment: no child of ours may ever speak on it."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        return cls(address) if address.startswith(("/", "@")) else None

    def tell(self, **fields: str | int) -> None:
        """Send `NAME=value` lines. A systemd that does not listen is not our failure.

        One whose queue is full is waited for a moment, and then no more until it has taken something.
        """
        self._send(fields, ())

    def store(self, name: str, fds: Sequence[int]) -> bool:
        """Have copies of these kept for the next start of this service, which finds them under that name.

        They come beside those that have the name already; what is in the store is not stored again. Returns whether it
        was told: what becomes of it (FileDescriptorStoreMax= may be too low), it says in its own log alone. FDPOLL=0
        keeps it from dropping a pipe or a socket that the other side has closed (sd_pid_notify_with_fds(3)). Raises
        ValueError: no name for this.
        """
        if not 0 < len(name) <= _LONGEST_NAME or not (name.isascii() and name.isprintable()) or ":" in name:
            raise ValueError(f"{name!r} is no name for file descriptors in systemd's store")
        parts = [fds[first : first + _MOST_FDS] for first in range(0, len(fds), _MOST_FDS)]
        return all(self._send({"FDSTORE": 1, "FDNAME": name, "FDPOLL": 0}, part) for part in parts)

    def remove(self, name: str) -> bool:
        """Have all that are kept under that name closed. Returns whether it was told."""
        return self._send({"FDSTOREREMOVE": 1, "FDNAME": name}, ())

    def caught_up(self, patience: float = 5.0) -> bool:
        """Wait until it has acted upon all that it was told before, `patience` seconds at most; whether it has.

        It closes what comes with BARRIER=1 when it gets to that (sd_notify_barrier(3), since 246).
        """
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            told = self._send({"BARRIER": 1}, [theirs])
        finally:
            os.close(theirs)
        try:
            poll = select.poll()
            poll.register(ours, 0)
            return told and bool(poll.poll(patience * 1000))
        finally:
            os.close(ours)

    def _send(self, fields: Mapping[str, str | int], fds: Sequence[int]) -> bool:
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([text.encode()], rights, 0, self._address)
        except TimeoutError:
            self._socket.settimeout(0)
        except OSError:
            return False
        else:
            self._socket.settimeout(_PATIENCE)
            return True
        return False

    @staticmethod
    def watchdog_interval() -> float | None:
        """Within how many seconds it wants WATCHDOG=1 of this very process; None: never (sd_watchdog_enabled(3))."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
            return None
        return int(microseconds) / 1_000_000 or None
