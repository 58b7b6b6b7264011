"""A supervisor is killed, and the next one goes on: with the same processes, on the same sockets, by the same rules."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.load import Load
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor

SAYS_SO_LATE = """#!{python} -IS
import os, socket
listening = socket.socket(fileno=3)
open("{fifo}").read()
os.write(int(os.environ["READY_FD"]), b"ready\\n")
{then}
while True:
    made, _ = listening.accept()
    made.recv(1000)
    made.sendall(b"HTTP/1.1 200 OK\\r\\nX-Version: late\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    made.close()
"""


def test_at_rest_nothing_is_noticed(supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    running = load(supervisor)
    server = supervisor.pid_of(1)
    for _ in range(3):
        running.answered(300)
        over = supervisor.taken_over()
        assert (over["alive"], over["gone"]) == ([1], [])
        assert supervisor.serving()["pid"] == server
    running.answered(300)
    supervisor.upgrade(v2)
    supervisor.upgrade(v1)
    running.stop().no_failures()
    assert [each["result"] for each in supervisor.history()] == ["committed"] * 2
    assert supervisor.stop() == 0
    assert not supervisor.left_behind()


@pytest.mark.parametrize(
    ("phase", "probation"),
    [("verify", "0s"), ("start", "3s"), ("ready", "0s"), ("shift", "0s"), ("probation", "0s"), ("probation", "3s")],
)
def test_in_every_phase_the_handoff_goes_on(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path, phase: str, probation: str
) -> None:
    supervisor.configure(handoff={"probation": probation})
    supervisor.start(v1)
    running = load(supervisor, rate=500)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase=phase)
    supervisor.taken_over()
    supervisor.settled(mark)
    (entry,) = supervisor.history()
    assert supervisor.get().version == ("v2" if entry["result"] == "committed" else "v1")
    if phase == "probation":
        assert entry["result"] == "committed"
    running.answered(300)
    running.stop().no_failures()
    assert supervisor.stop() == 0
    assert not supervisor.left_behind()


def test_a_candidate_that_dies_while_nobody_looks_is_rolled_back_at_once(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    running = load(supervisor, rate=300)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    running.answered(200, "v2")
    kept = supervisor.kill()
    candidate = supervisor.pid_of(2)
    os.kill(candidate, signal.SIGKILL)
    assert proc.gone(candidate, DEADLINE)
    supervisor.spawn(says=kept)
    over = supervisor.event("taken_over", mark)
    assert (over["alive"], over["gone"]) == ([1], [2])
    ended = supervisor.event("handoff_ended", mark)
    assert ended["result"] == "rolled back"
    assert ended["reason"].startswith("died in probation")
    running.answered(200, "v1")


def test_the_server_that_dies_meanwhile_is_started_again(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    kept = supervisor.kill()
    server = supervisor.pid_of(1)
    os.kill(server, signal.SIGKILL)
    assert proc.gone(server, DEADLINE)
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark)
    assert supervisor.serving()["pid"] != server
    assert supervisor.get().version == "v1"


def test_one_that_was_taken_back_is_watched_like_any_other(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    supervisor.taken_over()
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(1), signal.SIGKILL)
    down = supervisor.event("generation_down", mark)
    assert down["exit"] in {"killed by SIGKILL", "exit status unknown"}
    supervisor.event("generation_ready", mark, generation=1)
    assert supervisor.get().version == "v1"


@pytest.mark.parametrize("then", ["", 'os.close(int(os.environ["READY_FD"]))'], ids=["kept", "closed"])
def test_who_says_that_it_is_ready_while_nobody_listens_is_believed(
    supervisor: Supervisor, v1: Path, then: str
) -> None:
    """Writing to the pipe is not the end of it, either: there is no SIGPIPE."""
    supervisor.configure(handoff={"probation": "100ms"}, service={"command": [str(supervisor.current)]})
    supervisor.start(v1)
    late = supervisor.folder / "late"
    os.mkfifo(fifo := supervisor.folder / "fifo")
    late.write_text(SAYS_SO_LATE.format(python=sys.executable, fifo=fifo, then=then))
    late.chmod(0o755)
    supervisor.use(late)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="ready")
    kept = supervisor.kill()
    candidate = supervisor.pid_of(2)
    fifo.write_text("say so")
    supervisor.spawn(says=kept)
    ended = supervisor.event("handoff_ended", mark)
    assert ended["result"] == "committed", ended
    assert supervisor.serving()["pid"] == candidate


def test_quit_leaves_the_children_for_the_next_one(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    running = load(supervisor, rate=500)
    kept, mark = supervisor.keep_output(), supervisor.signal(signal.SIGQUIT)
    assert supervisor.ended() == 0
    running.answered(200)
    supervisor.spawn(says=kept)
    assert supervisor.event("taken_over", mark)["alive"] == [1]
    supervisor.upgrade(v2)
    running.answered(200)
    running.stop().no_failures()


def test_a_drain_goes_on(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    slow = supervisor.ask("/slow?ms=10000")
    mark = supervisor.mark()
    supervisor.upgrade(v2)
    supervisor.event("generation_told", mark, generation=1)
    assert supervisor.taken_over()["alive"] == [1, 2]
    assert b"200 OK" in slow.recv(10000)
    assert supervisor.event("generation_ended", mark, generation=1)["exit"] in {"exit status 0", "exit status unknown"}
    assert supervisor.history()[-1]["report"]["drain"] is not None


def test_a_stop_that_was_cut_short_is_finished_and_the_service_begun_anew(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    slow = supervisor.ask("/slow?ms=10000")
    mark = supervisor.signal(signal.SIGTERM)
    supervisor.event("generation_told", mark, generation=1)
    supervisor.use(v2)
    supervisor.spawn(says=supervisor.kill())
    supervisor.event("generation_ready", mark, generation=2)
    assert supervisor.get().version == "v2"
    assert b"200 OK" in slow.recv(10000)
    supervisor.event("generation_ended", mark, generation=1)
    assert [each["generation"] for each in supervisor.status()["generations"]] == [2]


def test_a_stopped_service_begins_anew(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.upgrade(v2)
    kept, mark = supervisor.keep_output(), supervisor.mark()
    assert supervisor.stop() == 0
    supervisor.use(v1)
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark, generation=1)
    assert not supervisor.events("taken_over", since=mark)
    assert supervisor.get().version == "v1"
    assert supervisor.command("rollback").returncode == 0
    assert len(supervisor.history()) == 2


KINDS = {
    "six": [{"name": "http", "address": "[::1]:0"}],
    "both": [{"name": "http", "address": "127.0.0.1:0"}, {"name": "admin", "address": "[::1]:0"}],
    "path": [{"name": "http", "address": "unix:FOLDER/http.sock"}],
    "path, shared": [{"name": "http", "address": "unix:FOLDER/http.sock", "mode": "shared"}],
    "abstract": [{"name": "http", "address": "unix:@FOLDER"}],
    "shared": [{"name": "http", "address": "127.0.0.1:0", "mode": "shared"}],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_listener_is_taken_back(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path, kind: str
) -> None:
    listen = json.loads(json.dumps(KINDS[kind]).replace("FOLDER", str(supervisor.folder)))
    supervisor.configure(listen=listen, handoff={"probation": "1s"})
    supervisor.start(v1)
    running = load(supervisor, supervisor.addresses, rate=500)
    for program, version in ((v2, "v2"), (v1, "v1")):
        supervisor.taken_over()
        supervisor.use(program)
        mark = supervisor.signal(signal.SIGHUP)
        supervisor.event("phase", mark, phase="probation")
        supervisor.taken_over()
        assert supervisor.event("handoff_ended", mark)["result"] == "committed"
        running.answered(100, version)
    running.stop().no_failures()
    assert supervisor.stop() == 0


def test_three_generations_keep_their_places(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    """Steering goes by places in the kernel's group, which nobody can ask it for."""
    supervisor.configure(handoff={"probation": "0s"}, drain={"timeout": "60s"})
    supervisor.start(v1)
    slow = [supervisor.ask("/slow?ms=8000")]
    running = load(supervisor, rate=500)
    supervisor.upgrade(v2)
    slow.append(supervisor.ask("/slow?ms=8000"))
    supervisor.upgrade(v1)
    supervisor.use(v2)
    supervisor.configure(handoff={"probation": "2s"})
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    assert supervisor.taken_over()["alive"] == [1, 2, 3, 4]
    seen = {supervisor.get().pid for _ in range(50)}
    assert seen == {supervisor.pid_of(4)}
    ended = supervisor.event("handoff_ended", mark)
    assert ended["result"] == "committed", ended
    supervisor.upgrade(v1)
    for each in slow:
        assert b"200 OK" in each.recv(10000)
    running.stop().no_failures()


def test_a_damaged_journal_is_refused_while_the_server_runs_and_put_aside_after(
    supervisor: Supervisor, v1: Path
) -> None:
    supervisor.start(v1)
    kept = supervisor.kill()
    journal = supervisor.folder / "state" / "journal.json"
    journal.write_text('{"format": 99}\n')
    server = supervisor.pid_of(1)
    supervisor.spawn(says=os.fdopen(os.dup(kept.fileno()), "wb", buffering=0))
    assert supervisor.ended() == 1
    supervisor.output.until("the reason", lambda: any("newer version" in line for line in supervisor.output.text))
    assert any(f"kill {server}" in line for line in supervisor.output.text)
    assert supervisor.get().pid == server
    os.kill(server, signal.SIGKILL)
    assert proc.gone(server, DEADLINE)
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    assert "newer version" in supervisor.event("journal_unreadable", mark)["reason"]
    supervisor.event("generation_ready", mark)
    assert journal.with_suffix(".json.unreadable").read_text() == '{"format": 99}\n'


def test_after_another_boot_it_begins_anew_and_says_what_was_interrupted(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    supervisor.use(v2)
    supervisor.event("phase", supervisor.signal(signal.SIGHUP), phase="probation")
    kept = supervisor.kill()
    for pid in supervisor.left_behind():
        os.kill(pid, signal.SIGKILL)
        assert proc.gone(pid, DEADLINE)
    journal = supervisor.folder / "state" / "journal.json"
    written = json.loads(journal.read_text().splitlines()[-1])
    journal.write_text(json.dumps({**written, "boot": "another"}) + "\n")
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "supervisor and server have ended meanwhile")
    supervisor.event("generation_ready", mark, generation=1)
    assert supervisor.history()[-1]["result"] == "rolled back"


def test_what_was_held_when_it_died_is_cleared_away(supervisor: Supervisor, v1: Path) -> None:
    """A process that bears the service's name and belongs to nobody, in a session of its own."""
    supervisor.start(v1)
    environment = proc.environment(supervisor.pid_of(1)) | {"GAPLESS_GENERATION": "77"}
    with subprocess.Popen(["/bin/sleep", "1000"], env=environment, start_new_session=True) as stray:
        supervisor.taken_over()
        assert stray.wait(DEADLINE) == -signal.SIGKILL
    assert supervisor.serving()["starts"] == 1


def test_a_stranger_s_process_with_the_same_number_is_no_child(supervisor: Supervisor, v1: Path) -> None:
    """The pid is told with the start of its process."""
    supervisor.start(v1)
    kept = supervisor.kill()
    server = supervisor.pid_of(1)
    journal = supervisor.folder / "state" / "journal.json"
    written = json.loads(journal.read_text().splitlines()[-1])
    written["state"]["generations"][0]["process"]["start_ticks"] += 1
    journal.write_text(json.dumps(written) + "\n")
    os.kill(server, signal.SIGSTOP)
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark)
    assert supervisor.get().pid != server
    assert proc.state(server) in {"", "Z"}, "it bears a generation's number that lives no more"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")
def test_a_server_of_another_user_is_taken_back(supervisor: Supervisor, v2: Path) -> None:
    supervisor.configure(service={"user": "nobody", "command": [str(supervisor.current)]})
    supervisor.start(v2)
    assert supervisor.taken_over()["alive"] == [1]
    supervisor.upgrade()


def test_udp_goes_on(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(
        listen=[{"name": "http", "address": "127.0.0.1:0"}, {"name": "echo", "address": "udp://127.0.0.1:0"}]
    )
    supervisor.start(v1)
    host, _, port = supervisor.addresses[1].removeprefix("udp://").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE)
        client.connect((host, int(port)))
        for version in ("v1", "v2"):
            supervisor.taken_over()
            client.send(b"hello")
            assert client.recv(100)
            if version == "v1":
                supervisor.upgrade(v2)
