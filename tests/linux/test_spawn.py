"""Held processes, on the real kernel. They are made in a process of their own, whose fds are rearranged for them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

SET_UP = """
import os, select, signal, sys, time
from supervisor.linux import process, spawn
spawn.close_inherited_fds()
window = spawn.FdWindow(8)
def command(*argv, **more):
    return spawn.Command(**{"argv": argv, "environment": {"PATH": os.environ["PATH"]}, "directory": "/", **more})
def ended(held):
    select.select([held.child.pidfd], [], [], 20)
    result = held.child.reap()
    held.settle(0)
    return result
"""


def tell(script: str) -> str:
    """What a process that holds others prints."""
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_held_process_runs_nothing_until_it_is_let_go(tmp_path: Path) -> None:
    told = tell(f"""
held = spawn.spawn(command("/bin/sh", "-c", "echo ran > {tmp_path}/mark"), [], window)
print(process.comm(held.child.pid) in ("sh", "gapless-held"), os.path.exists("{tmp_path}/mark"))
held.let_go()
print(ended(held).status, os.path.exists("{tmp_path}/mark"))
""")
    assert told == "True False\n0 True\n"


def test_a_held_process_ends_when_its_supervisor_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SET_UP
            + f"""
held = spawn.spawn(command("/bin/sh", "-c", "echo ran > {tmp_path}/mark"), [], window)
print(held.child.pid, flush=True)
signal.pause()
""",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    pidfd = os.pidfd_open(int(holder.stdout.readline()))
    holder.kill()
    holder.wait()
    holder.stdout.close()

    assert select.select([pidfd], [], [], 20)[0], "the held process has ended"
    os.close(pidfd)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("argv", "failed", "status"),
    [
        ('"/no/such/file"', True, 127),
        ('"/etc/passwd"', True, 126),
        ('"/bin/sh", "-c", "exit 127"', False, 127),
        ('"/bin/sh", "-c", "exit 126"', False, 126),
    ],
)
def test_a_failed_exec_is_told_from_a_status_of_the_server(argv: str, failed: bool, status: int) -> None:  # noqa: FBT001 - a parameter
    told = tell(f"held = spawn.spawn(command({argv}), [], window); held.let_go(); print(ended(held))")
    assert f"status={status}" in told
    assert f"exec_failed={failed}" in told


def test_it_gets_its_fds_from_3_up_and_no_other() -> None:
    told = tell("""
fds = [os.open("/dev/zero", os.O_RDONLY) for _ in range(3)]
held = spawn.spawn(command("/bin/sh", "-c", "ls -l /proc/$$/fd"), fds, window)
held.let_go()
ended(held)
""")
    rows = [line.split() for line in told.splitlines() if "->" in line]
    found = {row[-3]: row[-1] for row in rows}
    assert found.keys() == {"0", "1", "2", "3", "4", "5"}
    assert found["0"] == "/dev/null"
    assert {found[number] for number in ("3", "4", "5")} == {"/dev/zero"}


def test_its_environment_is_what_was_asked_for_and_its_own_pid() -> None:
    told = tell("""
held = spawn.spawn(command("/usr/bin/env", environment={"A": "1", "a.b": "2", "LISTEN_FDS": "1"}), [], window)
sys.stdout.flush()
print(held.child.pid, flush=True)
held.let_go()
ended(held)
""").splitlines()
    pid = told[0]
    assert set(told[1:]) == {"A=1", "a.b=2", "LISTEN_FDS=1", f"LISTEN_PID={pid}"}


def test_signals_are_as_a_login_shell_leaves_them() -> None:
    told = tell("""
signal.signal(signal.SIGHUP, lambda *_: None)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
held = spawn.spawn(command("/bin/cat", "/proc/self/status"), [], window)
held.let_go()
ended(held)
""")
    masks = dict(line.split(":\t") for line in told.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt")))
    assert {name: int(mask, 16) for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}


def test_limits_are_in_force_before_it_runs() -> None:
    told = tell("""
held = spawn.spawn(command("/bin/sh", "-c", "ulimit -Sn; ulimit -Hn", limits=[("nofile", 100, 200)]), [], window)
held.let_go()
ended(held)
""")
    assert told == "100\n200\n"


def test_a_directory_that_is_not_there_is_named() -> None:
    told = tell("""
try:
    spawn.spawn(command("/bin/true", directory="/no/such/place"), [], window)
except Exception as error:
    print(type(error).__name__, error)
""")
    assert told == "HostError cannot start /bin/true in /no/such/place: No such file or directory\n"
