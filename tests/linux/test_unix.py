"""Unix listeners with a path, on the real kernel: swaps under connects, what else may be at the path, queues."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from supervisor.errors import HostError
from supervisor.linux import netlink, socketfile, unixdiag
from supervisor.linux.listener import parse_address
from supervisor.linux.listeners import Listeners
from supervisor.linux.unix import UnixListener
from supervisor.linux.unix_address import UnixAddress

SWAPS = 3000

ACCEPT = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
print("up", flush=True)
while True:
    sock.accept()[0].close()
"""

KNOCK = """
import os, select, socket, sys
print("up", flush=True)
connects = failed = 0
while connects < 1000 or not select.select([0], [], [], 0)[0]:
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(sys.argv[1])
    except OSError:
        failed += 1
    connects += 1
print(connects, failed)
"""

NOBODY = 65534


def beside(stack: ExitStack, script: str, argument: str, fd: int | None = None) -> subprocess.Popen[str]:
    """A process beside the test: it is up, ends when the stack does, and sees its standard input end."""
    made = subprocess.Popen(
        [sys.executable, "-c", script, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=() if fd is None else (fd,),
        text=True,
    )
    stack.enter_context(made)
    stack.callback(made.kill)
    assert made.stdout is not None
    assert made.stdout.readline() == "up\n"
    return made


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "http.sock")


def address(path: str, **options: str) -> UnixAddress:
    return UnixAddress.parse(f"unix:{path}", name="http", backlog=100, options=options)


@pytest.fixture
def listener(path: str) -> Iterator[UnixListener]:
    with closing(UnixListener.open(address(path))) as opened:
        yield opened
        for member in opened.members[::-1]:
            if member != opened.target:
                opened.leave(member)


