"""A service of datagrams: handed over under a steady stream, ready by its word or by its silence."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.harness.supervisor import Supervisor

SERVER = """#!{python} -S
import os, select, signal, socket
sock = socket.socket(fileno=3)
told, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGTERM, lambda *_: None)
if {speaks}:
    os.write(int(os.environ["READY_FD"]), b"ready\\n")
while True:
    ready, _, _ = select.select([sock, told], [], [])
    try:
        while True:
            data, peer = sock.recvfrom(512, socket.MSG_DONTWAIT)
            sock.sendto(data + b" {version}", peer)
    except BlockingIOError:
        if told in ready:
            raise SystemExit
"""


@pytest.fixture
def service(supervisor: Supervisor) -> Supervisor:
    supervisor.configure(listen=[{"name": "dns", "address": "udp://127.0.0.1:0"}])
    supervisor.configure(service={"command": [str(supervisor.current)]})
    return supervisor


def server(folder: Path, version: str, *, speaks: bool = True) -> Path:
    made = folder / f"server-{version}"
    made.write_text(SERVER.format(python=sys.executable, version=version, speaks=speaks))
    made.chmod(0o755)
    return made


class Stream:
    """A datagram every millisecond, from twenty sockets in turn; who answered each, by number."""

    def __init__(self, port: int) -> None:
        self.answers: dict[int, str] = {}
        self.sent = 0
        self._news = threading.Condition()
        self._over = threading.Event()
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
        for each in self._sockets:
            each.connect(("127.0.0.1", port))
            each.settimeout(10)
        self._threads = [threading.Thread(target=self._send)]
        self._threads += [threading.Thread(target=self._receive, args=(each,)) for each in self._sockets]
        for thread in self._threads:
            thread.start()

    def answered(self, count: int, version: str) -> None:
        """Wait until so many more have been answered by that version."""
        with self._news:
            wanted = self._by(version) + count
            assert self._news.wait_for(lambda: self._by(version) >= wanted, 30)

    def end(self) -> None:
        """Stop sending, and wait for every answer."""
        self._over.set()
        self._threads[0].join()
        with self._news:
            self._news.wait_for(lambda: len(self.answers) == self.sent, 10)
        for each in self._sockets:
            each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _by(self, version: str) -> int:
        return sum(each == version for each in self.answers.values())

    def _send(self) -> None:
        while not self._over.wait(0.001):
            self._sockets[self.sent % 20].send(str(self.sent).encode())
            self.sent += 1

    def _receive(self, sock: socket.socket) -> None:
        while data := self._next(sock):
            number, _, version = data.decode().partition(" ")
            with self._news:
                self.answers[int(number)] = version
                self._news.notify_all()

    @staticmethod
    def _next(sock: socket.socket) -> bytes:
        try:
            return sock.recv(512)
        except OSError:
            return b""


def test_a_steady_stream_loses_nothing(service: Supervisor) -> None:
    service.start(server(service.folder, "v1"))
    stream = Stream(int(service.address.rpartition(":")[2]))
    try:
        stream.answered(200, "v1")
        for version in ("v2", "v3", "v4"):
            service.upgrade(server(service.folder, version))
            stream.answered(200, version)
    finally:
        stream.end()
    assert sorted(stream.answers) == list(range(stream.sent))
    assert service.status()["queue_losses"] == {"migrated": 0, "reset": 0}


def test_one_that_says_nothing_is_ready_once_it_has_lived_for_a_while(service: Supervisor) -> None:
    service.start(server(service.folder, "v1", speaks=False))
    assert service.event("generation_ready", generation=1)["after"] >= 1.0
    assert service.hup("/bin/false")["result"] == "rolled back"
    service.configure(ready={"method": "accept"})
    service.upgrade(server(service.folder, "v2", speaks=False))
    assert service.event("generation_ready", generation=3)["after"] >= 1.0


def test_what_waits_for_one_that_dies_is_counted(service: Supervisor) -> None:
    """It stops reading, and is gone back from while datagrams wait for it."""
    service.configure(handoff={"probation": "60s"})
    service.start(server(service.folder, "v1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", int(service.address.rpartition(":")[2])))
        service.use(server(service.folder, "v2"))
        mark = service.signal(signal.SIGHUP)
        service.event("phase", mark, phase="probation")
        pid = service.pid_of(2)
        os.kill(pid, signal.SIGSTOP)
        for number in range(5):
            client.send(str(number).encode())
        os.kill(pid, signal.SIGKILL)
        service.event("handoff_ended", mark, result="rolled back")
        service.event("generation_ended", mark, generation=2)
        client.send(b"more")
        assert client.recv(99) == b"more v1"
    lost = service.event("queue_reset", mark)
    assert lost["connections"] == 5
    assert service.status()["queue_losses"]["reset"] == 5
