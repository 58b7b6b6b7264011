"""One socket for all generations, on the real kernel: what members share, and what is put right for all of them."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.errors import HostError
from supervisor.linux.listener import parse_address
from supervisor.linux.shared import SharedAddress, SharedListener, TakenElsewhereError
from supervisor.linux.unix import connect_unix

KINDS = ["127.0.0.1:0", "[::1]:0", "unix:PATH", f"unix:@gapless-test-{os.getpid()}"]


def shared(text: str, backlog: int = 50) -> SharedAddress:
    found = parse_address(text, name="http", mode="shared", backlog=backlog)
    assert isinstance(found, SharedAddress)
    return found


@pytest.fixture(params=KINDS, ids=["v4", "v6", "path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SharedListener]:
    where = str(request.param).replace("PATH", str(tmp_path / "http.sock"))
    with closing(SharedListener.open(shared(where))) as opened:
        yield opened


def connect(listener: SharedListener) -> socket.socket:
    """As a client does."""
    text = str(listener)
    if text.startswith("unix:"):
        return connect_unix(text.removeprefix("unix:").replace("@", "\0"))
    host, _, port = text.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=5)


def test_all_members_have_the_same_socket_until_the_last_has_left(listener: SharedListener, tmp_path: Path) -> None:
    listener.enter(1)
    listener.steer(1)
    listener.enter(2)
    assert listener.inode(1) == listener.inode(2)
    copy = listener.socket(1).dup()
    with copy, connect(listener):
        assert (listener.queue(1), listener.queue(2)) == (0, 0)  # it is nobody's alone
        assert listener.may_leave(1, ())
        assert listener.reset_queue(1, 10) == []
        listener.steer(2)
        listener.leave(1)
        assert listener.queue(2) == 1
        assert listener.members == (2,)
        listener.reach(2).close()  # a probe of ours, which is nobody's loss
        assert listener.queue(2) == 2
        assert len(listener.reset_queue(2, 10)) == 1
        listener.leave(2)
        with pytest.raises(OSError):  # noqa: PT011 - ECONNREFUSED, or ENOENT where the path is gone
            connect(listener)
    assert list(tmp_path.iterdir()) == []
    listener.enter(3)
    listener.steer(3)
    connect(listener).close()
    listener.leave(3)


def test_a_listener_that_nobody_has_entered_leaves_nothing(tmp_path: Path) -> None:
    SharedListener.open(shared(f"unix:{tmp_path}/http.sock")).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", KINDS[1:3])
def test_an_address_in_use_is_refused(text: str, tmp_path: Path) -> None:
    with closing(SharedListener.open(shared(text.replace("PATH", f"{tmp_path}/http.sock")))) as first:
        first.enter(1)
        first.steer(1)
        with pytest.raises(HostError, match="in use by this very process"):
            SharedListener.open(shared(str(first)))
        first.leave(1)


def test_nobody_else_gets_in_beside_it() -> None:
    with closing(SharedListener.open(shared("127.0.0.1:0"))) as listener, socket.socket() as stranger:
        listener.enter(1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            stranger.bind(listener.socket(1).getsockname())


def test_it_blocks_for_the_first_and_is_as_the_living_want_it_then(listener: SharedListener) -> None:
    def blocks() -> bool:
        return not fcntl.fcntl(listener.socket(listener.members[0]), fcntl.F_GETFL) & os.O_NONBLOCK

    listener.enter(1)
    assert blocks()
    listener.socket(1).settimeout(0)
    listener.mend()
    listener.enter(2)
    assert not blocks()
    for member in (1, 2):
        listener.leave(member)
    listener.enter(3)
    assert blocks()
    listener.leave(3)


def test_the_backlog_is_put_right(listener: SharedListener) -> None:
    listener.enter(1)
    listener.steer(1)
    listener.socket(1).listen(1)
    assert listener.mend() == ""
    clients = [connect(listener) for _ in range(20)]
    assert listener.queue(1) == 20
    for each in clients:
        each.close()
    listener.leave(1)


def test_a_shutdown_by_one_is_undone_for_all_where_the_kernel_lets_us(listener: SharedListener) -> None:
    listener.enter(1)
    listener.steer(1)
    with listener.socket(1).dup() as copy:
        copy.shutdown(socket.SHUT_RDWR)
    if listener.port is not None:
        assert "it listens again" in listener.mend()
    else:
        with pytest.raises(HostError, match="no Unix socket can listen again"):
            listener.mend()
        if "@" in str(listener):
            return  # the name is taken as long as anybody has the old one
        listener.enter(2)
        listener.steer(2)
        listener.leave(1)
    with connect(listener):
        assert listener.queue(listener.members[0]) == 1
    assert listener.mend() == ""
    listener.leave(listener.members[0])


def test_a_path_that_a_server_removes_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with closing(SharedListener.open(shared(f"unix:{path}"))) as listener:
        listener.enter(1)
        listener.steer(1)
        path.unlink()
        assert "is there again" in listener.mend()
        connect(listener).close()
        listener.leave(1)


@pytest.mark.parametrize("closes", [False, True])
def test_a_probe_counts_only_by_who_has_it(listener: SharedListener, closes: bool) -> None:  # noqa: FBT001 - a parameter
    asked: list[int] = []

    def ours(inode: int) -> bool:
        asked.append(inode)
        return True

    listener.enter(1)
    listener.steer(1)
    with listener.reach(1) as probe:
        assert listener.has_accepted(probe, ours) is False
        served, _ = listener.socket(1).accept()
        inode = os.fstat(served.fileno()).st_ino
        if closes:
            served.close()
            with pytest.raises(TakenElsewhereError):
                listener.has_accepted(probe, ours)
            assert asked == []
        else:
            assert listener.has_accepted(probe, ours) is True
            with pytest.raises(TakenElsewhereError):
                listener.has_accepted(probe, lambda _: False)
            assert asked == [inode]
            served.close()
    listener.leave(1)
