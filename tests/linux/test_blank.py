"""Held processes that are made ahead, on the real kernel, and compared with those that are made at once."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.linux.test_spawn import SET_UP, tell

if TYPE_CHECKING:
    from pathlib import Path

BLANK = """
from supervisor.linux import blank
fds = [os.open("/dev/zero", os.O_RDONLY), os.open("/dev/full", os.O_RDONLY)]
environment = {"PATH": os.environ["PATH"], "A": "1 *\\\\n", "a.b": "2", "GAPLESS_RELEASE": "", "WATCHDOG_USEC": "5"}
def like(*argv, release="web+1", **more):
    variables = {**environment, **more.pop("environment", {}), "GAPLESS_RELEASE": release}
    return command(*argv, environment=variables, **more)
def become(expected, wanted, given=fds):
    made = blank.Blank(expected, fds, window)
    held = made.given(wanted, given)
    assert (held is None) == (made.pid in blank.waiting())
    made.end()
    assert not blank.waiting()
    assert held or not list(process.children_of(os.getpid()))
    return held
"""


def told(script: str) -> str:
    """What a process prints that makes some."""
    return tell(BLANK + script)


def test_it_becomes_just_what_would_have_been_made_at_once() -> None:
    said = told("""
looks = '''
import os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
wanted = ("SigBlk", "SigIgn", "SigCgt", "Umask", "Name", "Uid", "Gid", "Groups")
limits = open("/proc/self/limits").read().splitlines()
leads = os.getpgid(0) == os.getpid()
print(sorted(os.environ.items()), sys.argv, os.getcwd(), leads, [status[each] for each in wanted])
print(sorted((fd, os.readlink("/proc/self/fd/" + fd)) for fd in os.listdir("/proc/self/fd") if fd in "034"))
print(limits[1], limits[7], os.environ["LISTEN_PID"] == os.environ["WATCHDOG_PID"] == str(os.getpid()))
'''
looks = looks.replace("\\n", ";")[1:-1]
argv = (sys.executable, "-S", "-c", looks, "-x", " two  words ", "*", "$HOME", "'", '"', "\\\\")
from supervisor.linux.limits import Limits
limits = Limits(resources=[("nofile", 100, 200), ("cpu", 50, 60)])
how = {"directory": "/usr", "umask": 0o27, "limits": limits, "stdin": 4}
sys.stdout.flush()
for held in (spawn.spawn(like(*argv, **how), fds, window), become(like("other", **how), like(*argv, **how))):
    held.let_go()
    print(held.child.pid, ended(held).status, flush=True)
""").splitlines()
    assert len(said) == 8
    at_once, ahead = said[:4], said[4:]
    pids = at_once[3].split()[0], ahead[3].split()[0]
    assert at_once[3].split()[1] == ahead[3].split()[1] == "0"
    assert [line.replace(pids[0], "PID") for line in at_once[:3]] == [
        line.replace(pids[1], "PID") for line in ahead[:3]
    ]
    assert "('GAPLESS_RELEASE', 'web+1')" in ahead[0]
    assert "/dev/full" in ahead[1]
    assert ahead[2].endswith("True")


@pytest.mark.parametrize(
    "wanted",
    [
        'like("/bin/true", environment={"A": "2"})',
        'like("/bin/true", environment={"B": ""})',
        'like("/bin/true", directory="/usr")',
        'like("/bin/true", umask=0o77)',
        'like("/bin/true", stdin=3)',
        'like("/bin/true", stdout="/dev/null")',
        'like("/bin/true", stderr="/dev/null")',
        'like("/bin/true", program=spawn.Program(fds[0], 0, leased=False))',
        'like("/bin/true", "two\\nlines")',
        'like("/bin/true", "")',
        'like("/bin/true", "caf\\u00e9")',
        'like("/bin/true", "x" * 4096)',
        'like("/bin/true", release="")',
        'like("/bin/true", release="two\\nlines")',
        'like("/bin/true"), fds[:1]',
        'like("/bin/true"), fds[::-1]',
    ],
)
def test_what_is_to_be_otherwise_is_made_anew(wanted: str) -> None:
    assert told(f'print(become(like("/bin/true"), {wanted}))') == "None\n"


@pytest.mark.parametrize(
    "wanted",
    ['stdout="/dev/null"', 'stderr="/dev/null"', "program=spawn.Program(fds[0], 0, leased=False)", 'release=""'],
)
def test_nothing_is_made_that_could_not_be_used(wanted: str) -> None:
    assert told(f'print(blank.suits(like("x"), fds), blank.suits(like("x", {wanted}), fds))') == "True False\n"


TRACES = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(0x4206, int(sys.argv[1]), None, None), flush=True)
signal.pause()
"""
"""PTRACE_SEIZE (ptrace(2))."""


