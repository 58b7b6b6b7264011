"""Sockets handed over at the start, by a launcher that does what systemd does."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.linux.sockdiag import waiting
from tests.harness import proc
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor, answer


@pytest.fixture(params=[True, False], ids=["ReusePort", "alone"])
def systemds(supervisor: Supervisor, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """The socket, which the supervisor is started with."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as systemd always does
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, request.param)
        sock.bind(("127.0.0.1", 0))
        sock.listen(1024)
        supervisor.handed = {"http": sock}
        supervisor.configure(listen=[{"name": "http", "address": f"127.0.0.1:{sock.getsockname()[1]}"}])
        yield sock


def ask(sock: socket.socket) -> socket.socket:
    client = socket.create_connection(sock.getsockname(), timeout=20)
    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return client


def test_clients_wait_in_it_before_and_between_and_none_is_lost(
    supervisor: Supervisor, systemds: socket.socket, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    early = ask(systemds)
    supervisor.start(v1)
    assert answer(early).version == "v1"
    assert supervisor.event("socket_adopted")["name"] == "http"
    assert [each["handed"] for each in supervisor.status()["listeners"]] == [True]
    assert "(from systemd)" in supervisor.command("status").stdout
    running = load(supervisor)
    for release, version in ((v2, "v2"), (v1, "v1"), (v2, "v2")):
        supervisor.upgrade(release)
        running.answered(200, version=version)
    for generation in (1, 2, 3):
        supervisor.event("generation_ended", generation=generation)
    running.stop().no_failures()
    assert supervisor.stop() == 0
    supervisor.output.close()
    between = [ask(systemds) for _ in range(5)]
    supervisor.start(v1)
    assert [answer(each).version for each in between] == ["v1"] * 5


def test_while_the_last_one_finishes_new_clients_wait_for_the_next_start(
    supervisor: Supervisor, systemds: socket.socket, v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    supervisor.upgrade(v2)
    supervisor.event("generation_ended", generation=1)
    slow = supervisor.ask("/slow?ms=1500")
    supervisor.get()  # accepted after it
    mark = supervisor.signal(signal.SIGTERM)
    supervisor.event("generation_told", mark, generation=2)
    early = ask(systemds)
    assert waiting(systemds) == 1
    assert answer(slow).status == 200
    assert supervisor.ended() == 0
    supervisor.output.close()
    supervisor.start(v1)
    assert answer(early).version == "v1"


def test_a_child_has_what_is_meant_for_it_alone(supervisor: Supervisor, systemds: socket.socket, v1: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        supervisor.handed = {"other": other, "http": systemds}
        supervisor.start(v1)
    assert supervisor.event("socket_unwanted")["name"] == "other"
    pid = supervisor.pid_of(1)
    block = Path(f"/proc/{pid}/environ").read_text()
    told = dict(item.split("=", 1) for item in block.split("\0") if item)
    assert (told["LISTEN_PID"], told["LISTEN_FDS"], told["LISTEN_FDNAMES"]) == (str(pid), "1", "http")
    inodes = set(proc.fds(supervisor.pid).values())
    assert f"socket:[{os.fstat(systemds.fileno()).st_ino}]" in inodes


def test_another_address_than_the_configured_one_is_refused(supervisor: Supervisor, systemds: socket.socket) -> None:
    supervisor.configure(listen=[{"name": "http", "address": "127.0.0.1:1"}])
    supervisor.use("/bin/true")
    supervisor.spawn()
    assert supervisor.ended() == 1
    said = "the configuration says 127.0.0.1:1: write the same in both"
    supervisor.output.until(said, lambda: any(said in line for line in supervisor.output.text))
    del systemds
