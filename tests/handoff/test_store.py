"""Releases from a store, end to end: `current` moves with the commit alone, and what runs is what was sealed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.releases.layout import Layout
from tests.handoff.conftest import Make
from tests.handoff.test_crash_points import sound
from tests.harness import builds, proc
from tests.harness.crashing import Crash, injected, needs_strace, upgraded
from tests.harness.load import Load
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor
from tests.releases.stores import left, offer, put, sha256


@pytest.fixture
def layout(supervisor: Supervisor, v1: Path, v2: Path) -> Layout:
    return served_from(supervisor, v1, v2)


def served_from(supervisor: Supervisor, v1: Path, v2: Path) -> Layout:
    """v1 and v2 in a store, of which v1 is current."""
    made = Layout(supervisor.folder / "web")
    for name, program in (("v1", v1), ("v2", v2)):
        put(made, offer(program, name, name="server"))
    made.current_link.symlink_to("versions/v1")
    command = [f"{made.current_link}/server", "-log-connections", str(supervisor.connections)]
    supervisor.configure(service={"command": command}, releases={"root": str(made.root)})
    return made


def points(layout: Layout) -> str:
    return str(layout.current_link.readlink())


def test_upgrade_and_rollback_move_current_with_their_commit(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.configure(handoff={"probation": "300ms"})
    supervisor.start()
    assert supervisor.get().version == "v1"
    mark = supervisor.mark()
    asked = subprocess.Popen(
        [*_gapless(), "upgrade", "--socket", str(supervisor.control), "v2"], cwd=builds.ROOT, stdout=subprocess.DEVNULL
    )
    supervisor.event("phase", mark, phase="probation")
    assert points(layout) == "versions/v1"
    assert asked.wait(DEADLINE) == 0
    assert points(layout) == "versions/v2"
    assert supervisor.get().version == "v2"
    assert supervisor.serving()["release"]["id"].startswith("v2+")
    assert supervisor.command("rollback").returncode == 0
    assert (supervisor.get().version, points(layout)) == ("v1", "versions/v1")
    refused = supervisor.command("upgrade", "v3")
    assert refused.returncode == 4
    assert "there is no version v3" in refused.stderr


def _gapless() -> list[str]:
    return [sys.executable, "-m", "supervisor"]


def move(layout: Layout, version: str) -> None:
    """As `ln -sfn` does."""
    subprocess.run(["ln", "-sfn", f"versions/{version}", layout.current_link], check=True)


def test_a_link_that_is_moved_by_hand_is_put_back_until_the_commit(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.configure(handoff={"probation": "300ms"})
    supervisor.start()
    move(layout, "v2")
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    assert points(layout) == "versions/v1"
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert points(layout) == "versions/v2"
    assert [each["version"] for each in supervisor.events("current_moved", since=mark)] == ["v1", "v2"]


def test_what_fails_leaves_current_with_who_serves(supervisor: Supervisor, layout: Layout) -> None:
    put(layout, offer(builds.go_server("broken", "-crash-at-start"), "v3", name="server"))
    supervisor.start()
    move(layout, "v3")
    assert supervisor.hup()["result"] == "rolled back"
    assert points(layout) == "versions/v1"
    (layout.versions / "v4").mkdir()
    move(layout, "v4")
    assert supervisor.hup()["result"] == "refused"
    assert points(layout) == "versions/v1"
    assert supervisor.get().version == "v1"


def test_what_a_person_moves_during_a_handoff_stays(supervisor: Supervisor, layout: Layout, v1: Path) -> None:
    put(layout, offer(v1, "v3", name="server"))
    supervisor.configure(handoff={"probation": "500ms"})
    supervisor.start()
    mark = supervisor.mark()
    supervisor.client().call("POST", "/v1/upgrade", release="v2")
    supervisor.event("phase", mark, phase="probation")
    move(layout, "v3")
    supervisor.event("handoff_ended", mark, result="committed")
    assert points(layout) == "versions/v3"
    assert supervisor.event("current_left", mark)["leads_to"] == "v3"
    assert supervisor.hup()["result"] == "committed"
    assert (supervisor.get().version, points(layout)) == ("v1", "versions/v3")


def test_a_policy_holds_at_the_upgrade_and_at_a_link_by_hand(
    supervisor: Supervisor, layout: Layout, v1: Path, v2: Path
) -> None:
    put(layout, offer(v2, "v3", name="server", sha256=sha256(v2)))
    supervisor.start()
    supervisor.configure(releases={"require": ["sha256"]})
    assert "was added without a sha256" in supervisor.command("upgrade", "v2").stderr
    move(layout, "v2")
    assert "was added without a sha256" in supervisor.hup()["reason"]
    layout.current_link.unlink()
    layout.current_link.symlink_to(v1.parent)
    assert "leads to no version" in supervisor.hup()["reason"]
    assert supervisor.command("upgrade", "v3").returncode == 0
    assert (supervisor.get().version, points(layout)) == ("v2", "versions/v3")


POINTS = {"rename": (1, 2, 3, 4), "symlink": (1,), "fsync": (2, 4, 6), "write": (8, 14, 18)}
"""`scripts/soak points store` walks all of them."""


@needs_strace
@pytest.mark.parametrize("call", POINTS)
def test_an_upgrade_that_is_killed_ends_with_the_old_one_or_the_new_one_and_current_with_it(
    supervisor: Supervisor, layout: Layout, load: Callable[..., Load], call: str
) -> None:
    supervisor.configure(handoff={"probation": "100ms"})
    supervisor.start()
    running = load(supervisor, rate=300)
    died = sum(whole(supervisor, layout, call, number).died for number in POINTS[call])
    assert died, "no point was met"
    running.answered(50)
    running.stop().no_failures()


def whole(supervisor: Supervisor, layout: Layout, call: str, number: int) -> Crash:
    """What came of `gapless upgrade` to the other version, whose supervisor was killed at a system call."""
    serves = supervisor.get().version
    wanted = "v1" if serves == "v2" else "v2"
    seen = upgraded(supervisor, call, number, wanted)
    sound(seen, serves, wanted)
    assert points(layout) == f"versions/{seen.version}", seen
    return seen


@needs_strace
def test_an_attacker_who_swaps_the_file_before_the_exec_does_not_have_it_run(
    supervisor: Supervisor, layout: Layout
) -> None:
    """All of v2 has been verified, and its file is about to be run: the supervisor is held up at that very moment."""
    supervisor.start()
    there, evil = layout.folder("v2") / "server", layout.root / "evil"
    os.link(builds.go_server("evil"), evil)
    mark = supervisor.mark()
    with injected(supervisor.pid, "vfork", "delay_enter=2000000:when=1"):
        supervisor.client().call("POST", "/v1/upgrade", release="v2")
        ends = time.monotonic() + DEADLINE
        while proc.fds(supervisor.pid).get(5) != str(there):  # behind the listener and the pipe, as the child gets it
            assert time.monotonic() < ends, "it was never handed to the child"
        evil.replace(there)
        ended = supervisor.event("handoff_ended", mark)
    assert ended["result"] == "committed", ended
    assert supervisor.get().version == "v2"
    assert not any(" evil[" in line for line in supervisor.output.text)
    os.kill(supervisor.serving()["pid"], signal.SIGKILL)
    down = supervisor.event("generation_down", mark)
    assert down["release"].startswith("v2+")
    supervisor.event("restart_due", mark, deaths=2)
    assert not any(" evil[" in line for line in supervisor.output.text)
    assert supervisor.hup()["result"] == "refused"


@needs_strace
@pytest.mark.parametrize(("call", "number"), [("rename", 1), ("rename", 2), ("symlink", 1), ("fsync", 3), ("fsync", 5)])
def test_whoever_dies_in_an_upgrade_current_is_what_has_committed(
    supervisor: Supervisor, layout: Layout, call: str, number: int
) -> None:
    supervisor.configure(handoff={"probation": "100ms"})
    supervisor.start()
    kept, mark = supervisor.keep_output(), supervisor.mark()
    with injected(supervisor.pid, call, f"signal=KILL:when={number}"):
        try:
            supervisor.client().call("POST", "/v1/upgrade", release="v2")
            supervisor.ends_or(mark, "generation_ended")
        except OSError:
            pass
    if supervisor.lives():
        kept.close()
    else:
        supervisor.spawn(says=kept)
        supervisor.event("taken_over", mark)
    supervisor.settled(mark)
    version = supervisor.get().version
    assert points(layout) == f"versions/{version}"
    assert left(layout) == []


@needs_strace
def test_after_the_end_of_everything_in_the_middle_the_old_one_is_started(make: Make, v1: Path, v2: Path) -> None:
    """As at a reboot: supervisor and servers are killed in probation, after a link that was moved by hand."""
    supervisor = make()
    layout = Layout(supervisor.folder / "web")
    for name, program in (("v1", v1), ("v2", v2)):
        put(layout, offer(program, name, name="server"))
    layout.current_link.symlink_to("versions/v1")
    supervisor.configure(
        service={"command": [f"{layout.current_link}/server"]},
        releases={"root": str(layout.root)},
        handoff={"probation": "20s"},
    )
    supervisor.start()
    move(layout, "v2")
    supervisor.event("phase", supervisor.signal(signal.SIGHUP), phase="probation")
    kept = supervisor.kill()
    for pid in supervisor.left_behind():
        os.kill(pid, signal.SIGKILL)
    (layout.versions / ".adding.v3").mkdir()
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    assert supervisor.event("release_swept", mark)["what"] == "the adding of v3"
    supervisor.event("generation_ready", mark)
    assert (supervisor.get().version, points(layout)) == ("v1", "versions/v1")
    assert left(layout) == []


def test_what_differs_is_told_of_two_versions(supervisor: Supervisor, layout: Layout) -> None:
    put(layout, offer(builds.go_server("v2", "", "-tags", "v2"), "v3", name="server"))
    supervisor.start()
    assert supervisor.command("upgrade", "v3").returncode == 0
    shown = supervisor.command("diff", "v1", "v3")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "+ -tags  v2" in shown.stdout
    assert layout.current() == "v3"


def test_a_version_that_is_the_way_back_stays(supervisor: Supervisor, layout: Layout) -> None:
    """`previous` is v2 as it was run before: gapless by itself would go back to v1."""
    supervisor.start()
    assert supervisor.command("upgrade", "v2").returncode == 0
    supervisor.configure(service={"environment": {"CHANGED": "1"}})
    assert supervisor.hup()["result"] == "committed"
    pruned = supervisor.command("release", "prune", "--keep", "0", "--config", str(supervisor.path))
    assert (pruned.returncode, layout.names()) == (0, ["v1", "v2"]), pruned.stderr