def test_one_that_somebody_traces_is_ended_all_the_same() -> None:
    """A killed process is not its parent's to reap as long as its tracer has not."""
    said = told(f"""
import subprocess
made = blank.Blank(like("/bin/true"), fds, window)
tracer = subprocess.Popen([sys.executable, "-S", "-c", {TRACES!r}, str(made.pid)], stdout=subprocess.PIPE, text=True)
if tracer.stdout.readline() == "0\\n":
    made.end()
    tracer.kill()
    tracer.wait()
    process.reap_orphans(blank.waiting())
    print(list(process.children_of(os.getpid())))
""")
    if not said:
        pytest.skip("this host lets nobody trace another's child (Yama)")
    assert said == "[]\n"


def test_a_folder_of_the_same_name_is_another(tmp_path: Path) -> None:
    assert (
        told(f"""
os.mkdir("{tmp_path}/one"); os.mkdir("{tmp_path}/two"); os.symlink("one", "{tmp_path}/current")
how = like("/bin/true", directory="{tmp_path}/current")
made = blank.Blank(how, fds, window)
os.unlink("{tmp_path}/current"); os.symlink("two", "{tmp_path}/current")
print(made.given(how, fds))
os.unlink("{tmp_path}/current")
print(made.given(how, fds))
os.symlink("one", "{tmp_path}/current")
held = made.given(how, fds)
held.let_go()
print(ended(held).status)
""")
        == "None\nNone\n0\n"
    )


def test_what_a_shell_would_not_pass_on_is_told() -> None:
    """So is whom it becomes (setpriv): words that stand before the server's own."""
    said = told("""
held = become(like("x"), like("/usr/bin/env", environment={"a.b": "3", "TMOUT": "1"}, release=" web 2 "))
held.let_go()
print(ended(held).status)
""").splitlines()
    assert said[-1] == "0"
    assert {"a.b=3", "TMOUT=1", "GAPLESS_RELEASE= web 2 "} <= set(said)


def test_one_that_has_died_is_none() -> None:
    assert (
        told("""
made = blank.Blank(like("/bin/true"), fds, window)
os.kill(made.pid, signal.SIGKILL)
select.select([made.pidfd], [], [], 20)
print(made.given(like("/bin/true"), fds), made.end(), list(process.children_of(os.getpid())))
""")
        == "None None []\n"
    )


def test_a_limit_that_may_not_be_set_ends_it() -> None:
    assert told("""
from supervisor.linux.limits import Limits
from supervisor.errors import HostError
made = blank.Blank(like("/bin/true"), fds, window)
try:
    made.given(like("/bin/true", limits=Limits(resources=[("nofile", 20, 10)])), fds)
except HostError as refused:
    print(refused, blank.waiting(), list(process.children_of(os.getpid())))
""").startswith("cannot set the limit nofile")


def test_who_reaps_orphans_leaves_it_alone() -> None:
    assert (
        told("""
from supervisor.engine.containment import Containment
from supervisor.engine.instances import Instances
made = blank.Blank(like("/bin/true"), fds, window)
os.kill(made.pid, signal.SIGKILL)
select.select([made.pidfd], [], [], 20)
Instances("test", Containment(None, "")).reap_orphans()
made.end()
print(list(process.children_of(os.getpid())))
""")
        == "[]\n"
    )


def test_an_exec_that_fails_is_told_from_a_status_of_the_server() -> None:
    assert "exec_failed=True" in told('held = become(like("x"), like("/no/such")); held.let_go(); print(ended(held))')


@pytest.mark.parametrize("far", ["", "made.given(like('/bin/sh', '-c', 'echo ran >&2'), fds)"], ids=["blank", "told"])
def test_it_ends_when_its_supervisor_dies(far: str) -> None:
    """Also when it knows what it is to run, and has not been let go."""
    script = f"""
made = blank.Blank(like("/bin/true"), fds, window)
{far}
print(made.pid, flush=True)
signal.pause()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", SET_UP + BLANK + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    pidfd = os.pidfd_open(int(holder.stdout.readline()))
    holder.kill()
    holder.wait()
    assert select.select([pidfd], [], [], 20)[0], "it has ended"
    os.close(pidfd)
    assert holder.stderr.read() == ""
    holder.stdout.close()
    holder.stderr.close()


def test_half_of_the_words_are_none() -> None:
    """A pipe takes as much at one go, or nothing; nothing else may ever make a command of half of one."""
    assert (
        told("""
made = blank.Blank(like("/bin/true"), fds, window)
made._held.tell(b"web+1\\n/bin/echo\\nhalf")
made._held._close_gate()
select.select([made.pidfd], [], [], 20)
print(made._held.child.reap().status)
""")
        == "125\n"
    )
