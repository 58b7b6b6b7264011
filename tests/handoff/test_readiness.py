"""When a generation counts as ready: by the pipe, by sd_notify, or by accepting in silence."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.handoff.conftest import Make
from tests.harness import builds
from tests.harness.supervisor import Supervisor

PYTHON = """#!{python} -IS
import os, socket, sys, time
listener = socket.socket(fileno=3)
notify = os.environ["NOTIFY_SOCKET"]
def say(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(notify)
        socket.send_fds(sock, [text.encode()], fds) if fds else sock.send(text.encode())
def line():
    os.write(int(os.environ["READY_FD"]), b"ready\\n")
def serve():
    while True:
        listener.accept()[0].close()
{body}
"""


def python_server(supervisor: Supervisor, body: str) -> Path:
    """A server that speaks as `body` has it."""
    path = supervisor.folder / "server"
    path.write_text(PYTHON.format(python=sys.executable, body=body))
    path.chmod(0o755)
    supervisor.configure(service={"command": [str(supervisor.current)]})
    return path


@pytest.mark.parametrize(
    ("method", "baked", "how"),
    [
        ("auto", "", "pipe"),
        ("auto", "-notify", "notify"),
        ("auto", "-silent", None),
        ("pipe", "", "pipe"),
        ("notify", "-notify", "notify"),
        ("accept", "-silent", None),
        ("accept", "-never-ready", "never"),
        ("pipe", "-notify", "never"),
        ("notify", "", "never"),
        ("pipe", "-silent", "never"),
        ("auto", "-never-ready", "never"),
    ],
)
def test_each_method(supervisor: Supervisor, v1: Path, method: str, baked: str, how: str | None) -> None:
    program = builds.go_server("speaks", baked) if baked else v1
    if how == "never":
        supervisor.configure(ready={"method": method, "timeout": "1500ms"})
        supervisor.use(program)
        supervisor.spawn()
        supervisor.event("generation_killed")
        assert not supervisor.events("generation_ready")
        return
    supervisor.configure(ready={"method": method})
    supervisor.start(program)
    assert supervisor.serving()["ready_by"] == how
    assert supervisor.upgrade()["to_generation"] == 2
    assert supervisor.get().version in {"speaks", "v1"}


def test_who_is_silent_where_one_has_spoken_is_not_taken_for_ready(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    supervisor.configure(ready={"timeout": "2500ms"})
    ended = supervisor.hup(builds.go_server("speaks", "-silent"))
    assert (ended["result"], ended["reason"]) == (
        "rolled back",
        "not ready in time: nothing was heard of it in 2.5 s (ready.timeout)",
    )


def test_silence_counts_again_and_again_where_nobody_has_spoken(supervisor: Supervisor) -> None:
    silent = builds.go_server("speaks", "-silent")
    supervisor.start(silent)
    for _ in range(2):
        supervisor.upgrade(silent)


def test_who_speaks_and_does_not_accept_is_not_ready_unless_the_probe_is_off(supervisor: Supervisor, v1: Path) -> None:
    mute = builds.go_server("broken", "-ready-no-accept")
    supervisor.start(v1)
    supervisor.configure(ready={"timeout": "1s"})
    assert supervisor.hup(mute)["reason"] == "said that it was ready but accepted no connection: said so by pipe"
    supervisor.configure(ready={"probe": False})
    assert supervisor.hup(mute)["result"] == "committed"


def test_a_strangers_word_does_not_count(supervisor: Supervisor, v1: Path) -> None:
    """The socket's owner may send to it; the kernel says who did."""
    supervisor.start(v1)
    supervisor.configure(ready={"method": "notify", "timeout": "2s"})
    mark = supervisor.mark()
    supervisor.use(python_server(supervisor, "print('up', notify, flush=True)\nserve()"))
    supervisor.signal(signal.SIGHUP)
    path = supervisor.output.until(
        "its notify socket", lambda: [line.split()[1] for line in supervisor.output.text if line.startswith("up ")]
    )[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"READY=1\nSTATUS=a lie", path)
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == (
        "rolled back",
        "not ready in time: nothing was heard of it in 2 s (ready.timeout)",
    )
    assert not [each for each in supervisor.events("generation_spoke", since=mark) if each["generation"] == 2]


def test_a_child_of_its_group_may_speak_for_it(supervisor: Supervisor) -> None:
    body = "if os.fork() == 0:\n    say('READY=1')\n    os._exit(0)\nserve()"
    supervisor.start(python_server(supervisor, body))
    assert supervisor.serving()["ready_by"] == "notify"


def test_status_is_shown(supervisor: Supervisor) -> None:
    supervisor.start(python_server(supervisor, "say('STATUS=warm and well\\nREADY=1')\nserve()"))
    assert supervisor.serving()["says"] == "warm and well"


def test_extend_timeout_is_heard(supervisor: Supervisor) -> None:
    os.mkfifo(fifo := supervisor.folder / "fifo")
    body = f"say('EXTEND_TIMEOUT_USEC=9000000')\nopen({str(fifo)!r}).read()\nsay('READY=1')\nserve()"
    supervisor.configure(ready={"timeout": "1s"})
    supervisor.use(python_server(supervisor, body))
    supervisor.spawn()
    with fifo.open("w"):  # it waits there: what it said before that has arrived
        (found,) = supervisor.status()["generations"]
        assert 8 < found["until"] - found["since"] < 10
    supervisor.event("generation_ready")
    assert not supervisor.events("generation_killed")


def test_extend_timeout_has_a_ceiling(supervisor: Supervisor) -> None:
    supervisor.configure(ready={"timeout": "150ms", "method": "notify"})
    supervisor.use(python_server(supervisor, "say('EXTEND_TIMEOUT_USEC=600000000')\nserve()"))
    supervisor.spawn()
    started = supervisor.event("generation_started")
    assert supervisor.event("generation_killed", started.index)["generation"] == 1


def test_a_barrier_is_let_go(supervisor: Supervisor) -> None:
    """sd_notify_barrier(3): the fd that comes along is closed once all before it was read."""
    body = "r, w = os.pipe()\nsay('BARRIER=1', w)\nos.close(w)\nassert os.read(r, 1) == b''\nsay('READY=1')\nserve()"
    supervisor.configure(ready={"method": "notify"})
    supervisor.start(python_server(supervisor, body))
    assert supervisor.serving()["ready_by"] == "notify"


def test_all_listeners_must_accept(supervisor: Supervisor) -> None:
    supervisor.may_trace = True  # a run may be about to speak when the supervisor is ended
    supervisor.configure(
        listen=[{"name": name, "address": "127.0.0.1:0"} for name in ("a", "b")], ready={"timeout": "1s"}
    )
    supervisor.use(python_server(supervisor, "line()\nserve()"))
    supervisor.spawn()
    supervisor.event("generation_spoke")
    supervisor.event("generation_killed")
    assert not supervisor.events("generation_ready")


@pytest.mark.parametrize("address", ["[::1]:0", "[::]:0"])
def test_over_ipv6_too(make: Make, v1: Path, v2: Path, address: str) -> None:
    supervisor = make()
    supervisor.configure(listen=[{"name": "http", "address": address}])
    supervisor.start(v1)
    for _ in range(2):
        supervisor.upgrade(v2)
    port = supervisor.endpoint[1]
    hosts = ["::1", "127.0.0.1"] if address == "[::]:0" else ["::1"]
    for host in hosts:
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"v2" in sock.makefile("rb").read()
