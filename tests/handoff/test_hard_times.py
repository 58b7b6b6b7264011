"""The disk is full or read-only, no process can be forked, the file is gone, the clock jumps: what serves serves on.

And when the cause is gone, all is as it was.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.handoff.conftest import Make
from tests.harness import builds
from tests.harness.crashing import injected, needs_strace
from tests.harness.load import Load
from tests.harness.network import Network
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount: unshare --mount")

JUMPS = """
import time
_real = time.time
def _jumped():
    with open({path!r}) as file:
        return _real() + float(file.read())
time.time = _jumped
"""
"""A sitecustomize.py: the only clock of the supervisor that anybody can set."""


class SmallDisk(Network):
    """The host's network, and a folder that is a file system of 256 KB in a mount namespace of its own."""

    def __init__(self, folder: Path, then: str = "true") -> None:
        """`then` is a command of sh that is run when the folder is there."""
        self.folder = folder
        mount = f'mount -t tmpfs -o size=256k,mode=0700 small {folder} && {then}; exec "$@"'
        self.prefix = ("unshare", "--mount", "--", "sh", "-c", mount, "sh")

    def inside(self, pid: int) -> Path:
        """The folder as that process sees it."""
        return Path(f"/proc/{pid}/root{self.folder}")

    def stay(self, pid: int) -> None:
        """The next command that runs here is to find what that process finds."""
        self.prefix = ("nsenter", f"--target={pid}", "--mount", "--root", "--wd", "--")

    def write_protect(self, pid: int) -> None:
        """By a mount of the same on top of it: one with a file open for writing cannot be made read-only."""
        self._run(pid, "mount", "--bind", str(self.folder), str(self.folder))
        self._run(pid, "mount", "-o", "remount,bind,ro", str(self.folder))

    def allow_writing(self, pid: int) -> None:
        self._run(pid, "umount", str(self.folder))

    @staticmethod
    def _run(pid: int, *words: str) -> None:
        subprocess.run(
            ["nsenter", f"--target={pid}", "--mount", "--root", "--wd", "--", *words], check=True, timeout=DEADLINE
        )


@pytest.fixture
def small(make: Make, tmp_path: Path) -> Supervisor:
    """A supervisor whose state is on a small disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    supervisor = make(SmallDisk(disk))
    supervisor.configure(service={"state_dir": str(disk / "state")})
    return supervisor


def disk_of(supervisor: Supervisor) -> SmallDisk:
    assert isinstance(supervisor.network, SmallDisk)
    return supervisor.network


def fill(path: Path) -> None:
    """Until there is no room for a byte more."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


@needs_mounts
@pytest.mark.parametrize("cause", ["full", "read-only"])
def test_a_state_that_cannot_be_written_costs_no_request(
    small: Supervisor, load: Callable[..., Load], v1: Path, v2: Path, cause: str
) -> None:
    small.start(v1)
    disk, pid = disk_of(small), small.pid
    running = load(small, rate=400)
    running.answered(100)
    mark = small.mark()
    if cause == "full":
        fill(disk.inside(pid) / "filler")
    else:
        disk.write_protect(pid)
    assert small.upgrade(v2)["result"] == "committed"
    said = {"full": "No space left on device", "read-only": "Read-only file system"}[cause]
    assert said in small.event("journal_failed", mark)["reason"]
    assert said in small.event("history_failed", mark)["reason"]
    assert said in small.status()["journal"]
    running.answered(100, "v2")
    if cause == "full":
        (disk.inside(pid) / "filler").unlink()
    else:
        disk.allow_writing(pid)
    small.upgrade(v1)
    small.event("journal_mended", mark)
    assert small.status()["journal"] == "ok"
    assert [each["result"] for each in small.history()] == ["committed"]
    running.stop().no_failures()


@needs_mounts
def test_on_a_full_disk_a_supervisor_goes_on_from_the_one_before(small: Supervisor, v1: Path, v2: Path) -> None:
    small.start(v1)
    disk, server = disk_of(small), small.pid_of(1)
    fill(disk.inside(server) / "filler")
    disk.stay(server)
    over = small.taken_over()
    assert (over["alive"], over["gone"]) == ([1], [])
    assert small.get().pid == server
    small.upgrade(v2)
    (disk.inside(small.pid_of(2)) / "filler").unlink()
    small.upgrade(v1)
    assert small.status()["journal"] == "ok"


@needs_mounts
def test_a_full_disk_keeps_no_service_from_its_start(make: Make, tmp_path: Path, v1: Path) -> None:
    full = make(SmallDisk(tmp_path, f"dd if=/dev/zero of={tmp_path}/filler 2>/dev/null"))
    full.configure(service={"state_dir": str(tmp_path / "state")})
    full.start(v1)
    assert full.get().version == "v1"
    assert "No space left on device" in full.status()["journal"]
    (disk_of(full).inside(full.pid) / "filler").unlink()
    full.upgrade(v1)
    assert full.status()["journal"] == "ok"


