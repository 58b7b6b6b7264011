"""What becomes of waiting connections when a member leaves, with net.ipv4.tcp_migrate_req off and on."""

import ctypes
import fcntl
import os
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from supervisor.linux import sockdiag
from supervisor.linux.address import TcpAddress
from supervisor.linux.tcp import TcpListener

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
WAITING = 40


def in_own_network(test: Callable[[], None], *, migrate: bool) -> None:
    """Run a function in a child process with a network of its own, `lo` up and the sysctl set."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace of the test's own needs root")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        report = "the test did not end"
        try:
            _enter_network(migrate=migrate)
            test()
            report = ""
        except BaseException:  # noqa: BLE001 - whatever it is, the parent tells it
            report = traceback.format_exc()
        finally:
            os.write(writer, report.encode()[-4000:])
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        failure = pipe.read()
    os.waitpid(child, 0)
    assert not failure, failure


def _enter_network(*, migrate: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    Path("/proc/sys/net/ipv4/tcp_migrate_req").write_text(str(int(migrate)))
    assert sockdiag.migrates() is migrate


def _with_waiting(stack: ExitStack, members: int) -> tuple[TcpListener, list[socket.socket]]:
    """Open a listener whose member 1 has connections waiting, and which is steered to the last member."""
    listener = stack.enter_context(closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0"))))
    for member in range(1, members + 1):
        listener.join(member)
    listener.steer(1)
    address = ("127.0.0.1", listener.bound.port)
    clients = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(WAITING)]
    listener.steer(members)
    return listener, clients


def _was_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_without_migration_they_are_reset_and_counted() -> None:
    def body() -> None:
        with ExitStack() as stack:
            listener, clients = _with_waiting(stack, 2)
            assert not listener.may_leave(1, unready=())
            ports = [client.getsockname()[1] for client in clients]
            assert listener.reset_queue(1, limit=10) == ports[:10]
            assert listener.reset_queue(1, limit=1000) == ports[10:]
            assert os.get_blocking(listener.socket(1).fileno())
            assert listener.may_leave(1, unready=())
            listener.leave(1)
            assert all(_was_reset(client) for client in clients)
            assert listener.queue(2) == 0

    in_own_network(body, migrate=False)


def test_without_migration_a_leave_resets_what_waits() -> None:
    def body() -> None:
        with ExitStack() as stack:
            listener, clients = _with_waiting(stack, 2)
            listener.leave(1)
            assert all(_was_reset(client) for client in clients)

    in_own_network(body, migrate=False)


def test_with_migration_they_move_to_the_only_other() -> None:
    def body() -> None:
        with ExitStack() as stack:
            listener, _ = _with_waiting(stack, 2)
            assert listener.may_leave(1, unready=())
            assert not listener.may_leave(1, unready={2})
            listener.leave(1, unready=())
            assert listener.queue(2) == WAITING

    in_own_network(body, migrate=True)


def test_with_migration_and_all_accepting_no_spare_swallows_any() -> None:
    def body() -> None:
        with ExitStack() as stack:
            listener, _ = _with_waiting(stack, 3)
            assert listener.may_leave(1, unready=())
            listener.leave(1, unready=())
            assert listener._order.members == (3, 2)
            assert listener.queue(2) + listener.queue(3) == WAITING
            assert listener.queue(2) > 0  # migration hashes, whatever the program says

    in_own_network(body, migrate=True)


def test_with_migration_and_an_unready_member_it_may_not_leave_before_its_queue_is_reset() -> None:
    def body() -> None:
        with ExitStack() as stack:
            listener, clients = _with_waiting(stack, 3)
            assert not listener.may_leave(1, unready={2})
            assert len(listener.reset_queue(1, limit=1000)) == WAITING
            assert listener.may_leave(1, unready={2})
            listener.leave(1, unready={2})
            assert all(_was_reset(client) for client in clients)
            assert (listener.queue(2), listener.queue(3)) == (0, 0)
            clients += [stack.enter_context(socket.create_connection(listener.bound.sockaddr[:2])) for _ in range(50)]
            assert (listener.queue(2), listener.queue(3)) == (0, 50)

    in_own_network(body, migrate=True)


@pytest.mark.parametrize("migrate", [False, True])
def test_the_order_holds_over_many_changes(migrate: bool) -> None:  # noqa: FBT001
    """With migration the kernel keeps closed sockets in the same array; indexes must not notice."""

    def body() -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0"))))
            held = []
            listener.join(0)
            for member in range(1, 40):
                listener.join(member)
                held.append(listener.socket(member).dup())  # as a child does that is still there
                listener.steer(member)
                if member % 3 == 2:
                    for other in listener.members[:-1]:
                        listener.leave(other)
                stack.enter_context(socket.create_connection(listener.bound.sockaddr[:2], timeout=5))
                assert listener.queue(member) == 1
                stack.enter_context(listener.socket(member).accept()[0])
            for sock in held:
                sock.close()

    in_own_network(body, migrate=migrate)
