"""Programs and the order of indexes, held against the kernel's."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import HostError
from supervisor.linux.address import TcpAddress
from supervisor.linux.sockdiag import waiting
from supervisor.linux.steering import Order, ProbeMatch, attach, constant, with_probe
from supervisor.linux.tcp import TcpListener

ANYWHERE = {"127.0.0.1:0": ["127.0.0.1"], "[::1]:0": ["::1"], "[::]:0": ["127.0.0.1", "::1"]}


@contextmanager
def opened(text: str, members: int) -> Iterator[TcpListener]:
    listener = TcpListener.open(TcpAddress.parse(text))
    try:
        for member in range(members):
            listener.join(member)
        yield listener
    finally:
        listener.close()


def connect(stack: ExitStack, host: str, port: int, source: tuple[str, int] | None = None) -> socket.socket:
    return stack.enter_context(socket.create_connection((host, port), timeout=5, source_address=source))


@pytest.mark.parametrize("text", ANYWHERE)
@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_every_connection_goes_where_it_is_steered(text: str, members: int) -> None:
    with opened(text, members) as listener, ExitStack() as clients:
        for member in range(members):
            listener.steer(member)
            for at in range(200):
                connect(clients, ANYWHERE[text][at % len(ANYWHERE[text])], listener.bound.port)
            assert [listener.queue(other) for other in range(members)] == [200] * (member + 1) + [0] * (
                members - member - 1
            )


@pytest.mark.parametrize("text", ANYWHERE)
def test_only_the_probe_reaches_the_candidate(text: str) -> None:
    with opened(text, 3) as listener, ExitStack() as clients:
        listener.steer(1)
        for round_number, host in enumerate(ANYWHERE[text] * 5, start=1):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            probe = clients.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.bind((host, 0))
            source = probe.getsockname()[:2]
            listener.probe(2, source)
            for _ in range(50):
                connect(clients, host, listener.bound.port)
            if family == socket.AF_INET:  # same port, another address
                connect(clients, host, listener.bound.port, ("127.0.0.2", source[1]))
            probe.connect((host, listener.bound.port))
            for _ in range(50):
                connect(clients, host, listener.bound.port)
            assert (listener.queue(0), listener.queue(2)) == (0, round_number)
            listener.unprobe()


def test_a_mapped_source_is_ipv4() -> None:
    probe = ProbeMatch("::ffff:127.0.0.1", 7, 2)
    assert with_probe(probe, 0) == with_probe(ProbeMatch("127.0.0.1", 7, 2), 0)


def test_jumps_lead_to_the_last_instruction() -> None:
    for host in ("127.0.0.1", "::1"):
        code = list(struct.iter_unpack("=HBBI", with_probe(ProbeMatch(host, 80, 3), 1)))
        targets = {at + 1 + lines[2] for at, lines in enumerate(code) if lines[0] == 0x15}
        assert targets == {len(code) - 1}
        assert (code[-2][3], code[-1][3]) == (3, 1)


def test_a_refused_program_is_the_hosts_fault() -> None:
    with socket.socket() as sock, pytest.raises(HostError, match="steering program"):
        attach(sock, b"")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=25))
def test_the_order_is_the_kernels(steps: list[tuple[bool, int]]) -> None:
    address = TcpAddress.parse("127.0.0.1:0")
    with ExitStack() as stack:
        # The anchor joins first and stays, so that the group, and the program on it, always exist.
        anchor = stack.enter_context(address.bind(first=True))
        address = address.on_port(anchor.getsockname()[1])
        anchor.listen(64)
        sockets, order = {-1: anchor}, Order().join(-1)
        for joins, pick in steps:
            if joins and pick not in sockets:
                sockets[pick] = stack.enter_context(address.bind(first=False))
                sockets[pick].listen(64)
                order = order.join(pick)
            elif pick in sockets:
                last = order.members[-1]
                moved = [] if last == pick else [last]
                before = {other: order.index(other) for other in sockets}
                sockets.pop(pick).shutdown(socket.SHUT_RDWR)
                order = order.leave(pick)
                changed = [other for other in sockets if order.index(other) != before[other]]
                assert changed == moved
            _check(stack, address, sockets, order)


def _check(stack: ExitStack, address: TcpAddress, sockets: dict[int, socket.socket], order: Order) -> None:
    for index, member in enumerate(order.members):
        attach(sockets[-1], constant(index))
        already = waiting(sockets[member])
        connect(stack, address.host, address.port)
        assert waiting(sockets[member]) == already + 1


def test_the_order_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="already"):
        Order((1,)).join(1)
    with pytest.raises(ValueError, match="not in"):
        Order((1,)).leave(2)
    assert Order((1, 2, 3)).replace(2, 5) == Order((1, 5, 3))
