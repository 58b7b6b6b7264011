"""A cgroup of one's own: what is in it, its end, and whose it is to divide."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from supervisor.errors import HostError
from supervisor.linux.cgroup import Kills, Leaf
from tests.harness import proc
from tests.harness.cgroups import Delegated
from tests.harness.output import DEADLINE

ASK = """
import os, sys
from supervisor.linux import delegation, host
os.setgroups([])
os.setresuid(*[int(sys.argv[1])] * 3)
print(delegation.fault(host.cgroup()))
"""
DIVIDE = """
from pathlib import Path
from supervisor.linux import cgroup
from supervisor.linux.delegation import Delegation
ours = Delegation("web")
print([ours.leaf(1, 1).path.name for _ in range(2)])
before = cgroup.members(ours.folder)
own = ours.folder / "web.supervisor"
print(ours.memory, own.exists(), bool(before))
again = Delegation("web")
print(again.folder == ours.folder)
again.leave()
print(own.exists(), bool(cgroup.members(ours.folder)), sorted(each.path.name for each in again.leaves()))
"""


@pytest.fixture
def delegated() -> Iterator[Delegated]:
    made = Delegated("linux")
    yield made
    made.close()


@pytest.fixture
def leaf(delegated: Delegated) -> Leaf:
    path = delegated.folder / "leaf"
    path.mkdir()
    return Leaf(path, charged=False)


def run(where: Delegated, program: str, *words: str) -> list[str]:
    """What a few lines print that are run there."""
    done = subprocess.run(
        [*where.prefix, sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_all_that_a_process_starts_is_in_it_and_ends_with_it(leaf: Leaf) -> None:
    below = leaf.path / "made-by-the-server"
    below.mkdir()
    script = 'read go; setsid --fork env -i sleep 600; echo $$ >"$1/cgroup.procs"; exec sleep 600'
    held = subprocess.Popen(["sh", "-c", script, "sh", str(below)], stdin=subprocess.PIPE, text=True)
    leaf.enter(held.pid)
    assert leaf.pids() == {held.pid}
    assert held.stdin is not None
    held.stdin.write("\n")
    held.stdin.close()
    until = time.monotonic() + DEADLINE
    while len(leaf.pids()) < 2 or not Leaf(below, charged=False).pids():
        assert time.monotonic() < until
    found = leaf.pids()
    assert not leaf.remove()
    for pid in found:
        os.kill(pid, signal.SIGSTOP)  # it does not keep them from being killed
    leaf.kill()
    assert all(proc.gone(pid, DEADLINE) for pid in found)
    assert leaf.remove()  # though the one that is ours has not been reaped
    assert not leaf.path.exists()
    assert held.wait(DEADLINE) == -signal.SIGKILL


def test_what_is_used_is_told(leaf: Leaf) -> None:
    assert leaf.cpu() == 0.0
    assert leaf.memory() is None
    busy = subprocess.Popen(["sh", "-c", "read go; head -c 50000000 /dev/zero | sha256sum"], stdin=subprocess.PIPE)
    leaf.enter(busy.pid)
    busy.communicate(b"\n", DEADLINE)
    used = leaf.cpu()
    assert used is not None
    assert 0.01 < used < 60


def test_word_of_a_kill_is_heard_once(leaf: Leaf) -> None:
    """cgroup.events tells of changes as memory.events does, and is there without that controller."""
    kills = Kills(leaf.path / "cgroup.events")
    heard = select.epoll()
    heard.register(kills.fileno(), select.EPOLLIN)
    assert kills.count() == 0
    assert not heard.poll(0)
    (leaf.path / "cgroup.freeze").write_text("1")
    assert heard.poll(DEADLINE)
    assert kills.count() == 0
    assert not heard.poll(0)
    assert leaf.remove()
    assert kills.count() is None
    heard.close()
    kills.close()


def test_kills_that_nobody_counts_are_not_waited_for(leaf: Leaf) -> None:
    kills = leaf.kills()
    assert (kills is not None) is (leaf.path / "memory.events").exists()
    if kills is not None:
        assert kills.count() == 0
        kills.close()


def test_what_is_no_more_is_empty(leaf: Leaf) -> None:
    assert leaf.remove()
    assert leaf.remove()
    assert leaf.pids() == set()
    assert leaf.cpu() is None
    leaf.kill()
    with pytest.raises(HostError, match="cannot be put into the cgroup"):
        leaf.enter(os.getpid())


@pytest.mark.parametrize("mark", ["user.delegate", "trusted.delegate"])
def test_what_systemd_has_marked_is_ours(mark: str) -> None:
    marked = Delegated("marked", mark=mark)
    assert run(marked, ASK, "0") == ["None"]
    assert run(marked, ASK, "65534") == [f"{marked.inside} may not be divided by us"]
    marked.close()


@pytest.mark.parametrize("suffix", ["", ".service"])
def test_what_belongs_to_us_is_ours_unless_systemd_has_made_it(suffix: str) -> None:
    owned = Delegated(f"owned{suffix}", mark=None)
    for each in (owned.folder, owned.folder / "cgroup.procs", owned.folder / "cgroup.subtree_control"):
        os.chown(each, 65534, 65534)
    (told,) = run(owned, ASK, "65534")
    assert told == (f"{owned.inside} has not been given to us" if suffix else "None")
    assert run(owned, ASK, "0") == [f"{owned.inside} has not been given to us"]
    owned.close()


def test_the_root_of_a_containers_namespace_is_ours(delegated: Delegated) -> None:
    inside = 'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$0" "$@"'
    contained = [*delegated.prefix, "unshare", "--cgroup", "--mount", "sh", "-euc", inside]
    os.removexattr(delegated.folder, "user.delegate")
    done = subprocess.run([*contained, sys.executable, "-c", ASK, "0"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_it_is_divided_and_left_as_it_was(delegated: Delegated) -> None:
    names, divided, again, left = run(delegated, DIVIDE)
    assert names == "['web.gen-1.1', 'web.gen-1.1+']"
    charged = "memory" in (delegated.folder / "cgroup.controllers").read_text().split()
    assert divided == f"{charged} {charged} {not charged}"
    assert again == "True"
    assert left == "False True ['web.gen-1.1', 'web.gen-1.1+']"
    assert re.fullmatch(r"\s*", (delegated.folder / "cgroup.subtree_control").read_text())
