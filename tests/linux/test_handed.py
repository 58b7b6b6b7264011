"""Sockets that somebody else made and hands over, on the real kernel."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from supervisor.errors import HostError
from supervisor.linux import handed, steering
from supervisor.linux.address import TcpAddress
from supervisor.linux.group import ANCHOR
from supervisor.linux.handed import Handed, is_out_of_use
from supervisor.linux.listener import is_handed, open_listener, parse_address
from supervisor.linux.listeners import Listeners
from supervisor.linux.sockdiag import waiting
from supervisor.linux.tcp import TcpListener
from supervisor.linux.udp import UdpAddress
from tests.linux.test_udp import arrived

NOBODY = 65534
Made = TypeVar("Made")
Client = Callable[[], socket.socket]


def made_elsewhere(*, reuse_port: bool, host: str = "127.0.0.1", kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
    sock.bind((host, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
    return sock


@pytest.fixture(params=[True, False], ids=["ReusePort", "alone"])
def systemds(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with made_elsewhere(reuse_port=request.param) as sock:
        yield sock


@pytest.fixture
def adopted(systemds: socket.socket) -> Iterator[TcpListener]:
    given = Handed("http", systemds.dup())
    with closing(open_listener(TcpAddress.parse(str(given), name="http"), given)) as listener:
        assert isinstance(listener, TcpListener)
        yield listener


@pytest.fixture
def client(systemds: socket.socket) -> Iterator[Client]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(systemds.getsockname(), timeout=5))


def test_who_waited_before_is_served_by_the_first(
    systemds: socket.socket, adopted: TcpListener, client: Client
) -> None:
    client()
    adopted.join(1)
    assert adopted.queue(1) == 1
    assert adopted.inode(1) == os.fstat(systemds.fileno()).st_ino


def test_later_ones_have_sockets_of_their_own_and_the_first_stays_open(
    systemds: socket.socket, adopted: TcpListener, client: Client
) -> None:
    for member in (1, 2, 3):
        adopted.join(member)
        adopted.steer(member)
        for _ in range(20):
            client()
        assert adopted.queue(member) == 20
    for member in (1, 2):
        adopted.reset_queue(member, 100)
        adopted.leave(member)
    for _ in range(20):
        client()
    assert (adopted.queue(3), waiting(systemds)) == (40, 0)
    assert adopted.members == (3,)
    assert ANCHOR in adopted._order.members


def test_nothing_is_moved_by_the_kernel_into_a_socket_that_nobody_accepts_from(
    adopted: TcpListener, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.linux.sockdiag.migrates", lambda: True)
    for member in (1, 2, 3):
        adopted.join(member)
        adopted.steer(member)
    adopted.leave(1)
    client()
    adopted.steer(2)
    assert not adopted.may_leave(3, unready=())


def test_when_we_end_clients_wait_for_the_next_start(
    systemds: socket.socket, adopted: TcpListener, client: Client
) -> None:
    for member in (1, 2):
        adopted.join(member)
        adopted.steer(member)
    adopted.leave(1)
    adopted.give_back()
    for _ in range(20):
        client()
    assert waiting(systemds) == 20
    adopted.leave(2)
    for _ in range(20):
        client()
    adopted.close()
    client()
    assert waiting(systemds) == 41
    given = Handed("http", systemds.dup())
    with closing(open_listener(TcpAddress.parse(str(given), name="http"), given)) as again:
        again.enter(1)
        assert again.queue(1) == 41


def test_the_last_ones_queue_is_kept_for_the_next_start(adopted: TcpListener, client: Client) -> None:
    adopted.join(1)
    client()
    assert adopted.reset_queue(1, 100) == []
    assert adopted.may_leave(1, ())
    adopted.leave(1)
    adopted.join(2)
    assert adopted.queue(2) == 1


def test_udp() -> None:
    with made_elsewhere(reuse_port=True, kind=socket.SOCK_DGRAM) as systemds, socket.socket(type=2) as sender:
        given = Handed("dns", systemds.dup())
        assert str(given).startswith("udp://127.0.0.1:")
        with closing(open_listener(UdpAddress.parse(str(given), name="dns"), given)) as adopted:
            for member in (1, 2):
                adopted.enter(member)
            adopted.steer(2)
            adopted.leave(1)
            sender.sendto(b"x", systemds.getsockname())
            assert (arrived(adopted.socket(2)), arrived(systemds)) == (1, 0)
            adopted.leave(2)
        sender.sendto(b"x", systemds.getsockname())
        assert arrived(systemds) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket as another user")
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_root_takes_over_what_another_user_made(kind: int) -> None:
    with as_user(NOBODY, lambda: made_elsewhere(reuse_port=True, kind=kind)) as theirs:
        given = Handed("x", theirs.dup())
        assert given.uid == NOBODY
        where = (TcpAddress if kind == socket.SOCK_STREAM else UdpAddress).parse(str(given), name="x")
        with closing(open_listener(where, given)) as adopted:
            for member in (1, 2):
                adopted.enter(member)
            adopted.steer(2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket as another user")
def test_an_ordinary_user_is_told_that_it_cannot() -> None:
    with made_elsewhere(reuse_port=True) as roots:
        given = Handed("x", roots.dup())
        where = TcpAddress.parse(str(given), name="x")
        with pytest.raises(HostError, match="made by uid 0, and only root can take it over"):
            as_user(NOBODY, lambda: open_listener(where, given))
        given.socket.close()


@pytest.mark.parametrize("kind", ["tcp", "path", "abstract"])
def test_a_shared_one_outlives_its_last_member(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        systemds = stack.enter_context(socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX))
        where: dict[str, tuple[str, int] | str] = {
            "tcp": ("127.0.0.1", 0),
            "path": str(tmp_path / "s"),
            "abstract": f"\0{tmp_path}",
        }
        systemds.bind(where[kind])
        systemds.listen()
        given = Handed("x", systemds.dup())
        shared = parse_address(str(given), name="x", mode="shared")
        assert given.is_at(shared)
        with closing(Listeners.open([shared], {"x": given})) as listeners:
            (listener,) = listeners
            assert is_handed(listener)
            for member in (1, 2):
                listeners.join(member, [shared])
            probe = stack.enter_context(closing(listener.reach(2)))
            assert listener.has_accepted(probe, lambda _: True) is False
            accepted = stack.enter_context(listener.socket(2).accept()[0])
            assert listener.has_accepted(probe, lambda inode: inode == os.fstat(accepted.fileno()).st_ino)
            client = stack.enter_context(socket.socket(systemds.family))
            client.connect(systemds.getsockname())
            listeners.leave(1)
            assert listeners.reset_queue(2, 10) == []
            listeners.leave(2)
        stack.enter_context(systemds.accept()[0])


def test_a_unix_socket_has_to_be_shared(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        with pytest.raises(HostError, match='say mode = "shared"'):
            open_listener(parse_address(f"unix:{tmp_path}/s", name="x"), Handed("x", sock))


def test_which_one_is_whose() -> None:
    with made_elsewhere(reuse_port=True) as one, made_elsewhere(reuse_port=True, host="::1") as other:
        http, more = Handed("http", one), Handed("http", other)
        wanted = TcpAddress.parse(str(http), name="http")
        assert handed.claim([wanted], [more, http]) == {"http": http}
        assert handed.claim([replace(wanted, name="else")], [http, more]) == {}
        unnamed = Handed("unknown", one)
        assert handed.claim([replace(wanted, name="else")], [more, unnamed]) == {"else": unnamed}
        with pytest.raises(HostError, match=rf"http: .* is {http}, and the configuration says 127.0.0.1:1: write the"):
            handed.claim([TcpAddress.parse("127.0.0.1:1", name="http")], [http])


def test_v6only_has_to_be_the_same() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", 0))
        given = Handed("http", sock)
        assert given.is_at(TcpAddress.parse(str(given), v6only=True))
        assert not given.is_at(TcpAddress.parse(str(given)))


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "ELSE": "1"}
    assert handed.take(environment, 600) == []
    assert environment == {"ELSE": "1"}


def test_a_handed_listener_that_is_no_longer_configured_can_come_back(systemds: socket.socket) -> None:
    given = Handed("http", systemds.dup())
    http, other = TcpAddress.parse(str(given), name="http"), TcpAddress.parse("127.0.0.1:0", name="other")
    with closing(Listeners.open([http, other], {"http": given})) as listeners:
        listeners.join(1, [http, other])
        listeners.join(2, [other])
        listeners.steer(2)
        assert listeners.leave(1) == ()
        listeners.join(3, [http, other])
        assert listeners.inodes(3)["http"] == os.fstat(systemds.fileno()).st_ino


def as_user(uid: int, does: Callable[[], Made]) -> Made:
    os.seteuid(uid)
    try:
        return does()
    finally:
        os.seteuid(0)


def test_a_datagram_socket_that_was_taken_out_of_its_group_is_known() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used, socket.socket() as stream:
        used.bind(("127.0.0.1", 0))
        assert not is_out_of_use(used)
        for each in (used, stream):
            steering.deafen(each)
        assert is_out_of_use(used)
        assert not is_out_of_use(stream), "it keeps its index until it is shut down"
