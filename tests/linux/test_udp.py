"""UDP listeners on the real kernel: binding, steering, leaving with copies about, what waits."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from supervisor.errors import HostError
from supervisor.linux.address import TcpAddress
from supervisor.linux.listeners import Listeners
from supervisor.linux.udp import UdpAddress, UdpListener


def address(text: str = "udp://127.0.0.1:0") -> UdpAddress:
    return UdpAddress.parse(text)


@pytest.fixture
def listener() -> Iterator[UdpListener]:
    with closing(UdpListener.open(address())) as opened:
        yield opened


def send(listener: UdpListener, count: int = 40) -> None:
    """From a port of its own each: a hash would spread them."""
    host = listener.bound.loopback_source()
    for _ in range(count):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", (host, listener.bound.port))


def arrived(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("text", ["udp://127.0.0.1:0", "udp://[::1]:0", "udp://:0", "udp://0.0.0.0:0"])
def test_every_datagram_goes_to_the_one_that_is_steered_to(text: str) -> None:
    with closing(UdpListener.open(address(text))) as listener:
        for member in (1, 2, 3):
            listener.join(member)
        for target in (1, 2, 3, 1):
            listener.steer(target)
            send(listener)
            assert [arrived(listener.socket(member)) for member in (1, 2, 3)] == [
                40 if member == target else 0 for member in (1, 2, 3)
            ]


def test_before_the_first_steer_and_while_one_joins_the_oldest_gets_all(listener: UdpListener) -> None:
    listener.join(1)
    listener.join(2)
    send(listener)
    assert (arrived(listener.socket(1)), arrived(listener.socket(2))) == (40, 0)


def test_one_leaves_for_every_process_that_has_it(listener: UdpListener) -> None:
    for member in (1, 2, 3):
        listener.join(member)
    listener.steer(3)
    with listener.socket(1).dup() as copy:
        listener.leave(1)
        for target in (3, 2, 3):
            listener.steer(target)
            send(listener)
            assert arrived(listener.socket(target)) == 40
        assert arrived(copy) == 0
        listener.join(4)
        listener.steer(4)
        send(listener)
        assert arrived(listener.socket(4)) == 40


def test_what_waits_in_a_leaving_socket_can_be_read_by_who_has_a_copy(listener: UdpListener) -> None:
    listener.join(1)
    listener.join(2)
    listener.steer(1)
    send(listener, 5)
    listener.steer(2)
    with listener.socket(1).dup() as copy:
        listener.leave(1)
        assert arrived(copy) == 5


def test_the_queue_tells_whether_something_waits_and_can_be_emptied(listener: UdpListener) -> None:
    listener.join(1)
    assert listener.queue(1) == 0
    assert listener.may_leave(1, ())
    send(listener, 7)
    assert listener.queue(1) == 1
    assert not listener.may_leave(1, ())
    assert len(listener.reset_queue(1, 5)) == 5
    assert listener.queue(1) == 1
    assert len(listener.reset_queue(1, 100)) == 2
    assert listener.queue(1) == 0


def test_the_last_one_leaves_and_what_comes_waits_for_the_next(listener: UdpListener) -> None:
    listener.join(1)
    listener.steer(1)
    listener.leave(1)
    assert (listener.members, listener.target) == ((), None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", listener.bound.port))
    send(listener, 3)
    listener.join(2)
    assert arrived(listener.socket(2)) == 3


def test_an_address_in_use_is_refused_and_the_holder_named(listener: UdpListener) -> None:
    with pytest.raises(HostError, match=r"udp://127.0.0.1:\d+ is in use by this very process"):
        UdpListener.open(address(str(listener)))


def test_tcp_has_ports_of_its_own() -> None:
    """Now and then one of the same number is a connection's that has nothing to do with this: then another is tried."""
    for _ in range(20):
        with closing(UdpListener.open(address())) as listener, suppress(HostError):
            Listeners.open([TcpAddress.parse(f"127.0.0.1:{listener.bound.port}")]).close()
            return
    pytest.fail("20 ports of TCP were taken by chance")


def test_a_stranger_in_the_group_is_refused(listener: UdpListener) -> None:
    listener.join(1)
    listener.steer(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", listener.bound.port))
        with pytest.raises(HostError, match="also listened on by this very process"):
            listener.join(2)
        send(listener)
        assert (listener.members, arrived(listener.socket(1))) == ((1,), 40)


def test_sets_of_tcp_and_udp_join_and_leave_together() -> None:
    both = [TcpAddress.parse("127.0.0.1:0", name="http"), UdpAddress.parse("udp://127.0.0.1:0", name="dns")]
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with closing(Listeners.open(both)) as listeners, ExitStack() as clients:
        for member in (1, 2, 3):
            listeners.join(member, both)
            listeners.steer(member)
        listeners.leave(1)
        tcp, udp = listeners
        assert isinstance(udp, UdpListener)
        assert (tcp.probes, udp.probes) == (True, False)
        send(udp)
        clients.enter_context(socket.create_connection(tcp.socket(3).getsockname()))
        assert listeners.queue(3) == 2
        assert arrived(udp.socket(3)) == 40
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_stranger_that_comes_later_gets_nothing_when_one_of_ours_leaves(listener: UdpListener) -> None:
    for member in (1, 2):
        listener.join(member)
    listener.steer(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(listener.bound.sockaddr)
        listener.leave(1)
        send(listener)
        assert (arrived(stranger), arrived(listener.socket(2))) == (0, 40)
