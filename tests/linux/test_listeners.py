"""Listeners on the real kernel: opening, joining, steering, strangers, many at once."""

import fcntl
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from msgspec.structs import replace

from supervisor.errors import HostError
from supervisor.linux.address import TcpAddress
from supervisor.linux.listeners import Listeners
from supervisor.linux.tcp import TcpListener
from tests.harness.network import free_ports


def address(text: str = "127.0.0.1:0", **keys: bool | None) -> TcpAddress:
    return TcpAddress.parse(text, v6only=keys.get("v6only"))


@pytest.fixture
def listener() -> Iterator[TcpListener]:
    with closing(TcpListener.open(address())) as opened:
        yield opened


def tcp(listeners: Listeners) -> list[TcpListener]:
    return [each for each in listeners if isinstance(each, TcpListener)]


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_open_binds_and_join_listens(listener: TcpListener) -> None:
    port = listener.bound.port
    assert port > 0
    assert not answers("127.0.0.1", port)
    listener.join(1)
    listener.join(2)
    assert listener.members == (1, 2)
    assert {listener.socket(member).getsockname()[1] for member in (1, 2)} == {port}
    assert listener.inode(1) == os.fstat(listener.socket(1).fileno()).st_ino
    for member in (1, 2):
        assert not os.get_inheritable(listener.socket(member).fileno())
        assert not fcntl.fcntl(listener.socket(member), fcntl.F_GETFL) & os.O_NONBLOCK
        assert listener.accepting_flag_ok(member)
    assert answers("127.0.0.1", port)


def test_an_address_in_use_is_refused_though_the_other_shares() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HostError, match="is in use by this very process"):
            TcpListener.open(address(f"127.0.0.1:{other.getsockname()[1]}"))


def test_other_refusals_have_their_own_sentence() -> None:
    with pytest.raises(HostError, match=r"has no address 192\.0\.2\.1"):
        TcpListener.open(address("192.0.2.1:0"))


def test_a_low_port_without_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    error = PermissionError(13, "Permission denied")
    assert "CAP_NET_BIND_SERVICE" in str(address("127.0.0.1:80").refusal(error))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert "64 file descriptors" in str(address().refusal(OSError(24, "Too many open files")))


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "[::]:0"])
def test_a_stranger_is_refused_and_the_group_goes_on(text: str) -> None:
    with closing(TcpListener.open(address(text))) as listener, ExitStack() as stack:
        listener.join(1)
        listener.steer(1)
        stranger = stack.enter_context(socket.socket(listener.bound.family))
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.bound.family == socket.AF_INET6:
            stranger.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        stranger.bind(listener.bound.sockaddr)
        stranger.listen()
        with pytest.raises(HostError, match="also listened on by this very process"):
            listener.join(2)
        assert listener.members == (1,)
        host = listener.bound.loopback_source()
        clients = [stack.enter_context(socket.create_connection((host, listener.bound.port))) for _ in range(50)]
        assert listener.queue(1) == len(clients)


def test_a_stranger_that_comes_later_gets_nobody_when_one_of_ours_leaves(listener: TcpListener) -> None:
    for member in (1, 2):
        listener.join(member)
    listener.steer(2)
    with ExitStack() as stack:
        stranger = stack.enter_context(socket.socket())
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(listener.bound.sockaddr)
        stranger.listen()
        listener.leave(1)
        clients = [stack.enter_context(socket.create_connection(listener.bound.sockaddr[:2])) for _ in range(50)]
        assert listener.queue(2) == len(clients)
    listener.join(3)
    listener.steer(3)
    listener.leave(2)
    with socket.create_connection(listener.bound.sockaddr[:2]):
        assert listener.queue(3) == 1


def test_a_stranger_at_the_first_join_leaves_the_address_bound() -> None:
    with closing(TcpListener.open(address())) as listener:
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            stranger.bind(listener.bound.sockaddr)
            stranger.listen()
            with pytest.raises(HostError, match="in use by this very process"):
                listener.join(1)
        assert not answers("127.0.0.1", listener.bound.port)
        listener.join(1)
        assert answers("127.0.0.1", listener.bound.port)


def test_two_of_the_same_address_do_not_form_one_group() -> None:
    first = TcpListener.open(address())
    second = TcpListener.open(address(str(first.bound)))  # neither listens yet, so the kernel lets both bind
    with closing(first), closing(second):
        first.join(1)
        with pytest.raises(HostError, match="in use by this very process"):
            second.join(1)
        first.join(2)


def test_the_last_member_leaves_and_the_address_stays_ours(listener: TcpListener) -> None:
    listener.join(1)
    listener.steer(1)
    listener.leave(1)
    assert (listener.members, listener.target) == ((), None)
    assert not answers("127.0.0.1", listener.bound.port)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(listener.bound.sockaddr)
    listener.join(2)
    assert answers("127.0.0.1", listener.bound.port)


def test_the_target_does_not_leave_while_others_are_there(listener: TcpListener) -> None:
    listener.join(1)
    listener.join(2)
    listener.steer(2)
    with pytest.raises(ValueError, match="steer to another"):
        listener.leave(2)
    with pytest.raises(ValueError, match="not the number"):
        listener.join(2)
    with pytest.raises(ValueError, match="not in"):
        listener.steer(3)


def test_a_childs_shutdown_is_noticed_and_the_program_follows(listener: TcpListener) -> None:
    for member in (1, 2, 3):
        listener.join(member)
    listener.steer(3)
    copy = listener.socket(1).dup()
    copy.shutdown(socket.SHUT_RDWR)
    copy.close()
    assert not listener.accepting_flag_ok(1)
    assert listener.queue(1) == 0
    assert listener.settle() == (1,)
    with ExitStack() as clients:
        for _ in range(50):
            clients.enter_context(socket.create_connection(listener.bound.sockaddr[:2]))
        assert listener.queue(3) == 50
    listener.leave(1)
    assert listener.members == (2, 3)


