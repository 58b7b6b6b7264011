"""Whole handoffs of services on Unix sockets, and on sockets that all generations share."""

import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import builds, proc
from tests.harness.load import Load
from tests.harness.supervisor import Answer, Supervisor, answer

REMOVES_ITS_PATH = """#!/usr/bin/env python3
import os, signal, socket, threading
sock = socket.socket(fileno=3)
answers = b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
def serve():
    while True:
        try:
            made, _ = sock.accept()
        except OSError:
            return
        if made.recv(1000):
            made.sendall(answers)
        made.close()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
threading.Thread(target=serve, daemon=True).start()
os.write(int(os.environ["READY_FD"]), b"ready\\n")
signal.sigwait({signal.SIGTERM})
sock.close()
signal.sigtimedwait({signal.SIGUSR1}, 0.2)
os.unlink("PATH")
signal.sigwait({signal.SIGUSR1})
"""


def on(supervisor: Supervisor, mode: str = "reuseport") -> Path:
    """Have a service listen on a path."""
    path = supervisor.folder / "http.sock"
    supervisor.configure(listen=[{"name": "http", "address": f"unix:{path}", "mode": mode}])
    return path


def sockets(supervisor: Supervisor) -> list[str]:
    return sorted(
        each.name
        for each in supervisor.folder.iterdir()
        if stat.S_ISSOCK(each.lstat().st_mode) and each != supervisor.control
    )


def get(path: Path | str) -> Answer:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return answer(sock)


@pytest.mark.timeout(120)
def test_no_request_is_lost(supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path) -> None:
    on(supervisor)
    supervisor.configure(drain={"limit": 40})
    supervisor.start(v1)
    assert supervisor.status()["listeners"][0]["address"] == f"unix:{supervisor.folder}/http.sock"
    running = load(supervisor, rate=1500)
    for number in range(1, 16):
        supervisor.upgrade((v1, v2)[number % 2])
    running.answered(200, version="v2")
    assert supervisor.serving()["connections"] > 0
    for generation in range(1, 16):
        assert supervisor.event("generation_ended", generation=generation)["exit"] == "exit status 0"
    found = running.stop()
    found.no_failures()
    assert min(found.versions.values()) > 50
    assert not supervisor.events("queue_reset", "listener_mended", "listener_spoiled")
    assert sockets(supervisor) == [".http.sock.gen-16", "http.sock"]
    assert supervisor.stop() == 0
    assert sockets(supervisor) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", ["path", "tcp"])
def test_no_request_is_lost_on_a_shared_socket(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path, where: str
) -> None:
    if where == "path":
        on(supervisor, "shared")
    else:
        supervisor.configure(listen=[{"name": "http", "address": "127.0.0.1:0", "mode": "shared"}])
    supervisor.configure(drain={"limit": 40}, handoff={"probation": "100ms"})
    supervisor.start(v1)
    running = load(supervisor, rate=1500)
    for number in range(1, 11):
        supervisor.upgrade((v1, v2)[number % 2])
    for generation in range(1, 11):
        assert supervisor.event("generation_ended", generation=generation)["exit"] == "exit status 0"
    running.answered(200, version="v1")
    found = running.stop()
    found.no_failures()
    assert not supervisor.events("queue_reset", "listener_mended", "listener_spoiled")
    assert supervisor.status()["listeners"][0]["mode"] == "shared"
    assert "takes users before it is ready" in supervisor.command("status").stdout
    assert supervisor.stop() == 0
    assert sockets(supervisor) == []


def test_an_abstract_socket_is_shared(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    name = f"gapless-{os.getpid()}-abstract"
    supervisor.configure(listen=[{"address": f"unix:@{name}"}])
    supervisor.start(v1)
    assert get(f"\0{name}").version == "v1"
    supervisor.upgrade(v2)
    supervisor.event("generation_ended", generation=1)
    assert get(f"\0{name}").version == "v2"
    assert supervisor.serving()["queue"] == 0
    assert supervisor.stop() == 0


@pytest.mark.parametrize("mode", ["reuseport", "shared"])
def test_a_candidate_that_dies_on_probation(supervisor: Supervisor, v1: Path, mode: str) -> None:
    path = on(supervisor, mode)
    supervisor.configure(handoff={"probation": "20s"})
    supervisor.start(v1)
    supervisor.use(builds.go_server("broken", "-crash-after=1500ms"))
    assert supervisor.hup()["reason"].startswith("died in probation")
    assert get(path).version == "v1"
    supervisor.event("generation_role", generation=1, role="serving")
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
    assert supervisor.stop() == 0
    assert sockets(supervisor) == []


def test_a_silent_candidate_counts_by_a_connection_of_its_own(supervisor: Supervisor, v1: Path) -> None:
    """It accepts beside the old one, which never does what the candidate is asked for."""
    path = on(supervisor, "shared")
    supervisor.configure(ready={"method": "accept"})
    supervisor.start(v1)
    never = builds.go_server("broken", "-ready-no-accept")
    supervisor.configure(ready={"timeout": "2s"})
    assert supervisor.hup(never)["reason"].startswith("not ready in time")
    assert get(path).version == "v1"
    assert supervisor.upgrade(v1)["to_generation"] == 3


def test_a_crash_is_started_again_on_the_same_socket(supervisor: Supervisor, v1: Path) -> None:
    path = on(supervisor)
    supervisor.start(v1)
    before = path.lstat().st_ino
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(1), signal.SIGKILL)
    supervisor.event("generation_down", mark)
    assert get(path).version == "v1"  # it waits in the queue until somebody is there
    assert path.lstat().st_ino == before


def test_what_a_killed_supervisor_left_is_recovered(make: Callable[..., Supervisor], v1: Path, v2: Path) -> None:
    first = make()
    path = on(first)
    first.start(v1)
    second = make()
    second.configure(listen=[{"name": "http", "address": f"unix:{path}"}])
    second.use(v2)
    second.spawn()
    assert second.ended() == 1
    assert f"{path} is in use by" in "\n".join(second.output.text)
    assert get(path).version == "v1"
    os.kill(first.pid, signal.SIGKILL)
    for pid in first.left_behind():
        os.kill(pid, signal.SIGKILL)
        proc.gone(pid, 10)
    assert sockets(first) == [".http.sock.gen-1", "http.sock"]
    third = make()
    third.configure(listen=[{"name": "http", "address": f"unix:{path}"}])
    third.start(v2)
    assert get(path).version == "v2"
    assert third.stop() == 0
    assert sockets(first) == []


def test_a_server_that_removes_the_path_at_its_end(supervisor: Supervisor, v2: Path) -> None:
    """Puma does: while it drains, and thus before it has ended. This one waits a while after it closed its listener."""
    path = on(supervisor)
    program = supervisor.folder / "removes"
    program.write_text(REMOVES_ITS_PATH.replace("PATH", str(path)))
    program.chmod(0o755)
    supervisor.start(program)
    old = supervisor.pid_of(1)
    supervisor.upgrade(v2)
    assert "a server removes it" in supervisor.event("listener_mended")["what"]
    assert not supervisor.events("generation_ended")
    assert get(path).version == "v2"
    os.kill(old, signal.SIGUSR1)
    supervisor.event("generation_ended", generation=1)
    assert supervisor.stop() == 0, supervisor.output.tail()
    assert sockets(supervisor) == []
