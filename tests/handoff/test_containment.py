"""Nothing that a server starts escapes its end, where its cgroup is its own: not even who has hidden from all else."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handoff.conftest import Make
from tests.harness import builds, proc
from tests.harness.cgroups import Delegated
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor

HIDING = """\
#!/bin/sh
# A child of nobody's, in a session of its own and without a word of ours in its environment, that TERM does not end.
setsid --fork env -i /bin/sh -c 'trap "" TERM; echo "hidden $$"; exec sleep infinity >/dev/null 2>&1'
exec {server} {flags} "$@"
"""

BUSY = """\
#!/bin/sh
sha256sum {server} {server} {server} >/dev/null
exec {server} "$@"
"""


@pytest.fixture
def delegated() -> Iterator[Delegated]:
    made = Delegated("handoff")
    yield made
    made.close()


@pytest.fixture
def contained(make: Make, delegated: Delegated) -> Supervisor:
    return make(delegated)


def hiding(supervisor: Supervisor, version: str, flags: str = "") -> Path:
    """A server that has an orphan."""
    script = supervisor.folder / f"hiding-{version}"
    script.write_text(HIDING.format(server=builds.go_server(version), flags=flags))
    script.chmod(0o755)
    return script


def orphans(supervisor: Supervisor, count: int) -> list[int]:
    """Their pids, once there are as many."""

    def said() -> list[int] | None:
        found = [int(match[1]) for line in supervisor.output.text if (match := re.match(r"hidden (\d+)", line))]
        return found if len(found) == count else None

    pids: list[int] = supervisor.output.until(f"{count} orphans", said)
    return pids


def test_no_orphan_escapes_a_stop(contained: Supervisor, delegated: Delegated) -> None:
    supervisor = contained
    supervisor.start(hiding(supervisor, "v1"))
    (orphan,) = orphans(supervisor, 1)
    assert os.getsid(orphan) == orphan
    assert "GAPLESS_SERVICE" not in proc.environment(orphan)
    assert supervisor.serving()["cgroup"] == f"{delegated.inside}/{supervisor.name}.gen-1.1"
    assert supervisor.stop() == 0
    assert proc.gone(orphan, 0)
    assert delegated.leaves() == []
    assert delegated.pids() == set()


def test_no_orphan_escapes_the_end_of_its_generation(contained: Supervisor, delegated: Delegated, v2: Path) -> None:
    supervisor = contained
    supervisor.start(hiding(supervisor, "v1"))
    (orphan,) = orphans(supervisor, 1)
    supervisor.upgrade(v2)
    assert proc.gone(orphan, DEADLINE)
    supervisor.event("generation_ended", generation=1)
    assert supervisor.serving()["cgroup"] == f"{delegated.inside}/{supervisor.name}.gen-2.1"
    assert supervisor.get().version == "v2"


def test_a_killed_run_takes_its_orphan_along_and_not_the_next_run(contained: Supervisor, delegated: Delegated) -> None:
    supervisor = contained
    supervisor.start(hiding(supervisor, "v1"))
    first, mark = supervisor.get().pid, supervisor.mark()
    (orphan,) = orphans(supervisor, 1)
    os.kill(first, signal.SIGKILL)
    supervisor.event("generation_ready", mark)
    assert proc.gone(orphan, DEADLINE)
    second = orphans(supervisor, 2)[1]
    assert supervisor.serving()["cgroup"] == f"{delegated.inside}/{supervisor.name}.gen-1.2"
    assert supervisor.get().pid not in {first, 0}
    assert supervisor.stop() == 0
    assert proc.gone(second, 0)


def test_a_deadline_ends_all_of_them_at_once(contained: Supervisor, delegated: Delegated) -> None:
    supervisor = contained
    supervisor.configure(stop={"timeout": "300ms"})
    supervisor.start(hiding(supervisor, "stubborn", "-ignore-term"))
    (orphan,) = orphans(supervisor, 1)
    assert supervisor.stop() == 6
    assert proc.gone(orphan, 0)
    assert delegated.leaves() == []


def test_what_is_taken_back_stays_in_its_cgroup_and_does_not_escape_either(
    contained: Supervisor, delegated: Delegated, v2: Path
) -> None:
    supervisor = contained
    supervisor.start(hiding(supervisor, "v1"))
    (orphan,) = orphans(supervisor, 1)
    before = supervisor.serving()
    assert supervisor.taken_over()["alive"] == [1]
    mark = supervisor.mark()
    assert supervisor.command("reexec").returncode == 0
    supervisor.event("taken_over", mark)
    after = supervisor.serving()
    assert (after["pid"], after["cgroup"]) == (before["pid"], before["cgroup"])
    assert supervisor.status()["cgroup"]["folder"] == delegated.inside
    assert not proc.gone(orphan, 0)
    supervisor.upgrade(v2)
    assert proc.gone(orphan, DEADLINE)
    assert supervisor.stop() == 0
    assert delegated.leaves() == []


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no-journal"])
def test_the_orphan_of_a_server_that_is_no_more_is_ended_by_the_next_supervisor(
    contained: Supervisor, delegated: Delegated, *, journal: bool
) -> None:
    supervisor = contained
    supervisor.start(hiding(supervisor, "v1"))
    (orphan,) = orphans(supervisor, 1)
    server, mark = supervisor.get().pid, supervisor.mark()
    kept = supervisor.kill()
    os.kill(server, signal.SIGKILL)
    assert proc.gone(server, DEADLINE)
    if not journal:
        shutil.rmtree(supervisor.folder / "state")
    supervisor.use(builds.go_server("v2"))
    supervisor.spawn(says=kept)
    assert supervisor.event("leftovers_ended", mark)["pids"] == [orphan]
    supervisor.event("generation_ready", mark)
    assert proc.gone(orphan, DEADLINE)
    assert supervisor.stop() == 0
    assert delegated.leaves() == []


def test_processor_time_is_the_cgroups_and_counts_who_has_ended(contained: Supervisor, delegated: Delegated) -> None:
    supervisor = contained
    script = supervisor.folder / "busy"
    script.write_text(BUSY.format(server=builds.go_server("v1")))
    script.chmod(0o755)
    supervisor.start(script)
    leaf = delegated.folder / f"{supervisor.name}.gen-1.1"

    def used() -> float:
        return int((leaf / "cpu.stat").read_text().split()[1]) / 1e6

    before, told, after = used(), supervisor.serving(), used()
    assert before - 0.01 <= told["cpu"] <= after + 0.01
    charged = "memory" in (delegated.folder / "cgroup.controllers").read_text().split()
    known = supervisor.status()["cgroup"]
    assert known == {"folder": delegated.inside, "memory": charged, "fault": None}
    assert told["memory"] > 0
    if charged:
        assert told["memory"] <= int((leaf / "memory.current").read_text()) + 1_000_000
    assert "cgroups" in supervisor.command("status").stdout.splitlines()[1]


def test_who_waits_to_be_the_next_is_gone_before_our_own_cgroup_is(
    contained: Supervisor, delegated: Delegated, v1: Path
) -> None:
    """There is one only where the memory controller can be had."""
    supervisor = contained
    supervisor.start(v1)
    own = delegated.folder / f"{supervisor.name}.supervisor"
    pid = supervisor.event("made_ahead")["pid"]
    if own.exists():
        assert str(pid) in (own / "cgroup.procs").read_text().split()
    supervisor.signal(signal.SIGQUIT)
    assert supervisor.ended() == 0
    assert not own.exists()


def test_where_nothing_is_delegated_status_says_why(make: Make, v1: Path) -> None:
    where = Delegated("handoff", mark=None)
    supervisor = make(where)
    supervisor.start(v1)
    fault = f"{where.inside} has not been given to us"
    assert supervisor.status()["cgroup"] == {"folder": None, "memory": False, "fault": fault}
    assert supervisor.serving()["cgroup"] is None
    assert "process groups" in supervisor.command("status").stdout.splitlines()[1]
    assert supervisor.stop() == 0
    where.close()


HOG = """
import pathlib, sys
pathlib.Path(sys.argv[1], "cgroup.procs").write_text("0")
bytearray(256 << 20)
"""


def test_workers_that_the_kernel_kills_for_memory_count_against_a_release(
    contained: Supervisor, delegated: Delegated, v1: Path, v2: Path
) -> None:
    supervisor = contained
    supervisor.configure(rollback={"after": 2})
    supervisor.start(v1)
    supervisor.upgrade(v2)
    leaf = delegated.folder / f"{supervisor.name}.gen-2.1"
    if not supervisor.status()["cgroup"]["memory"]:  # the controller is version 1's here: nobody counts, all goes on
        assert not (leaf / "memory.events").exists()
        return
    (leaf / "memory.max").write_text(str(64 << 20))
    if (leaf / "memory.swap.max").exists():
        (leaf / "memory.swap.max").write_text("0")
    mark, main = supervisor.mark(), supervisor.pid_of(2)
    while not supervisor.events("handoff_began", since=mark):
        so_far = supervisor.mark()
        worker = subprocess.run([sys.executable, "-c", HOG, str(leaf)], check=False, timeout=DEADLINE)
        if worker.returncode == -signal.SIGKILL:
            supervisor.event("oom_killed", so_far)
        else:
            supervisor.event("handoff_began", mark)  # it has been left meanwhile, and its cgroup is gone
    assert {(each["generation"], each["count"]) for each in supervisor.events("oom_killed")} == {(2, 1)}
    began = supervisor.event("handoff_began", mark)
    assert (began["ask"], began["way"]) == ("fallback", "deaths")
    assert began["because"].endswith("in the end: the kernel killed processes of it, as memory was out")
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().version == "v1"
    assert main == supervisor.pid_of(2), "it was not the server itself that died"
    assert not supervisor.events("generation_down")
