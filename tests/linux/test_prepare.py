"""Sockets that are there before who is to have them: bound, and in nobody's way."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.linux.address import TcpAddress
from supervisor.linux.listener import parse_address
from supervisor.linux.listeners import Listeners
from supervisor.linux.tcp import TcpListener
from tests.linux.test_listeners import address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listener() -> Iterator[TcpListener]:
    with closing(TcpListener.open(address())) as opened:
        opened.join(1)
        opened.steer(1)
        yield opened


def listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def found(listener: TcpListener) -> int:
    """How many sockets listen on its address, by the kernel's word."""
    bound = listener.bound
    all_of_them = sockdiag.listening(bound.family, bound.port, bound.protocol)
    return sum(each.port == bound.port for each in all_of_them)


def test_it_does_not_listen_until_somebody_enters_with_it(listener: TcpListener) -> None:
    prepared = listener.prepare(listener.address)
    assert prepared is not None
    assert prepared is listener.prepare(listener.address)
    assert not listens(prepared)
    assert (listener.members, len(listener.written()), found(listener)) == ((1,), 1, 1)
    listener.join(2)
    assert listener.socket(2) is prepared
    assert listens(prepared)
    assert listener.prepare(listener.address) is not prepared


def test_who_is_configured_otherwise_gets_another(listener: TcpListener) -> None:
    prepared = listener.prepare(listener.address)
    longer = TcpAddress.parse(str(listener.bound), backlog=77)
    listener.enter(2, longer)
    assert listener.socket(2) is not prepared
    assert prepared is not None
    assert prepared.fileno() == -1, "it is of no use to anybody any more"
    again = listener.prepare(longer)
    assert again is not None
    assert listener.prepare(listener.address) is again


def test_refusals_do_not_pile_up_while_a_stranger_is_there(listener: TcpListener) -> None:
    stranger = listener.bound.bind(first=False)
    with stranger:
        assert listener.prepare(listener.address) is not None
        stranger.listen()
        counts = []
        for _ in range(4):
            with pytest.raises(HostError, match="also listened on"):
                listener.join(2)
            assert listener.prepare(listener.address) is None
            counts.append(found(listener))
        assert counts == counts[:1] * 4
    listener.join(2)
    assert listener.prepare(listener.address) is not None


def test_none_is_bound_to_an_interface_that_may_be_another_by_then(listener: TcpListener) -> None:
    for bound in (
        TcpAddress.parse(str(listener.bound), options=(("device", "lo"),)),
        TcpAddress.parse(f"[fe80::1%lo]:{listener.bound.port}"),
    ):
        assert listener.prepare(bound) is None


def test_it_comes_before_a_spare_as_somebody_may_hold_it_already() -> None:
    """Where systemd's socket stays in the group there may be a spare at rest, which has an index."""
    systemds = socket.create_server(("127.0.0.1", 0))
    at = address(f"127.0.0.1:{systemds.getsockname()[1]}")
    with systemds, closing(TcpListener.adopt(at, systemds.dup())) as listener:
        for member in (1, 2, 3):
            listener.join(member)
            listener.steer(member)
        for member in (2, 1):
            listener.leave(member)
        spares = [each.number for each in listener.written() if each.number < 0]
        assert len(spares) > 1, "the anchor and a spare"
        prepared = listener.prepare(listener.address)
        assert prepared is not None
        assert not listens(prepared)
        listener.join(4)
        assert listener.socket(4) is prepared


def test_the_address_is_kept_by_it_when_the_last_one_leaves(listener: TcpListener) -> None:
    prepared = listener.prepare(listener.address)
    port = listener.bound.port
    listener.leave(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    listener.join(2)
    assert listener.socket(2) is prepared


def test_all_of_a_set_or_none(tmp_path: Path) -> None:
    one, two = address(), parse_address("127.0.0.1:0", name="two")
    with closing(Listeners.open([one, two])) as listeners:
        listeners.join(1, [one, two])
        prepared = listeners.prepare([two, one])
        assert prepared is not None
        assert [listener.address.name for listener, _ in prepared] == ["two", one.name]
        assert listeners.prepare([one, parse_address("127.0.0.1:0", name="a third")]) is None
        listeners.join(2, [two, one])
        assert listeners.sockets(2) == [sock for _, sock in prepared]
    for other in (
        parse_address("udp://127.0.0.1:0", name="udp"),
        parse_address(f"unix:{tmp_path}/s", name="unix"),
        parse_address("127.0.0.1:0", name="shared", mode="shared"),
    ):
        with closing(Listeners.open([one, other])) as listeners:
            listeners.join(1, [one, other])
            assert listeners.prepare([one, other]) is None
