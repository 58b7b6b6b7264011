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


@pytest.mark.parametrize("held_back", ["[]", "signal.valid_signals()"], ids=["none", "all"])
def test_signals_are_as_a_login_shell_leaves_them(held_back: str) -> None:
    """Also while we hold them back ourselves: a server that could not be told to end would have to be killed."""
    told = tell(f"""
signal.signal(signal.SIGHUP, lambda *_: None)
signal.pthread_sigmask(signal.SIG_SETMASK, {held_back})
held = spawn.spawn(command("/bin/cat", "/proc/self/status"), [], window)
held.let_go()
ended(held)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set({held_back}) - {{signal.SIGKILL, signal.SIGSTOP}}
""")
    masks = dict(line.split(":\t") for line in told.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt")))
    assert {name: int(mask, 16) for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}


@pytest.mark.parametrize("program", ["env", "a=program"])
def test_any_name_and_value_is_passed_on_as_execve_takes_it(tmp_path: Path, program: str) -> None:
    """Without PATH, too; and what looks like an option, or like one more variable, is none."""
    (tmp_path / program).symlink_to("/usr/bin/env")
    tell(f"""
names = ["--help", "-x", "-", "a.b", "a b", "1x", "%", "n\\nl", "\\u00e9", "\\udc80", "PWD", "IFS", "OPTIND", "_"]
names += ["BASH_VERSION", "SHELLOPTS", "POSIXLY_CORRECT", "plain"]
asked = {{name: f"{{name}}=1\\n2 '\\"$x " for name in names}}
folder = {str(tmp_path)!r}
run = command(f"{{folder}}/{program}", "-0", environment=asked, stdout=f"{{folder}}/out")
held = spawn.spawn(run, [], window)
held.let_go()
assert ended(held).status == 0
found = dict(os.fsdecode(each).split("=", 1) for each in open(f"{{folder}}/out", "rb").read().split(b"\\0") if each)
del found["LISTEN_PID"]
assert found == asked, found
""")


def test_a_socket_is_its_standard_input_too_and_the_gate_is_gone() -> None:
    told = tell("""
import socket
fds = [os.open("/dev/zero", os.O_RDONLY) for _ in range(6)]
listening = socket.create_server(("127.0.0.1", 0))
fds.append(listening.fileno())
held = spawn.spawn(command("/bin/sh", "-c", "ls -l /proc/$$/fd; echo pid $LISTEN_PID", stdin=9), fds, window)
held.let_go()
ended(held)
print("want", held.child.pid, os.readlink(f"/proc/self/fd/{listening.fileno()}"))
""")
    rows = [line.split() for line in told.splitlines() if "->" in line]
    found = {int(row[-3]): row[-1] for row in rows}
    _, pid, link = told.splitlines()[-1].split()
    assert sorted(found) == list(range(10))
    assert (found[0], found[9]) == (link, link)
    assert f"pid {pid}" in told


def test_limits_are_in_force_before_it_runs() -> None:
    told = tell("""
script = "ulimit -Sn; ulimit -Hn; ulimit -Sr; grep -c 'file locks *7 *8 ' /proc/self/limits"
limits = spawn.Limits(resources=[("nofile", 100, 200), ("locks", 7, 8), ("rtprio", 0, 0)])
held = spawn.spawn(command("/bin/sh", "-c", script, limits=limits), [], window)
held.let_go()
ended(held)
""")
    assert told == "100\n200\n0\n1\n"


def test_a_window_that_does_not_fit_says_what_would_do() -> None:
    told = tell("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
spawn.close_inherited_fds()
try:
    spawn.FdWindow(257)
except spawn.HostError as error:
    print(error)
""")
    assert "at most 100 files" in told
    assert "LimitNOFILE=" in told


def test_a_directory_that_is_not_there_is_named() -> None:
    told = tell("""
try:
    spawn.spawn(command("/bin/true", directory="/no/such/place"), [], window)
except Exception as error:
    print(type(error).__name__, error)
""")
    assert told == "HostError cannot start /bin/true in /no/such/place: No such file or directory\n"


ORDINARY = """
if os.geteuid() == 0:
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
"""


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("limits=spawn.Limits(nice=-5)", ("cannot set nice to -5", "CAP_SYS_NICE", "LimitNICE=25")),
        ("limits=spawn.Limits(oom_score_adj=-900)", ("cannot set oom_score_adj to -900", "CAP_SYS_RESOURCE")),
        (
            'limits=spawn.Limits(resources=[("core", 0, 0), ("core", 1, 1)])',
            ("cannot set the limit core to 1:1", "at most 0", "LimitCORE="),
        ),
        ("identity=spawn.Identity(user=0, group=0, groups=[])", ("only root may become another user",)),
        ('identity=spawn.Identity(capabilities=["net_admin"])', ("CAP_NET_ADMIN", "AmbientCapabilities=")),
    ],
)
def test_what_an_ordinary_user_may_not_is_refused_with_what_would_do(what: str, says: tuple[str, ...]) -> None:
    told = tell(f"""
{ORDINARY}
try:
    spawn.spawn(command("/bin/echo", "ran", {what}), [], window)
except spawn.HostError as error:
    print(error)
print(os.waitpid(-1, os.WNOHANG) if list(process.children_of(os.getpid())) else "nobody left")
""")
    assert all(each in told for each in says), told
    assert told.endswith("\nnobody left\n")


def test_an_ordinary_user_who_asks_for_no_more_gets_it() -> None:
    told = tell(f"""
{ORDINARY}
who = spawn.Identity(user=os.getuid(), group=os.getgid(), groups=os.getgroups(), capabilities=[])
held = spawn.spawn(command("/bin/grep", "-E", "^Cap(Prm|Amb)", "/proc/self/status", identity=who), [], window)
held.let_go()
print(ended(held).status)
""")
    assert told == "CapPrm:\t0000000000000000\nCapAmb:\t0000000000000000\n0\n"


def test_nice_value_and_oom_score_are_in_force_before_it_runs() -> None:
    told = tell("""
more = spawn.Limits(nice=7, oom_score_adj=900)
held = spawn.spawn(command("/bin/sh", "-c", "nice; cat /proc/self/oom_score_adj", limits=more), [], window)
held.let_go()
ended(held)
""")
    assert told == "7\n900\n"


def test_the_limit_of_open_files_is_raised_for_us() -> None:
    told = tell("""
import resource
from supervisor.linux import limits
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
print(limits.raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
spawn.close_inherited_fds()
window = spawn.FdWindow(257)
zero = os.open("/dev/zero", os.O_RDONLY)
held = spawn.spawn(command("/bin/ls", "/proc/self/fd"), [zero] * 257, window)
held.let_go()
ended(held)
""")
    limits, *numbers = told.splitlines()
    assert limits == "(100, 400) (400, 400)"
    assert sorted(map(int, numbers)) == list(range(3 + 257 + 1))  # the last is the folder that is listed
