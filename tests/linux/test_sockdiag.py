"""Finding sockets and who holds them."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from supervisor.errors import HostError
from supervisor.linux import netlink, sockdiag
from supervisor.linux.address import TcpAddress


def listener(stack: ExitStack, family: socket.AddressFamily, host: str) -> socket.socket:
    sock = stack.enter_context(socket.socket(family))
    sock.bind((host, 0))
    sock.listen()
    return sock


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_netlink_and_proc_tell_the_same(family: socket.AddressFamily, host: str) -> None:
    with ExitStack() as stack:
        sock = listener(stack, family, host)
        port = sock.getsockname()[1]
        expected = sockdiag.FoundSocket(host, port, os.geteuid(), os.fstat(sock.fileno()).st_ino)
        assert sockdiag.listening(family, port) == [expected]
        assert expected in sockdiag.listening(family)
        assert list(sockdiag._from_proc(family, port, 1 << sockdiag._LISTEN, socket.IPPROTO_TCP)) == [expected]


def test_without_netlink_proc_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        port = listener(stack, socket.AF_INET, "127.0.0.1").getsockname()[1]
        monkeypatch.setattr(netlink, "_NETLINK_SOCK_DIAG", 63)  # no such protocol, as where netlink is forbidden
        assert [found.port for found in sockdiag.listening(socket.AF_INET, port)] == [port]
        monkeypatch.setattr(sockdiag, "_from_proc", _refuse)
        with pytest.raises(HostError, match="cannot be read"):
            sockdiag.listening(socket.AF_INET, port)
        assert sockdiag.holder("127.0.0.1", port) is None


def _refuse(*_: object) -> None:
    raise PermissionError(13, "refused")


def test_a_wildcard_in_the_way_is_found() -> None:
    with ExitStack() as stack:
        sock = listener(stack, socket.AF_INET6, "::")
        found = sockdiag.holder("127.0.0.1", sock.getsockname()[1])
        assert found is not None
        assert found.host == "::"
        assert sockdiag.processes(found.inode) == [os.getpid()]
        assert found.owner() == "this very process"
        assert sockdiag.holder("192.0.2.1", 1) is None


def test_another_process_is_named() -> None:
    code = "import socket,sys; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with pytest.raises(HostError) as caught:
            TcpAddress.parse(f"127.0.0.1:{port}").bind(first=True)
        assert str(caught.value).startswith(f"127.0.0.1:{port} is in use by python")
        assert str(caught.value).endswith(f"(pid {server.pid}): free it, or listen on another address")
        server.communicate("\n")


def test_a_connection_in_the_way_is_named() -> None:
    with ExitStack() as stack:
        server = listener(stack, socket.AF_INET, "127.0.0.1")
        client = stack.enter_context(socket.create_connection(server.getsockname()))
        with pytest.raises(HostError, match="this very process"):
            TcpAddress.parse(f"127.0.0.1:{client.getsockname()[1]}").bind(first=True)


def test_what_cannot_be_seen_is_said() -> None:
    gone = 2**31
    assert sockdiag.FoundSocket("::", 1, os.geteuid() + 1, gone).owner().startswith("a process of another user")
    assert "cannot be seen" in sockdiag.FoundSocket("::", 1, os.geteuid(), gone).owner()
    assert "closing" in sockdiag.FoundSocket("::", 1, 0, 0).owner()