NOTHING_CAN_BE_FORKED = ("fork,vfork,clone,clone3", "error=EAGAIN")
"""As at RLIMIT_NPROC, which root would not feel (clone(2))."""


@needs_strace
def test_without_a_process_to_be_had_a_handoff_ends_and_the_next_one_succeeds(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    running = load(supervisor, rate=400)
    with injected(supervisor.pid, *NOTHING_CAN_BE_FORKED):
        for change in ({}, {"timeout": "21s"}):  # with it, there is a configuration to be read, by a process
            supervisor.configure(drain=change)
            ended = supervisor.hup(v2)
            assert ended["result"] != "committed"
            assert "Resource temporarily unavailable" in ended["reason"]
    running.answered(100, "v1")
    supervisor.upgrade(v2)
    running.answered(100, "v2")
    running.stop().no_failures()


@needs_strace
def test_a_server_that_dies_while_none_can_be_forked_comes_back_later(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(restart={"delay": "50ms", "longest": "100ms"})
    supervisor.start(v1)
    mark = supervisor.mark()
    with injected(supervisor.pid, *NOTHING_CAN_BE_FORKED):
        os.kill(supervisor.pid_of(1), signal.SIGKILL)
        down = supervisor.event("restart_due", mark, deaths=3)
        assert "Resource temporarily unavailable" in supervisor.events("generation_down", since=mark)[-1]["exit"]
        waiting = supervisor.ask()
    supervisor.event("generation_ready", down.index)
    with waiting:
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")


def test_a_binary_that_is_deleted_in_mid_upgrade_serves_and_comes_back_with_its_file(
    supervisor: Supervisor, v1: Path
) -> None:
    slow = builds.go_server("slow", "-start-delay=700ms")
    pinned = supervisor.folder / "server"
    shutil.copy(slow, pinned)
    supervisor.configure(restart={"delay": "50ms", "longest": "100ms"})
    supervisor.start(v1)
    supervisor.use(pinned)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("generation_started", mark, generation=2)
    supervisor.event("phase", mark, phase="ready")
    exe = Path(f"/proc/{supervisor.pid_of(2)}/exe")
    while exe.readlink() != pinned:
        pass  # the shell that holds it has yet to become it
    pinned.unlink()
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    ended = supervisor.hup()
    assert ended["result"] == "refused"
    assert "which is not there" in ended["reason"]
    assert supervisor.get().version == "slow"
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(2), signal.SIGKILL)
    supervisor.event("restart_due", mark, deaths=2)
    assert str(pinned) in supervisor.events("generation_down", since=mark)[-1]["exit"]
    shutil.copy(slow, pinned)
    supervisor.event("generation_ready", mark, generation=2)
    assert supervisor.get().version == "slow"


def test_a_clock_that_jumps_changes_nothing_but_what_is_told(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    offset = supervisor.folder / "offset"
    offset.write_text("0")
    (supervisor.folder / "sitecustomize.py").write_text(JUMPS.format(path=str(offset)))
    supervisor.configure(handoff={"probation": "200ms"}, health={"watchdog": "2s"}, recycle={"age": "1h"})
    supervisor.start(v1, {"PYTHONPATH": str(supervisor.folder)})
    for number, (days, program) in enumerate(((4000, v2), (-8000, v1), (-4000, v2)), 1):
        offset.write_text(str(days * 86400))
        ended = supervisor.upgrade(program)
        assert ended["handoff"] == number
        assert 0.2 <= ended["seconds"] < 10
        assert supervisor.get().version == {v1: "v1", v2: "v2"}[program]
        (entry,) = supervisor.history()[-1:]
        assert (entry["handoff"], entry["phases"]["probation"] < 5) == (number, True)
    said = [each["ended"] for each in supervisor.history()]
    assert said[1] < said[2] < said[0], "or the clock has not jumped"
    supervisor.event("generation_ended", generation=3)
    over = supervisor.taken_over()  # by one that has the time of day
    assert (over["alive"], over["gone"]) == ([4], [])
    assert not supervisor.events("generation_ailing")


@needs_mounts
def test_what_could_not_be_written_keeps_the_supervisor_from_its_replacement(
    small: Supervisor, v1: Path, v2: Path
) -> None:
    """The next one would know the old generation alone, and end the one that serves."""
    assert isinstance(small.network, SmallDisk)
    small.start(v1)
    small.network.write_protect(small.pid)
    small.upgrade(v2)
    mark = small.signal(signal.SIGUSR2)
    assert "Read-only file system" in small.event("reexec_refused", mark)["reason"]
    assert small.get().version == "v2"
    small.network.allow_writing(small.pid)
    mark = small.signal(signal.SIGUSR2)
    assert small.event("taken_over", mark)["alive"] == [2]
