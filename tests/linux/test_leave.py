"""Leaving under fire: connections go on, and nobody but the target ever gets one."""

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from supervisor.linux.address import TcpAddress
from supervisor.linux.tcp import TcpListener

UNDER_FIRE = 0.5  # seconds of each case; every order comes round some hundred times

HAMMER = """
import json, socket, sys, threading
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
done, errors = 0, []
print("started", flush=True)
while not stop.is_set():
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2) as client:
            if client.recv(1) != b"x":
                raise OSError("closed without an answer")
        done += 1
    except OSError as error:
        errors.append(str(error))
print(json.dumps([done, errors]))
"""
ACCEPT = """
import socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
while True:
    client, _ = server.accept()
    with client:
        client.sendall(b"x")
"""
Hammer = subprocess.Popen[str]


@contextmanager
def accepting(sock: socket.socket) -> Iterator[None]:
    server = subprocess.Popen([sys.executable, "-c", ACCEPT, str(sock.fileno())], pass_fds=[sock.fileno()])
    try:
        yield
    finally:
        server.kill()
        server.wait()


@contextmanager
def hammering(port: int) -> Iterator[Callable[[], tuple[int, list[str]]]]:
    """Connect without a pause from another process; what is yielded ends that and tells how it went."""
    hammer = subprocess.Popen([sys.executable, "-c", HAMMER, str(port)], stdin=-1, stdout=-1, text=True)
    assert hammer.stdout is not None
    assert hammer.stdout.readline() == "started\n"

    def stop() -> tuple[int, list[str]]:
        done, errors = json.loads(hammer.communicate("\n", timeout=30)[0])
        return done, errors

    try:
        yield stop
    finally:
        hammer.kill()
        hammer.wait()


@pytest.mark.parametrize(("size", "place"), [(size, place) for size in (3, 4) for place in range(size)])
@pytest.mark.parametrize("probed", [False, True])
def test_only_the_target_gets_connections_whoever_leaves_in_which_order(size: int, place: int, *, probed: bool) -> None:
    """Nobody accepts from any other member: a single connection that strays is one that hangs."""
    with closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0"))) as listener:
        names = itertools.count()
        members = [next(names) for _ in range(size)]
        for member in members:
            listener.join(member)
        target = members[place]
        listener.steer(target)
        with accepting(listener.socket(target)), hammering(listener.bound.port) as stop:
            enough = time.monotonic() + UNDER_FIRE
            for order in itertools.cycle(itertools.permutations(range(size - 1))):
                if order == tuple(range(size - 1)) and time.monotonic() > enough:
                    break
                others = [member for member in listener.members if member != target]
                if probed:
                    listener.probe(others[order[-1]], ("127.0.0.1", 1))
                for at in order:
                    assert listener.may_leave(others[at], unready=others)
                    listener.leave(others[at])
                    assert not any(listener.queue(other) for other in listener.members if other != target)
                for _ in others:
                    listener.join(next(names))
            assert len(listener._sockets) <= 2 * size
            done, errors = stop()
    assert errors == []
    assert done > 100


def test_a_spare_is_the_next_member_and_goes_when_it_is_not_needed() -> None:
    with closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0"))) as listener:
        for member in (1, 2, 3):
            listener.join(member)
        listener.steer(3)
        listener.leave(1)
        assert list(listener._order.members) == [-2, 2, 3]
        listener.join(4)
        assert list(listener._order.members) == [4, 2, 3]
        listener.leave(2)
        assert list(listener._order.members) == [4, -2, 3]
        listener.withdraw(4)  # a candidate that no process was told of
        assert listener.members == (3,)
        listener.join(5)
        listener.steer(5)
        listener.leave(3)
        assert list(listener._order.members) == [5]


def test_with_one_other_member_no_spare_is_made() -> None:
    with closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0"))) as listener:
        listener.join(1)
        listener.join(2)
        listener.steer(2)
        listener.leave(1)
        assert list(listener._order.members) == [2]
