"""Where a test's connections are made: the host's own network, or one made for the test with its own sysctls."""

import ctypes
import fcntl
import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from supervisor.linux import sockdiag

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class Network:
    """The host's own."""

    prefix: tuple[str, ...] = ()
    """What a command begins with that is to run there."""

    def connect(self, address: tuple[str, int], timeout: float = 30.0) -> socket.socket:
        return socket.create_connection(address, timeout=timeout)

    def begin(self, address: tuple[str, int]) -> socket.socket:
        """Send what begins a connection, and wait for nothing."""
        sock = socket.socket()
        sock.settimeout(0)
        sock.connect_ex(address)
        return sock

    def close(self) -> None:
        """The host's stays."""


class Namespace(Network):
    """One of the test's own. It lasts as long as this holds it or a process is in it."""

    def __init__(self, *, migrate: bool) -> None:
        self._fd = _in_a_thread(lambda: _make(migrate=migrate))
        self.prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fd}", "--")

    def connect(self, address: tuple[str, int], timeout: float = 30.0) -> socket.socket:
        """A socket stays in the network that it was made in, wherever it is used later."""
        with self._entered():
            return socket.create_connection(address, timeout=timeout)

    def begin(self, address: tuple[str, int]) -> socket.socket:
        with self._entered():
            return super().begin(address)

    def close(self) -> None:
        os.close(self._fd)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._fd, _CLONE_NEWNET)
            yield
        finally:
            _call("setns", back, _CLONE_NEWNET)
            os.close(back)


def free_ports(count: int) -> list[int]:
    """Free ones, all different, and none that the kernel gives to whoever asks for any: they are bound only later."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as sock, suppress(OSError):  # taken
            port = lowest - 1 - secrets.randbelow(lowest // 2)  # `random` gives the worker beside this one the same
            sock.bind(("127.0.0.1", port))
            found.append(port)
    return found


def network(*, migrate: bool) -> Network:
    """A network where tcp_migrate_req is as said; the test is skipped where there can be none."""
    if os.geteuid() == 0:
        return Namespace(migrate=migrate)
    if sockdiag.migrates() is migrate:
        return Network()
    pytest.skip(f"net.ipv4.tcp_migrate_req={int(migrate)} in a network of the test's own needs root")


def _make(*, migrate: bool) -> int:
    _call("unshare", _CLONE_NEWNET)
    with socket.socket() as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    Path("/proc/sys/net/ipv4/tcp_migrate_req").write_text(str(int(migrate)))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _in_a_thread(make: Callable[[], int]) -> int:
    """unshare(2) changes the calling thread alone, so the test's own is left where it is."""
    made: list[int] = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join()
    return made[0]


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
