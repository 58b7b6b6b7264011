"""What a child gets: exactly what the contract says, and nothing else."""

import os
import signal
import sys
from pathlib import Path

import pytest

from supervisor.config.values import OF_A_SHELL
from tests.harness import proc
from tests.harness.supervisor import Supervisor

CONTRACT = {
    "LISTEN_FD",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "READY_FD",
    "NOTIFY_SOCKET",
    "GAPLESS_GENERATION",
    "GAPLESS_RELEASE",
    "GAPLESS_SERVICE",
}

SERVER = """#!{python} -IS
import os, resource, socket, sys, time
sock = socket.socket(fileno=3)
os.write(int(os.environ["READY_FD"]), b"ready\\n")
print("umask %04o" % os.umask(0), flush=True)
print("said on stderr", file=sys.stderr, flush=True)
while True:
    sock.accept()[0].close()
"""


@pytest.fixture
def program(supervisor: Supervisor) -> Path:
    """A server that keeps all that it was given open."""
    path = supervisor.folder / "server"
    path.write_text(SERVER.format(python=sys.executable))
    path.chmod(0o755)
    supervisor.folder.chmod(0o755)
    supervisor.configure(service={"command": [str(supervisor.current), "--a word", "$HOME"]})
    return path


def test_its_fds_are_the_standard_three_the_sockets_and_the_pipe(supervisor: Supervisor, program: Path) -> None:
    supervisor.configure(listen=[{"name": name, "address": "127.0.0.1:0"} for name in ("http", "admin", "metrics")])
    supervisor.configure(ready={"probe": False})  # it accepts on the first alone
    supervisor.start(program)
    fds = proc.fds(supervisor.pid_of(1))
    assert sorted(fds) == [0, 1, 2, 3, 4, 5, 6]
    assert fds[0] == "/dev/null"
    assert all(fds[number].startswith("socket:") for number in (3, 4, 5))
    assert len({fds[number] for number in (3, 4, 5)}) == 3
    assert fds[6].startswith("pipe:")
    environment = proc.environment(supervisor.pid_of(1))
    assert (environment["LISTEN_FDS"], environment["READY_FD"]) == ("3", "6")
    assert environment["LISTEN_FDNAMES"] == "http:admin:metrics"


def test_its_environment_is_the_supervisors_and_the_contract(supervisor: Supervisor, program: Path) -> None:
    systemds = {
        "LISTEN_FDS": "9",
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x",
        "WATCHDOG_USEC": "5",
        "WATCHDOG_PID": "1",
        "LISTEN_FD": "8",
        "READY_FD": "7",
    }
    configured = {"PLAIN": "1 2", "a.b": "dotted", "with-dash": "=x=", "EMPTY": ""}
    supervisor.configure(service={"environment": configured})
    supervisor.start(program, systemds | dict.fromkeys(OF_A_SHELL, "stale") | {"INHERITED": "yes"})
    pid = supervisor.pid_of(1)
    found = proc.environment(pid)
    own = proc.environment(supervisor.pid)
    kept = {name: value for name, value in own.items() if name not in systemds and name not in OF_A_SHELL}
    assert {name: value for name, value in found.items() if name not in CONTRACT} == kept | configured
    assert set(found) >= CONTRACT
    assert found["INHERITED"] == "yes"
    assert found["LISTEN_PID"] == str(pid)
    assert (found["LISTEN_FD"], found["LISTEN_FDS"], found["READY_FD"]) == ("3", "1", "4")
    assert found["GAPLESS_GENERATION"] == "1"
    assert found["GAPLESS_SERVICE"] == supervisor.name
    assert found["GAPLESS_RELEASE"] == supervisor.serving()["release"]["id"]


def test_names_that_a_shell_has_its_own_ideas_of_are_passed_on_as_they_are(
    supervisor: Supervisor, program: Path
) -> None:
    configured = dict.fromkeys(("PWD", "OLDPWD", "IFS", "PPID", "OPTIND", "SHLVL", "PS1", "_", "LINENO"), "as it is")
    supervisor.configure(service={"environment": configured})
    supervisor.use(program)
    supervisor.spawn()
    supervisor.event("generation_ready", timeout=10)
    found = proc.environment(supervisor.pid_of(1))
    assert {name: found.get(name) for name in configured} == configured


def test_its_signals_group_and_arguments(supervisor: Supervisor, program: Path) -> None:
    supervisor.start(program)
    pid = supervisor.pid_of(1)
    status = proc.status(pid)
    assert int(status["SigBlk"], 16) == 0
    of_python = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # the server's own, being Python
    assert int(status["SigIgn"], 16) & ~of_python == 0
    assert os.getpgid(pid) == pid
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert words[-4:-1] == [str(program).encode(), b"--a word", b"$HOME"]


