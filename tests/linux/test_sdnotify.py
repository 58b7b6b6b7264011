"""What we say to systemd, what we have it keep, and what if it does not listen."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.linux.sdnotify import Systemd


def test_a_systemd_that_reads_nothing_does_not_keep_us_waiting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        systemd = Systemd(str(tmp_path / "notify"))
        began = time.monotonic()
        for _ in range(2000):  # more than any queue holds (net.unix.max_dgram_qlen)
            systemd.tell(STATUS="waiting")
        assert time.monotonic() - began < 10
        deaf.settimeout(0)
        with suppress(BlockingIOError):
            while deaf.recv(100):
                pass
        systemd.tell(READY=1)
        assert deaf.recv(100) == b"READY=1"
        systemd._socket.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(0)
        yield made


@pytest.fixture
def systemd(receiver: socket.socket) -> Iterator[Systemd]:
    made = Systemd(receiver.getsockname())
    yield made
    made._socket.close()


def received(receiver: socket.socket) -> tuple[list[str], list[tuple[int, int]]]:
    """The lines of the next message, and which files came with it."""
    text, fds, _, _ = socket.recv_fds(receiver, 8192, 300)
    found = []
    for fd in fds:
        about = os.fstat(fd)
        found.append((about.st_dev, about.st_ino))
        os.close(fd)
    return text.decode().splitlines(), found


def test_what_is_to_be_stored_comes_with_its_name(receiver: socket.socket, systemd: Systemd) -> None:
    with socket.socket() as first, socket.socket() as second:
        assert systemd.store("web http.3", [first.fileno(), second.fileno()])
        files = [(about.st_dev, about.st_ino) for about in (os.fstat(first.fileno()), os.fstat(second.fileno()))]
    assert received(receiver) == (["FDSTORE=1", "FDNAME=web http.3", "FDPOLL=0"], files)
    assert systemd.remove("web http.3")
    assert received(receiver) == (["FDSTOREREMOVE=1", "FDNAME=web http.3"], [])


def test_more_than_one_message_can_hold_come_in_several(receiver: socket.socket, systemd: Systemd) -> None:
    with socket.socket() as one:
        assert systemd.store("many", [one.fileno()] * 600)
    assert [len(received(receiver)[1]) for _ in range(3)] == [253, 253, 94]
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


@pytest.mark.parametrize("name", ["", "a:b", "ü", "a\nREADY=1", "x" * 256])
def test_what_systemd_would_not_take_for_a_name_is_refused(
    receiver: socket.socket, systemd: Systemd, name: str
) -> None:
    with pytest.raises(ValueError, match="is no name"):
        systemd.store(name, [0])
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


def test_it_is_told_when_nobody_took_it(receiver: socket.socket, systemd: Systemd) -> None:
    while systemd.remove("x"):
        pass  # until its queue is full
    assert not systemd.store("x", [0])
    receiver.close()
    assert not systemd.remove("x")