def connect(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(path)
    return made


def files(path: str) -> list[str]:
    return sorted(os.listdir(Path(path).parent))  # noqa: PTH208 - names alone


def nobody(inode: int) -> bool:
    raise AssertionError(f"{inode} is asked for")


@pytest.mark.parametrize(
    ("text", "keys", "wrong"),
    [
        ("unix:http.sock", {}, "no full path"),
        ("unix:/run/web/", {}, "no full path"),
        ("unix:/run//web.sock", {}, "write unix:/run/web.sock"),
        ("unix:/" + "a" * 95, {}, "want at most 95"),
        ("unix:@", {}, "no name after the @"),
        ("unix:@" + "a" * 107, {}, "takes 107"),
        ("unix:/run/a", {"socket_mode": "0466"}, 'such as "0660"'),
        ("unix:/run/a", {"socket_mode": "rw"}, "octal digits"),
        ("unix:/run/a", {"socket_user": "no-such-user"}, "not known on this host"),
        ("unix:/run/a", {"v6only": True}, "v6only means nothing for a Unix socket"),
        ("unix:@a", {"socket_mode": "0600"}, "no file"),
        ("127.0.0.1:80", {"socket_mode": "0600"}, "belongs to a Unix socket"),
    ],
)
def test_what_cannot_be_listened_on_is_refused_in_words(text: str, keys: dict[str, str | int], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_address(text, name="x", options=keys)


def test_no_connect_fails_while_the_path_is_swapped(listener: UnixListener, path: str) -> None:
    with ExitStack() as stack:
        for member in (1, 2):
            listener.enter(member)
            listener.steer(member)
            beside(stack, ACCEPT, str(listener.socket(member).fileno()), fd=listener.socket(member).fileno())
        clients = beside(stack, KNOCK, path)
        for swap in range(SWAPS):
            listener.steer(1 + swap % 2)
        found, _ = clients.communicate(timeout=30)
        connects, failed = (int(word) for word in found.split())
        assert connects >= 1000
        assert failed == 0
    assert files(path) == [".http.sock.gen-1", ".http.sock.gen-2", "http.sock"]


def test_users_reach_whom_it_is_steered_to_and_the_probe_whom_it_wants(listener: UnixListener, path: str) -> None:
    for member in (1, 2):
        listener.enter(member)
    listener.steer(1)
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(connect(path))
        probe = clients.enter_context(listener.reach(2))
        assert (listener.queue(1), listener.queue(2)) == (3, 1)
        assert listener.has_accepted(probe, nobody) is False
        served, _ = listener.socket(2).accept()
        assert listener.has_accepted(probe, nobody) is True
        assert unixdiag.accepted_as(probe) == os.fstat(served.fileno()).st_ino
        assert listener.names == {os.fsencode(address(path).own(each)) for each in (1, 2)}
        assert unixdiag.established(listener.names) >= {os.fstat(served.fileno()).st_ino}
        served.close()
        assert listener.has_accepted(probe, nobody) is True


def test_where_netlink_is_refused_the_queue_has_to_do(listener: UnixListener, monkeypatch: pytest.MonkeyPatch) -> None:
    listener.enter(1)
    monkeypatch.setattr(netlink, "_NETLINK_SOCK_DIAG", 99)  # no such protocol
    with listener.reach(1) as probe:
        assert listener.queue(1) == 1
        assert listener.has_accepted(probe, nobody) is None
        with listener.socket(1).accept()[0]:
            assert listener.queue(1) == 0
        assert listener.has_accepted(probe, nobody) is True


def test_a_dead_generations_queue_is_closed_and_counted(listener: UnixListener, path: str) -> None:
    listener.enter(1)
    listener.steer(1)
    listener.reach(1).close()  # as a probe of a server that died: nobody's loss
    with connect(path) as first, connect(path) as second:
        assert not listener.may_leave(1, ())
        assert listener.reset_queue(1, 10) == [0, 0]
        assert (first.recv(1), second.recv(1)) == (b"", b"")
        assert listener.may_leave(1, ())
    assert listener.socket(1).gettimeout() is None


def test_the_last_leave_takes_every_file_along_and_refuses_for_all_holders(listener: UnixListener, path: str) -> None:
    listener.enter(1)
    listener.enter(2)
    listener.steer(2)
    copy = listener.socket(2).dup()
    with pytest.raises(ValueError, match="steer to another"):
        listener.leave(2)
    listener.leave(1)
    assert files(path) == [".http.sock.gen-2", "http.sock"]
    listener.leave(2)
    assert files(path) == []
    with copy, pytest.raises(OSError, match="Invalid argument"):
        copy.accept()


def test_a_leave_does_not_take_what_somebody_else_has_put_there(listener: UnixListener, path: str) -> None:
    listener.enter(1)
    listener.steer(1)
    Path(path).unlink()
    Path(path).write_text("theirs")
    listener.leave(1)
    assert files(path) == ["http.sock"]


def test_mode_and_owner_are_there_before_anybody_can_connect(path: str) -> None:
    before = os.umask(0o077)
    try:
        with closing(UnixListener.open(address(path))) as listener:
            listener.enter(1)
            listener.steer(1)
            assert stat.S_IMODE(Path(path).lstat().st_mode) == 0o666
            listener.enter(2, address(path, socket_mode="0640"))
            listener.steer(2)
            assert stat.S_IMODE(Path(path).lstat().st_mode) == 0o640
            listener.leave(1)
            listener.leave(2)
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="a file is given to another user by root alone")
def test_owner(path: str) -> None:
    with closing(UnixListener.open(address(path, socket_user="nobody", socket_group="daemon"))) as listener:
        listener.enter(1)
        found = Path(address(path).own(1)).lstat()
        assert (found.st_uid, found.st_gid) != (0, 0)
        listener.steer(1)
        listener.leave(1)


def test_an_owner_that_may_not_be_given() -> None:
    own = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, own or NOBODY, -1)
        os.seteuid(own or NOBODY)
        try:
            path = f"{folder}/http.sock"
            with closing(UnixListener.open(address(path, socket_user="root"))) as listener:
                with pytest.raises(HostError, match="only root may"):
                    listener.enter(1)
                assert files(path) == []
        finally:
            os.seteuid(own)


