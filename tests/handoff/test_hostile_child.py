"""Servers that do what no server should: it is their own loss, and nobody else's."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor

BEGINNING = """#!{python} -IS
import os, socket, sys, time
listening = socket.socket(fileno=3)
"""

END = """
os.write(int(os.environ["READY_FD"]), b"ready\\n")
while True:
    listening.accept()[0].close()
"""

ORPHAN_WITH_ODD_NAME = """
became, becomes = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        odd = {b"GAPLESS_SERVICE": b"\\xff", b"GAPLESS_GENERATION": os.environb[b"GAPLESS_GENERATION"]}
        os.closerange(0, becomes)
        os.closerange(becomes + 1, 100)
        os.execve("/bin/sleep", ["sleep", "1000"], odd)
    os._exit(0)
os.wait()
os.close(becomes)
os.read(became, 1)
"""
"""It is ready when the orphan has the odd name: with the server's own it would be ended with the server."""

FLOODS = """
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
for _ in range(4):
    if os.fork() == 0:
        try:
            while True:
                notify.send(b"STATUS=busy")
        except OSError:  # it is over
            os._exit(0)
"""

EXTENDS_FOR_EVER = """
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
for digits in (400, 5000):
    notify.send(b"EXTEND_TIMEOUT_USEC=" + b"9" * digits)
notify.send(b"STATUS=said")
"""


def _server(supervisor: Supervisor, does: str) -> Path:
    path = supervisor.folder / "server"
    path.write_text(BEGINNING.format(python=sys.executable) + does + END)
    path.chmod(0o755)
    return path


def test_one_whose_orphan_has_a_name_that_is_no_text_is_started_again(supervisor: Supervisor) -> None:
    supervisor.configure(service={"command": [str(supervisor.current)]})
    supervisor.start(_server(supervisor, ORPHAN_WITH_ODD_NAME))
    try:
        since = supervisor.mark()
        os.kill(supervisor.pid_of(1), signal.SIGKILL)
        supervisor.event("generation_ready", since, timeout=10)
    finally:
        orphans = set(proc.children(supervisor.pid)) - {supervisor.pid_of(1)} - supervisor.made_ahead()
        for each in orphans:
            os.kill(each, signal.SIGKILL)
    assert len(orphans) == 2, "each run has left one"


def test_one_that_floods_its_notify_socket_keeps_nobody_waiting(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(service={"command": [str(supervisor.current)]}, handoff={"probation": "50ms"})
    supervisor.start(_server(supervisor, FLOODS))
    assert supervisor.serving()["generation"] == 1
    assert supervisor.event("handoff_ended", _upgrade(supervisor, v1), timeout=15)["result"] == "committed"


def _upgrade(supervisor: Supervisor, program: Path) -> int:
    supervisor.use(program)
    return supervisor.signal(signal.SIGHUP)


def test_one_that_asks_for_more_time_than_a_number_can_say_gets_what_there_is(supervisor: Supervisor) -> None:
    supervisor.configure(service={"command": [str(supervisor.current)]})
    supervisor.start(_server(supervisor, EXTENDS_FOR_EVER))
    assert supervisor.serving()["says"] == "said"


def test_an_output_that_nobody_reads_is_refused(supervisor: Supervisor, v1: Path) -> None:
    out = supervisor.folder / "out"
    supervisor.configure(service={"stdout": str(out)})
    supervisor.start(v1)
    out.unlink()
    os.mkfifo(out)
    ended = supervisor.event("handoff_ended", _upgrade(supervisor, v1), timeout=10)
    assert ended["result"] == "rolled back"
    assert "nobody reads" in ended["reason"]
    assert supervisor.get().version == "v1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open what the server's user cannot")
def test_a_link_in_the_place_of_its_output_is_not_followed(supervisor: Supervisor, v1: Path) -> None:
    logs, private = supervisor.folder / "logs", supervisor.folder / "private"
    logs.mkdir()
    os.chown(logs, 65534, -1)
    supervisor.configure(service={"stdout": str(logs / "out")})
    supervisor.start(v1)
    (logs / "out").unlink()
    (logs / "out").symlink_to(private)
    assert "it is a link" in supervisor.hup(v1)["reason"]
    assert not private.exists()
