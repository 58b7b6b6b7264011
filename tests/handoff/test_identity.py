"""As whom a server runs, with what rights and within what limits: as the kernel tells it of the living process."""

import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import network, proc
from tests.harness.supervisor import Supervisor

NET_BIND_SERVICE = 1 << 10
NOBODY = 65534

SILENT = """#!{python} -IS
import os, signal
os.write(int(os.environ["READY_FD"]), b"ready\\n")
signal.pause()
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user, with capabilities, needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may come."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(folder: Path, v1: Path) -> str:
    copy = folder / "server"
    copy.write_bytes(v1.read_bytes())
    copy.chmod(0o755)
    return str(copy)


def capabilities(pid: int) -> dict[str, int]:
    return {key[3:]: int(value, 16) for key, value in proc.status(pid).items() if key.startswith("Cap")}


@needs_root
@pytest.mark.parametrize(
    ("asked", "has"),
    [
        (["net_bind_service"], NET_BIND_SERVICE),
        (["CAP_NET_BIND_SERVICE", "sys_nice"], NET_BIND_SERVICE | 1 << 23),
        ([], 0),
    ],
)
@pytest.mark.parametrize("user", ["nobody", None])
def test_capabilities(supervisor: Supervisor, server: str, asked: list[str], has: int, user: str | None) -> None:
    supervisor.configure(
        service={"user": user, "capabilities": asked, "command": [server, "-notify"], "directory": "/"}
    )
    supervisor.spawn()
    supervisor.event("generation_ready")
    found = capabilities(supervisor.pid_of(1))
    assert {found["Prm"], found["Eff"], found["Inh"], found["Amb"]} == {has}
    assert (found["Bnd"] == has) is (user is None), "root would get again what it is not bound to be without"
    assert set(proc.status(supervisor.pid_of(1))["Uid"].split()) == {"65534" if user else "0"}


@needs_root
def test_groups_nice_value_oom_score_and_limits(supervisor: Supervisor, server: str) -> None:
    supervisor.configure(
        service={
            "user": "nobody",
            "groups": ["daemon", "adm"],
            "nice": -5,
            "oom_score_adj": 500,
            "limits": {"nice": 0, "msgqueue": "4096:8192", "rttime": 5000000, "locks": 77},
            "command": [server, "-notify"],
            "directory": "/",
        }
    )
    supervisor.spawn()
    supervisor.event("generation_ready")
    pid = supervisor.pid_of(1)
    assert os.getpriority(os.PRIO_PROCESS, pid) == -5
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    assert os.getpriority(os.PRIO_PROCESS, supervisor.pid) == os.getpriority(os.PRIO_PROCESS, 0)
    status = proc.status(pid)
    assert set(status["Groups"].split()) == {"1", "4"}
    assert set(status["Uid"].split() + status["Gid"].split()) == {str(NOBODY)}
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    assert {
        "Max nice priority 0 0",
        "Max msgqueue size 4096 8192 bytes",
        "Max realtime timeout 5000000 5000000 us",
        "Max file locks 77 77 locks",
    } <= {" ".join(line.split()) for line in limits}


@needs_root
def test_groups_alone(supervisor: Supervisor, server: str) -> None:
    supervisor.configure(service={"groups": ["daemon"], "group": "adm", "command": [server, "-notify"]})
    supervisor.spawn()
    supervisor.event("generation_ready")
    status = proc.status(supervisor.pid_of(1))
    assert set(status["Uid"].split()) == {"0"}
    assert set(status["Gid"].split()) == {"4"}
    assert status["Groups"].split() == ["1"]


def test_gapless_may_open_more_files_than_it_lets_the_server(supervisor: Supervisor) -> None:
    """Not a server in Go, which raises its own limit."""
    program = supervisor.folder / "program"
    program.write_text(SILENT.format(python=sys.executable))
    program.chmod(0o755)
    supervisor.configure(service={"command": [str(supervisor.current)]}, ready={"probe": False})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    supervisor.network.prefix = ("prlimit", f"--nofile=512:{hard}", "--")
    supervisor.start(program)
    assert resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    assert resource.prlimit(supervisor.pid_of(1), resource.RLIMIT_NOFILE) == (512, hard)


def test_what_the_kernel_does_not_allow_is_a_reason(supervisor: Supervisor, v1: Path) -> None:
    """A handoff to such a configuration is rolled back, and the server stays."""
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    supervisor.start(v1)
    supervisor.configure(service={"limits": {"nofile": most + 1}})
    ended = supervisor.hup()
    assert ended["result"] == "rolled back"
    assert f"cannot set the limit nofile to {most + 1}:{most + 1}" in ended["reason"]
    assert supervisor.serving()["generation"] == 1


@pytest.fixture
def ordinary(folder: Path, server: str) -> Iterator[Supervisor]:
    """As an ordinary user in a network of its own, to listen on port 80 there."""
    where = network.network(migrate=False)
    made = Supervisor(folder, where)
    for each in (folder, *folder.iterdir()):
        os.chown(each, NOBODY, NOBODY)
    made.configure(service={"command": [server, "-notify"]}, listen=[{"name": "http", "address": "127.0.0.1:80"}])
    yield made
    made.close()
    where.close()


def as_nobody(supervisor: Supervisor, *names: str) -> None:
    """Start it so. Our interpreter may lie where only root may look, hence one capability in any case."""
    chosen = ",".join(["-all", "+dac_read_search", *(f"+{name}" for name in names)])
    identity = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    supervisor.network.prefix += ("setpriv", *identity, f"--inh-caps={chosen}", f"--ambient-caps={chosen}", "--")
    runtime = supervisor.folder / "run"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, NOBODY, NOBODY)
    supervisor.spawn({"XDG_RUNTIME_DIR": str(runtime)})


@needs_root
@pytest.mark.parametrize(("keys", "keeps"), [({}, True), ({"capabilities": []}, False)])
def test_a_privileged_port_as_an_ordinary_user(ordinary: Supervisor, keys: dict[str, list[str]], keeps: bool) -> None:  # noqa: FBT001 - a parameter
    ordinary.configure(service=keys)
    as_nobody(ordinary, "net_bind_service")
    ordinary.event("generation_ready")
    assert ordinary.get().version == "v1"
    assert set(proc.status(ordinary.pid)["Uid"].split()) == {str(NOBODY)}
    assert bool(capabilities(ordinary.pid_of(1))["Eff"] & NET_BIND_SERVICE) is keeps
    assert ordinary.upgrade()["to_generation"] == 2


@needs_root
def test_a_privileged_port_that_may_not_be_bound_says_what_would_do(ordinary: Supervisor) -> None:
    as_nobody(ordinary)
    assert ordinary.ended() == 1
    ordinary.output.close()
    said = "\n".join(ordinary.output.text)
    assert "127.0.0.1:80 may not be bound" in said
    assert all(way in said for way in ("root", "AmbientCapabilities=", "ip_unprivileged_port_start to 80"))