@pytest.mark.parametrize("v6only", [True, False])
def test_v6only(v6only: bool) -> None:  # noqa: FBT001
    with closing(TcpListener.open(address("[::]:0", v6only=v6only))) as listener:
        listener.join(1)
        assert answers("::1", listener.bound.port)
        assert answers("127.0.0.1", listener.bound.port) is not v6only


def test_v6only_leaves_ipv4_to_others() -> None:
    (port,) = free_ports(1)  # one that the kernel finds free for the one may be taken for the other
    with closing(TcpListener.open(address(f"[::]:{port}", v6only=True))) as six:
        six.join(1)
        with closing(TcpListener.open(address(f"0.0.0.0:{port}"))) as four:
            four.join(1)
            six.join(2)
        with pytest.raises(HostError, match=r"\[::\]:\d+ is in use by this very process"):
            TcpListener.open(address(f"[::]:{port}"))


def test_200_listeners_of_all_kinds() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    kinds = ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"]
    wanted = [TcpAddress.parse(kinds[at % 4], name=f"l{at}") for at in range(200)]
    with closing(Listeners.open(wanted)) as listeners, ExitStack() as clients:
        for member in (1, 2, 3):
            assert listeners.join(member, wanted) == ()
            listeners.steer(member)
        assert listeners.names(3) == tuple(f"l{at}" for at in range(200))
        for member in (1, 2):
            assert listeners.may_leave(member, unready=())
            listeners.leave(member)
        assert len(listeners.sockets(3)) == 200
        for listener in tcp(listeners):
            source = listener.bound.loopback_source()
            clients.enter_context(socket.create_connection((source, listener.bound.port), timeout=5))
        assert listeners.queue(3) == 200
        assert len(listeners.reset_queue(3, limit=10)) == 200


def test_opening_undoes_what_it_did() -> None:
    with closing(TcpListener.open(address())) as busy:
        busy.join(1)
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(HostError, match="in use"):
            Listeners.open([address(), address(), address(str(busy.bound))])
        assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_joining_undoes_what_it_did() -> None:
    both = [address(), replace(address(), name="other")]
    with closing(Listeners.open(both)) as listeners, socket.socket() as stranger:
        listeners.join(1, both)
        listeners.steer(1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(tcp(listeners)[1].bound.sockaddr)
        stranger.listen()
        with pytest.raises(HostError, match="also listened on"):
            listeners.join(2, [*both, replace(address(), name="third")])
        assert [listener.members for listener in listeners] == [(1,), (1,)]


def test_steering_that_is_refused_midway_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [address(), replace(address(), name="other")]
    with closing(Listeners.open(both)) as listeners:
        for member in (1, 2):
            listeners.join(member, both)
        listeners.steer(1)
        monkeypatch.setattr(list(listeners)[1], "commit", _refuse)
        with pytest.raises(HostError, match="no"):
            listeners.steer(2)
        assert {listener.target for listener in listeners} == {1}


def _refuse(*_: object) -> None:
    raise HostError("no")


def test_listeners_come_with_the_set_that_wants_them_and_go_with_the_last() -> None:
    kept, old = replace(address(), name="kept"), replace(address(), name="old")
    with closing(Listeners.open([kept, old])) as listeners:
        listeners.join(1, [kept, old])
        where = {str(listener.address.name): listener.bound.port for listener in tcp(listeners)}
        new = replace(address(), name="new")
        (made,) = listeners.join(2, [new, replace(kept, backlog=7)])
        assert listeners.names(2) == ("new", "kept")
        assert made.target == 2
        listeners.steer(2)
        assert [listener.target for listener in listeners] == [2, 1, 2]
        assert answers("127.0.0.1", where["old"])
        listeners.reset_queue(1, 10)
        assert [str(each) for each in listeners.leave(1)] == [f"127.0.0.1:{where['old']}"]
        assert not answers("127.0.0.1", where["old"])
        assert answers("127.0.0.1", where["kept"])
        assert len(list(listeners)) == 2


def test_a_set_that_is_not_to_be_leaves_nothing_open() -> None:
    kept, new = address(), replace(address(), name="new")
    with closing(Listeners.open([kept])) as listeners:
        listeners.join(1, [kept])
        listeners.join(2, [kept, new])
        listeners.leave(2)
        assert [listener.members for listener in listeners] == [(1,)]
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(HostError, match="in use"):
            listeners.join(3, [kept, new, replace(address(str(next(iter(listeners)))), name="same", v6only=False)])
        assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        assert [listener.members for listener in listeners] == [(1,)]


@pytest.mark.parametrize("others", [(), (1,), (1, 3)])
def test_a_member_that_was_shut_down_listens_again_where_it_was_steered_to(
    listener: TcpListener, others: tuple[int, ...]
) -> None:
    for member in sorted((2, *others)):
        listener.join(member)
    listener.steer(2)
    assert not listener.revive(2)
    listener.socket(2).shutdown(socket.SHUT_RDWR)
    assert listener.revive(2)
    with ExitStack() as clients:
        for _ in range(50):
            clients.enter_context(socket.create_connection(listener.bound.sockaddr[:2]))
        assert listener.queue(2) == 50
        assert all(listener.queue(other) == 0 for other in others)
        listener.reset_queue(2, 50)
    if others:
        listener.steer(others[0])
    listener.leave(2)
    assert listener.members == others
