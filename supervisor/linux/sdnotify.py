"""sd_notify(3), both ways: what a child says to us, and what we say to systemd."""

from __future__ import annotations

import array
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CREDENTIALS = struct.Struct("iII")
"""struct ucred (unix(7)): pid, uid, gid."""

_MOST_FDS = 253
"""SCM_MAX_FD: fds in one message. They are closed at once, which is also what BARRIER=1 waits for."""

_LONGEST = 8192

_PATIENCE = 0.2
"""Seconds that systemd may keep us waiting."""


@dataclass(frozen=True, slots=True)
class Message:
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
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            self._socket.sendto(text.encode(), self._address)
        except TimeoutError:
            self._socket.settimeout(0)
        except OSError:
            return
        else:
            self._socket.settimeout(_PATIENCE)

    @staticmethod
    def watchdog_interval() -> float | None:
        """Within how many seconds it wants WATCHDOG=1 of this very process; None: never (sd_watchdog_enabled(3))."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
            return None
        return int(microseconds) / 1_000_000 or None