def test_no_signal_is_ignored_that_was_not_before(supervisor: Supervisor) -> None:
    """sleep(1) sets none of its own, so what it has is what it was given."""
    supervisor.configure(service={"command": [str(supervisor.current), "1000"]})
    supervisor.use("/bin/sleep")
    supervisor.spawn()
    supervisor.event("generation_started")
    pid = supervisor.pid_of(1)
    supervisor.output.until("its exec", lambda: proc.state(pid), 5)
    while b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
        pass
    status = proc.status(pid)
    assert {int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")} == {0}


def test_umask_limits_directory_and_output(supervisor: Supervisor, program: Path) -> None:
    folder = supervisor.folder
    (folder / "work").mkdir()
    supervisor.configure(
        service={
            "umask": "0027",
            "limits": {"nofile": "333:444", "core": 0},
            "directory": str(folder / "work"),
            "stdout": str(folder / "out.log"),
            "stderr": str(folder / "err.log"),
        }
    )
    supervisor.start(program)
    pid = supervisor.pid_of(1)
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max open files            333                  444" in limits
    assert "Max core file size        0                    0 " in limits
    assert Path(f"/proc/{pid}/cwd").readlink() == folder / "work"
    assert proc.status(pid)["Umask"] in {"0027", "0000"}  # the server sets it to 0 to learn what it was
    fds = proc.fds(pid)
    assert (fds[1], fds[2]) == (str(folder / "out.log"), str(folder / "err.log"))
    assert supervisor.stop() == 0
    assert (folder / "out.log").read_text() == "umask 0027\n"
    assert (folder / "err.log").read_text() == "said on stderr\n"
    assert "said on stderr" not in supervisor.output.text


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_user_and_group(supervisor: Supervisor, program: Path, v1: Path) -> None:
    del program
    supervisor.folder.chmod(0o755)
    supervisor.connections.chmod(0o666)
    copy = Path("/var/tmp") / f"{supervisor.name}-server"  # noqa: S108 - where another user may come, and with a name of our own
    try:
        copy.write_bytes(v1.read_bytes())
        copy.chmod(0o755)
        supervisor.configure(
            service={"user": "nobody", "group": "daemon", "command": [str(copy), "-notify"], "directory": "/"}
        )
        supervisor.spawn()
        supervisor.event("generation_ready")
        assert supervisor.serving()["ready_by"] == "notify"
        pid = supervisor.pid_of(1)
        status = proc.status(pid)
        assert set(status["Uid"].split()) == {"65534"}
        assert len(set(status["Gid"].split())) == 1
        assert status["Gid"].split()[0] != "0"
        assert "0" not in status["Groups"].split()
        assert int(status["CapEff"], 16) == 0
        environment = proc.environment(pid)
        assert (environment["USER"], environment["LOGNAME"]) == ("nobody", "nobody")
        assert supervisor.upgrade()["to_generation"] == 2
    finally:
        copy.unlink(missing_ok=True)


@pytest.mark.timeout(200)
def test_a_hundred_handoffs_leave_no_fd_no_zombie_and_no_memory(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "0s"}, drain={"timeout": "2s", "limit": 100})
    supervisor.start(v1)

    def upgrade(number: int) -> int:
        return int(supervisor.upgrade((v2, v1)[number % 2])["from_generation"])

    def waiting() -> int:
        next_one = supervisor.serving()["generation"] + 1
        return int(supervisor.event("made_ahead", generation=next_one)["pid"])

    def calm() -> tuple[int, int]:
        for number in range(3):
            supervisor.event("generation_ended", generation=upgrade(number))
        waiting()
        return len(proc.fds(supervisor.pid)), int(proc.status(supervisor.pid)["VmRSS"].split()[0])

    for number in range(10):
        upgrade(number)
    fds, memory = calm()
    replaced = [upgrade(number) for number in range(100)]
    for generation in replaced:
        supervisor.event("generation_ended", generation=generation)
    fds_after, memory_after = calm()
    assert fds_after == fds
    assert memory_after < memory + 4096
    newest = supervisor.pid_of(supervisor.serving()["generation"])
    assert set(proc.children(supervisor.pid)) == {newest, waiting()}
    runtime = Path(proc.environment(newest)["NOTIFY_SOCKET"]).parent
    assert len(list(runtime.glob("notify-*"))) == len((newest, waiting()))