def test_a_stale_file_is_recovered_with_what_is_beside_it(path: str) -> None:
    for name in (path, address(path).own(1), address(path).own(7)):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(name)
    Path(f"{path}.gen-1").touch()
    Path(path).with_name(".http.sock.gen-5").touch()
    with closing(UnixListener.open(address(path))) as listener:
        listener.enter(1)
        listener.steer(1)
        assert files(path) == [".http.sock.gen-1", ".http.sock.gen-5", "http.sock", "http.sock.gen-1"]
        connect(path).close()
        listener.leave(1)


@pytest.mark.parametrize("listens", [True, False])
def test_a_living_one_is_refused_by_name_and_not_troubled(path: str, listens: bool) -> None:  # noqa: FBT001 - a parameter
    script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.settimeout(0)\n"
    script += "s.listen() if sys.argv[2] == 'True' else None\nprint('bound', flush=True); sys.stdin.read()\n"
    script += "print(s.accept() if sys.argv[2] == 'True' else '')"
    other = subprocess.Popen(
        [sys.executable, "-c", script, path, str(listens)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "bound\n"
        with pytest.raises(HostError, match=rf"{path} is in use by python.* \(pid {other.pid}\)"):
            UnixListener.open(address(path))
        _, errors = other.communicate()
        assert ("BlockingIOError" in errors) is listens
    UnixListener.open(address(path)).close()


def test_what_is_no_socket_is_never_touched(path: str, listener: UnixListener) -> None:
    listener.enter(1)
    Path(path).write_text("theirs")
    with pytest.raises(HostError, match="is no socket: move it away"):
        listener.steer(1)
    with pytest.raises(HostError, match="is no socket"):
        UnixListener.open(address(path))
    Path(path).unlink()
    Path(path).symlink_to("elsewhere")
    with pytest.raises(HostError, match="is no socket"):
        UnixListener.open(address(path))
    assert listener.target is None


def test_who_has_taken_the_path_meanwhile_keeps_it(path: str, listener: UnixListener) -> None:
    listener.enter(1)
    listener.steer(1)
    Path(path).unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(HostError, match="in use by this very process"):
            listener.mend()
    assert listener.mend()
    assert listener.mend() == ""


@pytest.mark.parametrize("removed", ["path", "own", "both"])
def test_what_a_server_removes_is_there_again(path: str, listener: UnixListener, removed: str) -> None:
    listener.enter(1)
    listener.steer(1)
    if removed in ("path", "both"):
        Path(path).unlink()
    if removed in ("own", "both"):
        Path(address(path).own(1)).unlink()
    if removed == "both":
        with pytest.raises(HostError, match="nobody can connect to it"):
            listener.mend()
        return
    assert bool(listener.mend()) is (removed == "path")
    assert files(path) == [".http.sock.gen-1", "http.sock"]
    connect(path).close()


def test_a_missing_folder_says_what_would_do(tmp_path: Path) -> None:
    missing = address(str(tmp_path / "none" / "http.sock"))
    with pytest.raises(HostError, match="make it"):
        UnixListener.open(missing)
    assert "make it" in missing.remarks[0]
    assert address(str(tmp_path / "http.sock")).remarks == ()


def test_an_address_does_not_change_its_mode_while_it_is_in_use(path: str) -> None:
    wanted = parse_address(f"unix:{path}", name="a")
    with closing(Listeners.open([wanted])) as listeners:
        listeners.join(1, [wanted])
        with pytest.raises(HostError, match="in another way"):
            listeners.join(2, [parse_address(f"unix:{path}", name="a", mode="shared")])
        connect(path).close()
        listeners.leave(1)
    assert files(path) == []


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_what_somebody_puts_in_the_place_of_a_new_socket_keeps_its_mode(
    tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    """As the server's own user can, where the folder is its."""
    with closing(socket.socket(socket.AF_UNIX)) as other:
        private, name = tmp_path / "private", tmp_path / ".web.sock.gen-1"
        other.bind(str(private))
        private.chmod(0o600)
        make(private, name)
        with pytest.raises((HostError, OSError)):
            socketfile.settle(str(name), 0o666, (-1, -1))
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
